// Lines of the server's log, where they carry the plugin's and the path's name.

#pragma once

#include "plugin.h"

// A line, formatted as by printf and cut where it is too long. The level is one of WASMTX_PLUGIN_LOG_LEVEL_….
__attribute__((format(printf, 2, 3))) void say(wasmtx_plugin_log_level_t level, const char *format, ...);
