// A pretended server: what the plugin calls when it runs on this machine. Add what your plugin calls.

#pragma once

#include <stdbool.h>

#include "plugin.h"

// What the client proved, for `proof.verify`.
extern const char *proved_user, *proved_secret;

// A string of the contract, which the plugin frees.
plugin_string_t text(const char *text);

bool same(plugin_string_t string, const char *text);

// Configures the plugin. Answers the pointer of what it refuses, from malloc, or NULL.
char *configure(const char *json);
