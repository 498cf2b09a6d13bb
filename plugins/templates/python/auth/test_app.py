"""Run by `python3 -m unittest`, with the bindings that `wasmtx plugin build` made."""

import sys
import unittest
from types import SimpleNamespace
from unittest import mock

sys.path.insert(0, "build/bindings")

from componentize_py_types import Err
from wit_world.exports.auth import Decision_Deny, Denial
from wit_world.imports import log, proof

import app


def check(user, secret):
    """What is decided about a client that proved this."""
    with mock.patch.object(proof, "verify", lambda *listed: listed == (user, secret)):
        return app.Auth().check(SimpleNamespace(path="hall"))


class Test(unittest.TestCase):
    def test_who_is_listed_comes_in_with_the_right_password(self):
        app.Lifecycle().configure('{"users":{"ada":"engine"}}')
        self.assertEqual(check("ada", "engine").value.identity, "ada")
        for user, secret in [("ada", "wrong"), ("alan", "engine")]:
            self.assertEqual(check(user, secret), Decision_Deny(Denial.CREDENTIALS))

    def test_an_empty_list_is_refused(self):
        with mock.patch.object(log, "log"), self.assertRaises(Err) as raised:
            app.Lifecycle().configure('{"users":{}}')
        self.assertEqual(raised.exception.value.value.pointer, "/users")
