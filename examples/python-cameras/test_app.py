"""Run by `python3 -m unittest`, with the bindings that `wasmtx plugin build` made."""

import json
import sys
import unittest
from types import SimpleNamespace
from unittest import mock

sys.path.insert(0, "build/bindings")

from componentize_py_types import Err
from wit_world.exports.resolver import Answer_Nothing, Answer_Source
from wit_world.imports import log

import app

MAKES = {"acme": "rtsp://{login}@{address}/stream{quality}", "other": "rtsp://{address}:{port}/{quality}"}
CAMERAS = """
    name,   make,  address,    login,       port
    door,   acme,  192.0.2.10, view:secret,
    garden, other, 192.0.2.11, ,            8554
"""


class Test(unittest.TestCase):
    def setUp(self):
        mock.patch.object(log, "log").start()
        self.addCleanup(mock.patch.stopall)

    def resolve(self, path):
        app.Lifecycle().configure(json.dumps({"makes": MAKES, "cameras": CAMERAS}))
        return app.Resolver().resolve(path, SimpleNamespace(address="198.51.100.1"))

    def test_a_camera_is_found_by_its_name(self):
        for path, url in [
            ("cam/door", "rtsp://view:secret@192.0.2.10/stream1"),
            ("cam/door/low", "rtsp://view:secret@192.0.2.10/stream2"),
            ("cam/garden/high", "rtsp://192.0.2.11:8554/1"),
        ]:
            self.assertEqual(self.resolve(path), Answer_Source(url))

    def test_other_paths_are_left_alone(self):
        for path in ["door", "cam", "cam/", "cam/gate", "cam/door/best", "cam/door/low/x", ""]:
            self.assertEqual(self.resolve(path), Answer_Nothing(), path)

    def test_nonsense_is_refused_where_it_stands(self):
        for config, pointer in [
            ({"makes": MAKES}, "/cameras"),
            ({"makes": {}, "cameras": CAMERAS}, "/cameras"),
            ({"makes": MAKES, "cameras": "name,make\na,acme"}, "/cameras"),
            ({"makes": {**MAKES, "acme": "rtsp://{host}"}, "cameras": CAMERAS}, "/makes/acme"),
            ({"makes": MAKES, "cameras": CAMERAS, "camera": ""}, "/camera"),
        ]:
            with self.assertRaises(Err) as raised:
                app.Lifecycle().configure(json.dumps(config))
            self.assertEqual(raised.exception.value.value.pointer, pointer)
