// Of the frames that no other frame needs, passes every n-th. The rest passes whole.

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "log.h"
#include "plugin.h"

#define FRAME_DISPOSABLE 4u
#define MAX_KEEP 1000

static uint32_t keep;
// Disposable frames seen and dropped.
static uint64_t seen, dropped;

static bool refuse(exports_wasmtx_plugin_lifecycle_plugin_error_t *error, const char *pointer, const char *message) {
  error->tag = WASMTX_PLUGIN_TYPES_PLUGIN_ERROR_CONFIG;
  plugin_string_dup(&error->val.config.pointer, pointer);
  plugin_string_dup(&error->val.config.message, message);
  return false;
}

// A whole number in 1..=MAX_KEEP, or 0.
static uint32_t number(struct json value) {
  uint32_t number = 0;
  for (const char *at = value.at; at < value.end; at++) {
    if (*at < '0' || *at > '9' || number > MAX_KEEP) return 0;
    number = number * 10 + (uint32_t)(*at - '0');
  }
  return number <= MAX_KEEP ? number : 0;
}

bool exports_wasmtx_plugin_lifecycle_configure(plugin_string_t *json, exports_wasmtx_plugin_lifecycle_wishes_t *wishes,
                                               exports_wasmtx_plugin_lifecycle_plugin_error_t *error) {
  struct json config = json_of(json->ptr, json->len), key, value;
  bool fine = true;
  keep = 2;
  while (fine && json_next(&config, &key, &value)) {
    if (!json_is(key, "\"keep\"")) fine = refuse(error, "", "the only key is `keep`");
    else if (!(keep = number(value))) fine = refuse(error, "/keep", "must be a whole number from 1 to 1000");
  }
  wishes->tick.is_some = false;
  plugin_string_free(json);
  return fine;
}

bool exports_wasmtx_plugin_filter_open(exports_wasmtx_plugin_filter_publication_t *publication,
                                       exports_wasmtx_plugin_filter_opening_t *opening,
                                       exports_wasmtx_plugin_filter_plugin_error_t *error) {
  (void)error;
  size_t count = publication->tracks.len;
  opening->tracks.is_some = false;
  opening->interests.len = count;
  opening->interests.ptr = count ? calloc(count, sizeof *opening->interests.ptr) : NULL;
  if (count && !opening->interests.ptr) abort();
  for (size_t i = 0; i < count; i++) {
    opening->interests.ptr[i] = (exports_wasmtx_plugin_filter_interest_t){
        .track = publication->tracks.ptr[i].id,
        .which = WASMTX_PLUGIN_TYPES_WHICH_ALL,
        .every = 1,
        .others = WASMTX_PLUGIN_TYPES_UNSHOWN_PASS,
    };
  }
  exports_wasmtx_plugin_filter_publication_free(publication);
  return true;
}

exports_wasmtx_plugin_filter_verdict_t
exports_wasmtx_plugin_filter_frame(exports_wasmtx_plugin_filter_frame_info_t *info) {
  if (!(info->flags & FRAME_DISPOSABLE) || seen++ % keep == 0) return EXPORTS_WASMTX_PLUGIN_FILTER_VERDICT_PASS;
  dropped++;
  return EXPORTS_WASMTX_PLUGIN_FILTER_VERDICT_DROP;
}

void exports_wasmtx_plugin_filter_close(exports_wasmtx_plugin_filter_close_reason_t reason) {
  (void)reason;
  say(WASMTX_PLUGIN_LOG_LEVEL_INFO, "%" PRIu64 " of %" PRIu64 " disposable frames dropped", dropped, seen);
}

// The next version goes on counting where this one stopped: the two numbers, little-endian as they lie in memory.

bool exports_wasmtx_plugin_lifecycle_save(exports_wasmtx_plugin_lifecycle_snapshot_t *snapshot) {
  uint64_t counts[2] = {seen, dropped};
  snapshot->schema = 1;
  snapshot->data.len = sizeof counts;
  snapshot->data.ptr = malloc(sizeof counts);
  if (!snapshot->data.ptr) abort();
  memcpy(snapshot->data.ptr, counts, sizeof counts);
  return true;
}

bool exports_wasmtx_plugin_lifecycle_restore(exports_wasmtx_plugin_lifecycle_snapshot_t *old,
                                             exports_wasmtx_plugin_lifecycle_plugin_error_t *error) {
  uint64_t counts[2];
  bool fine = old->schema == 1 && old->data.len == sizeof counts;
  if (fine) {
    memcpy(counts, old->data.ptr, sizeof counts);
    seen = counts[0];
    dropped = counts[1];
  } else {
    error->tag = WASMTX_PLUGIN_TYPES_PLUGIN_ERROR_UNSUPPORTED;
  }
  exports_wasmtx_plugin_lifecycle_snapshot_free(old);
  return fine;
}

void exports_wasmtx_plugin_lifecycle_tick(uint64_t now) { (void)now; }
