"""Run by `python3 -m unittest`, with the bindings that `wasmtx plugin build` made."""

import sys
import unittest
from types import SimpleNamespace
from unittest import mock

sys.path.insert(0, "build/bindings")

from componentize_py_types import Err
from wit_world.exports.filter import Verdict
from wit_world.imports import log
from wit_world.imports.types import Which

import app


class Test(unittest.TestCase):
    def setUp(self):
        self.log = mock.patch.object(log, "log").start()
        self.addCleanup(mock.patch.stopall)

    def test_only_keyframes_are_asked_for_when_the_configuration_says_so(self):
        publication = SimpleNamespace(path="cam1", tracks=[SimpleNamespace(id=7)])
        for config, which in [("{}", Which.ALL), ('{"keyframes":true}', Which.KEY)]:
            app.Lifecycle().configure(config)
            [interest] = app.Filter().open(publication).interests
            self.assertEqual((interest.track, interest.which), (7, which))

    def test_frames_pass_and_are_counted(self):
        app.State.frames = 0
        self.assertEqual(app.Filter().frame(SimpleNamespace(track=7, number=0)), Verdict.PASS)
        app.Filter().close(None)
        self.log.assert_called_with(log.Level.INFO, "1 frames passed")

    def test_nonsense_is_refused_by_name(self):
        for config, pointer in [('{"keyframe":true}', "/keyframe"), ('{"keyframes":"yes"}', "/keyframes")]:
            with self.assertRaises(Err) as raised:
                app.Lifecycle().configure(config)
            self.assertEqual(raised.exception.value.value.pointer, pointer)

    def test_an_exception_is_logged_before_it_goes_on(self):
        with self.assertRaises(ValueError):
            app.Lifecycle().configure("{")
        level, text = self.log.call_args.args
        self.assertEqual(level, log.Level.ERROR)
        self.assertIn("configure raised", text)
