// Reads the `config` of mediamtx.yml: the members of a JSON object and their values. The server hands over well-formed JSON.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A piece of the text: a value, or where an object is being read.
struct json {
  const char *at;
  const char *end;
};

struct json json_of(const uint8_t *text, size_t len);

// The next member of an object. False at its end, or when it is no object.
bool json_next(struct json *object, struct json *key, struct json *value);

// Is it exactly this: `true`, `null`, `"name"` with its quotes?
bool json_is(struct json value, const char *text);

// The text of a string, from malloc. NULL when it is none, or has an escape other than \" \\ and \/.
char *json_string(struct json value);
