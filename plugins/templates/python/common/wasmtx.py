"""What every plugin in Python needs beside the contract."""

import functools

from componentize_py_types import Err
from wit_world.imports import log
from wit_world.imports.types import ConfigError, PluginError_Config, PluginError_Unsupported


def info(text):
    """Writes a line to the server's log, where it carries the plugin's and the path's name."""
    log.log(log.Level.INFO, text)


def warn(text):
    log.log(log.Level.WARN, text)


def error(text):
    log.log(log.Level.ERROR, text)


def invalid(pointer, message):
    """Refuses a configuration: `pointer` ("/users") says which part of it, `message` why. Raise what it returns."""
    return Err(PluginError_Config(ConfigError(pointer, message)))


def unsupported():
    """For `restore` of a plugin that begins afresh. Raise what it returns."""
    return Err(PluginError_Unsupported())


def exported(cls):
    """Put this on every class that the server calls. An exception that nobody caught ends the instance, and the server would not know why: this
    tells its log. What the contract calls an error, `Err`, is an answer and passes."""
    for name, method in list(vars(cls).items()):
        if callable(method) and not name.startswith("_"):
            setattr(cls, name, _told(method))
    return cls


def _told(method):
    @functools.wraps(method)
    def told(*args):
        try:
            return method(*args)
        except Err:
            raise
        except Exception as raised:
            error(f"{method.__name__} raised {_described(raised)}")
            raise

    return told


def _described(raised):
    """What was raised, and where. `traceback` would look for the lines of the source, on a disk that is not there."""
    places = []
    trace = raised.__traceback__
    while trace:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_name} ({code.co_filename}:{trace.tb_lineno})")
        trace = trace.tb_next
    return f"{type(raised).__name__}: {raised}, in {', '.join(places)}"
