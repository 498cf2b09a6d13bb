"""Lets those in who are listed with their password, as themselves."""

import json as json_text

from wasmtx import exported, invalid, unsupported
from wit_world import exports
from wit_world.exports.auth import Decision_Allow, Decision_Deny, Denial, Permit
from wit_world.exports.lifecycle import Wishes
from wit_world.imports import proof


class State:
    """Passwords by name."""

    users = {}


@exported
class Lifecycle(exports.Lifecycle):
    def configure(self, json):
        """The `config` of mediamtx.yml, as JSON."""
        config = json_text.loads(json) or {}
        for key in config:
            if key != "users":
                raise invalid(f"/{key}", "there is no such key")
        if not config.get("users"):
            raise invalid("/users", "nobody could come in")
        State.users = config["users"]
        return Wishes(tick=None)

    def save(self):
        return None

    def restore(self, old):
        raise unsupported()

    def tick(self, now):
        pass


@exported
class Auth(exports.Auth):
    def check(self, request):
        """The password itself never comes here: `verify` asks the server whether it was this one."""
        for name, password in State.users.items():
            if proof.verify(name, str(password)):
                permit = Permit(identity=name, lasts=None, recheck=None, path=None, max_bitrate=None, tags=[])
                return Decision_Allow(permit)
        return Decision_Deny(Denial.CREDENTIALS)
