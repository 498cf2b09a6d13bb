"""Counts the frames of a stream, and shows readers nothing but keyframes if it is told to."""

import json as json_text

from wasmtx import exported, info, invalid, unsupported
from wit_world import exports
from wit_world.exports.filter import Opening, Verdict
from wit_world.exports.lifecycle import Wishes
from wit_world.imports.types import Interest, Unshown, Which


class State:
    """There is one instance of this program per stream."""

    keyframes = False
    frames = 0


@exported
class Lifecycle(exports.Lifecycle):
    def configure(self, json):
        """The `config` of mediamtx.yml, as JSON."""
        config = json_text.loads(json) or {}
        for key in config:
            if key != "keyframes":
                raise invalid(f"/{key}", "there is no such key")
        keyframes = config.get("keyframes", False)
        if not isinstance(keyframes, bool):
            raise invalid("/keyframes", "must be true or false")
        State.keyframes = keyframes
        return Wishes(tick=None)

    def save(self):
        return None

    def restore(self, old):
        raise unsupported()

    def tick(self, now):
        pass


@exported
class Filter(exports.Filter):
    def open(self, what):
        """What is not asked for here costs nothing: the server passes it on or drops it by itself."""
        info(f"{what.path} has {len(what.tracks)} tracks")
        which, others = (Which.KEY, Unshown.DROP) if State.keyframes else (Which.ALL, Unshown.PASS)
        return Opening([Interest(track.id, which, 1, others) for track in what.tracks], None)

    def frame(self, info):
        State.frames += 1
        return Verdict.PASS

    def close(self, reason):
        info(f"{State.frames} frames passed")
