#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *proved_user = "", *proved_secret = "";

plugin_string_t text(const char *text) {
  plugin_string_t string;
  plugin_string_dup(&string, text);
  return string;
}

bool same(plugin_string_t string, const char *text) {
  return string.len == strlen(text) && memcmp(string.ptr, text, string.len) == 0;
}

void wasmtx_plugin_log_log(wasmtx_plugin_log_level_t level, plugin_string_t *message) {
  printf("log, level %d: %.*s\n", level, (int)message->len, (const char *)message->ptr);
}

bool wasmtx_plugin_proof_verify(plugin_string_t *user, plugin_string_t *secret) {
  return same(*user, proved_user) && same(*secret, proved_secret);
}

char *configure(const char *json) {
  plugin_string_t copy = text(json);
  exports_wasmtx_plugin_lifecycle_wishes_t wishes = {0};
  exports_wasmtx_plugin_lifecycle_plugin_error_t error = {0};
  if (exports_wasmtx_plugin_lifecycle_configure(&copy, &wishes, &error)) return NULL;
  char *pointer = strndup((const char *)error.val.config.pointer.ptr, error.val.config.pointer.len);
  exports_wasmtx_plugin_lifecycle_plugin_error_free(&error);
  return pointer;
}
