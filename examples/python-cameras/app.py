"""A building full of cameras from a table: `cam/door` and `cam/door/low` are fetched from the door's camera once somebody wants to see it, by the
URL that its make has."""

import csv
import json as json_text

from wasmtx import exported, info, invalid, unsupported
from wit_world import exports
from wit_world.exports.lifecycle import Wishes
from wit_world.exports.resolver import Answer_Nothing, Answer_Source

PREFIX = "cam"
QUALITIES = {"high": "1", "low": "2"}
COLUMNS = {"name", "make", "address", "login", "port"}


class State:
    """URLs with `{quality}` left open, by the cameras' names."""

    urls = {}


def table(text):
    """The rows of a table with spaces around its cells."""
    return csv.DictReader((line for line in text.splitlines() if line.strip()), skipinitialspace=True)


def urls_of(makes, cameras):
    urls = {}
    for number, row in enumerate(table(cameras), start=1):
        row = {(key or "").strip(): (cell or "").strip() for key, cell in row.items()}
        if row.keys() != COLUMNS:
            raise invalid("/cameras", f"row {number} must have the columns {', '.join(sorted(COLUMNS))}")
        if row["make"] not in makes:
            raise invalid("/cameras", f"row {number}: there is no make {row['make']!r} under `makes`")
        try:
            urls[row["name"]] = makes[row["make"]].format_map(row | {"quality": "{quality}"})
        except (KeyError, ValueError, IndexError) as error:
            raise invalid(f"/makes/{row['make']}", f"is no template: {error}")
    return urls


@exported
class Lifecycle(exports.Lifecycle):
    def configure(self, json):
        config = json_text.loads(json) or {}
        for key in config.keys() - {"makes", "cameras"}:
            raise invalid(f"/{key}", "there is no such key")
        State.urls = urls_of(config.get("makes", {}), config.get("cameras", ""))
        if not State.urls:
            raise invalid("/cameras", "there is no camera in the table")
        return Wishes(tick=None)

    def save(self):
        return None

    def restore(self, old):
        raise unsupported()

    def tick(self, now):
        pass


@exported
class Resolver(exports.Resolver):
    def resolve(self, path, client):
        prefix, name, *rest = [*path.split("/"), ""]
        quality = QUALITIES.get(rest[0] if rest and rest[0] else "high")
        url = State.urls.get(name)
        if prefix != PREFIX or url is None or quality is None or len(rest) > 2:
            return Answer_Nothing()
        info(f"{path} is wanted by {client.address}")
        return Answer_Source(url.replace("{quality}", quality))
