// Lets those in who are listed with their password, as themselves.

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "plugin.h"

// More are for a plugin that asks a service.
#define MAX_USERS 256

static struct {
  char *name, *password;
} users[MAX_USERS];
static size_t count;

static bool refuse(exports_wasmtx_plugin_lifecycle_plugin_error_t *error, const char *pointer, const char *message) {
  error->tag = WASMTX_PLUGIN_TYPES_PLUGIN_ERROR_CONFIG;
  plugin_string_dup(&error->val.config.pointer, pointer);
  plugin_string_dup(&error->val.config.message, message);
  return false;
}

static void forget_users(void) {
  while (count > 0) {
    count--;
    free(users[count].name);
    free(users[count].password);
  }
}

static bool add_user(struct json name, struct json password) {
  if (count == MAX_USERS) return false;
  users[count].name = json_string(name);
  users[count].password = json_string(password);
  count++;
  return users[count - 1].name && users[count - 1].password;
}

// The `config` of mediamtx.yml, as JSON.
bool exports_wasmtx_plugin_lifecycle_configure(plugin_string_t *json, exports_wasmtx_plugin_lifecycle_wishes_t *wishes,
                                               exports_wasmtx_plugin_lifecycle_plugin_error_t *error) {
  struct json config = json_of(json->ptr, json->len), key, value, name, password;
  bool fine = true;
  forget_users();
  while (fine && json_next(&config, &key, &value)) {
    if (!json_is(key, "\"users\"")) fine = refuse(error, "", "the only key is `users`");
    while (fine && json_next(&value, &name, &password)) {
      if (!add_user(name, password)) fine = refuse(error, "/users", "must have up to 256 names, each with a password in quotes");
    }
  }
  if (fine && count == 0) fine = refuse(error, "/users", "nobody could come in");
  wishes->tick.is_some = false;
  plugin_string_free(json);
  return fine;
}

// The password itself never comes here: `verify` asks the server whether it was this one.
void exports_wasmtx_plugin_auth_check(exports_wasmtx_plugin_auth_request_t *request,
                                      exports_wasmtx_plugin_auth_decision_t *decision) {
  exports_wasmtx_plugin_auth_request_free(request);
  memset(decision, 0, sizeof *decision);
  for (size_t i = 0; i < count; i++) {
    plugin_string_t name = {(uint8_t *)users[i].name, strlen(users[i].name)};
    plugin_string_t password = {(uint8_t *)users[i].password, strlen(users[i].password)};
    if (wasmtx_plugin_proof_verify(&name, &password)) {
      decision->tag = EXPORTS_WASMTX_PLUGIN_AUTH_DECISION_ALLOW;
      decision->val.allow.identity.is_some = true;
      plugin_string_dup(&decision->val.allow.identity.val, users[i].name);
      return;
    }
  }
  decision->tag = EXPORTS_WASMTX_PLUGIN_AUTH_DECISION_DENY;
  decision->val.deny = EXPORTS_WASMTX_PLUGIN_AUTH_DENIAL_CREDENTIALS;
}

// Nothing to hand over to the next version, nothing to do now and then.

bool exports_wasmtx_plugin_lifecycle_save(exports_wasmtx_plugin_lifecycle_snapshot_t *snapshot) {
  (void)snapshot;
  return false;
}

bool exports_wasmtx_plugin_lifecycle_restore(exports_wasmtx_plugin_lifecycle_snapshot_t *old,
                                             exports_wasmtx_plugin_lifecycle_plugin_error_t *error) {
  exports_wasmtx_plugin_lifecycle_snapshot_free(old);
  error->tag = WASMTX_PLUGIN_TYPES_PLUGIN_ERROR_UNSUPPORTED;
  return false;
}

void exports_wasmtx_plugin_lifecycle_tick(uint64_t now) { (void)now; }
