#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

// Who comes in with this password: the name, or "" for nobody.
static char *enters(const char *user, const char *secret) {
  static char name[64];
  proved_user = user;
  proved_secret = secret;
  exports_wasmtx_plugin_auth_request_t request = {.path = text("hall")};
  exports_wasmtx_plugin_auth_decision_t decision;
  exports_wasmtx_plugin_auth_check(&request, &decision);
  name[0] = 0;
  if (decision.tag == EXPORTS_WASMTX_PLUGIN_AUTH_DECISION_ALLOW) {
    plugin_string_t identity = decision.val.allow.identity.val;
    snprintf(name, sizeof name, "%.*s", (int)identity.len, (const char *)identity.ptr);
  }
  exports_wasmtx_plugin_auth_decision_free(&decision);
  return name;
}

static void refused(const char *config, const char *pointer) {
  char *found = configure(config);
  assert(found && strcmp(found, pointer) == 0);
  free(found);
}

int main(void) {
  assert(configure("{\"users\": {\"ada\": \"engine\", \"grace\": \"com\\\"piler\"}}") == NULL);
  assert(strcmp(enters("ada", "engine"), "ada") == 0);
  assert(strcmp(enters("grace", "com\"piler"), "grace") == 0);
  assert(strcmp(enters("ada", "wrong"), "") == 0);
  assert(strcmp(enters("", ""), "") == 0);
  refused("{\"users\":{}}", "/users");
  refused("{}", "/users");
  refused("{\"users\":{\"ada\":7}}", "/users");
  refused("{\"user\":{}}", "");
  puts("4 tests passed");
}
