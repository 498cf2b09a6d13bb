#include "json.h"

#include <stdlib.h>
#include <string.h>

static void skip_space(struct json *text) {
  while (text->at < text->end && strchr(" \t\r\n,:", *text->at)) text->at++;
}

// Moves behind a value and answers it.
static struct json take(struct json *text) {
  skip_space(text);
  struct json value = {text->at, text->at};
  int depth = 0;
  bool quoted = false;
  for (; text->at < text->end; text->at++) {
    char letter = *text->at;
    if (quoted) {
      if (letter == '\\' && text->at + 1 < text->end) text->at++;
      else if (letter == '"') quoted = false;
    } else if (letter == '"') {
      quoted = true;
    } else if (letter == '{' || letter == '[') {
      depth++;
    } else if (letter == '}' || letter == ']') {
      if (depth-- == 0) break;
    } else if (depth == 0 && strchr(" \t\r\n,:", letter)) {
      break;
    }
  }
  value.end = text->at;
  return value;
}

struct json json_of(const uint8_t *text, size_t len) {
  struct json all = {(const char *)text, (const char *)text + len};
  return take(&all);
}

bool json_next(struct json *object, struct json *key, struct json *value) {
  if (object->at < object->end && *object->at == '{') object->at++;
  *key = take(object);
  if (key->at == key->end || *key->at != '"') return false;
  *value = take(object);
  return value->at < value->end;
}

bool json_is(struct json value, const char *text) {
  size_t len = value.end - value.at;
  return len == strlen(text) && memcmp(value.at, text, len) == 0;
}

char *json_string(struct json value) {
  size_t len = value.end - value.at;
  if (len < 2 || *value.at != '"') return NULL;
  char *text = malloc(len), *to = text;
  if (!text) abort();
  for (const char *from = value.at + 1; from < value.end - 1; from++) {
    if (*from == '\\' && !strchr("\"\\/", *++from)) {
      free(text);
      return NULL;
    }
    *to++ = *from;
  }
  *to = 0;
  return text;
}
