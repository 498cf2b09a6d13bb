#include "log.h"

#include <stdarg.h>
#include <stdio.h>

void say(wasmtx_plugin_log_level_t level, const char *format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  int len = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  if (len < 0) return;
  plugin_string_t message = {(uint8_t *)line, (size_t)len < sizeof line ? (size_t)len : sizeof line - 1};
  wasmtx_plugin_log_log(level, &message);
}
