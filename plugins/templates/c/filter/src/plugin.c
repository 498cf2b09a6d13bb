// Counts the frames of a stream, and shows readers nothing but keyframes if it is told to.

#include <inttypes.h>
#include <stdlib.h>

#include "json.h"
#include "log.h"
#include "plugin.h"

// One instance of this program per stream.
static bool keyframes;
static uint64_t frames;

static bool refuse(exports_wasmtx_plugin_lifecycle_plugin_error_t *error, const char *pointer, const char *message) {
  error->tag = WASMTX_PLUGIN_TYPES_PLUGIN_ERROR_CONFIG;
  plugin_string_dup(&error->val.config.pointer, pointer);
  plugin_string_dup(&error->val.config.message, message);
  return false;
}

// The `config` of mediamtx.yml, as JSON.
bool exports_wasmtx_plugin_lifecycle_configure(plugin_string_t *json, exports_wasmtx_plugin_lifecycle_wishes_t *wishes,
                                               exports_wasmtx_plugin_lifecycle_plugin_error_t *error) {
  struct json config = json_of(json->ptr, json->len), key, value;
  bool fine = true;
  keyframes = false;
  while (fine && json_next(&config, &key, &value)) {
    keyframes = json_is(value, "true");
    if (!json_is(key, "\"keyframes\"")) fine = refuse(error, "", "the only key is `keyframes`");
    else if (!keyframes && !json_is(value, "false")) fine = refuse(error, "/keyframes", "must be true or false");
  }
  wishes->tick.is_some = false;
  plugin_string_free(json);
  return fine;
}

// What is not asked for here costs nothing: the server passes it on or drops it by itself.
bool exports_wasmtx_plugin_filter_open(exports_wasmtx_plugin_filter_publication_t *publication,
                                       exports_wasmtx_plugin_filter_opening_t *opening,
                                       exports_wasmtx_plugin_filter_plugin_error_t *error) {
  (void)error;
  size_t count = publication->tracks.len;
  say(WASMTX_PLUGIN_LOG_LEVEL_INFO, "%.*s has %zu tracks", (int)publication->path.len, (const char *)publication->path.ptr, count);
  opening->tracks.is_some = false;
  opening->interests.len = count;
  opening->interests.ptr = count ? calloc(count, sizeof *opening->interests.ptr) : NULL;
  if (count && !opening->interests.ptr) abort();
  for (size_t i = 0; i < count; i++) {
    opening->interests.ptr[i] = (exports_wasmtx_plugin_filter_interest_t){
        .track = publication->tracks.ptr[i].id,
        .which = keyframes ? WASMTX_PLUGIN_TYPES_WHICH_KEY : WASMTX_PLUGIN_TYPES_WHICH_ALL,
        .every = 1,
        .others = keyframes ? WASMTX_PLUGIN_TYPES_UNSHOWN_DROP : WASMTX_PLUGIN_TYPES_UNSHOWN_PASS,
    };
  }
  exports_wasmtx_plugin_filter_publication_free(publication);
  return true;
}

exports_wasmtx_plugin_filter_verdict_t
exports_wasmtx_plugin_filter_frame(exports_wasmtx_plugin_filter_frame_info_t *info) {
  (void)info;
  frames++;
  return EXPORTS_WASMTX_PLUGIN_FILTER_VERDICT_PASS;
}

void exports_wasmtx_plugin_filter_close(exports_wasmtx_plugin_filter_close_reason_t reason) {
  (void)reason;
  say(WASMTX_PLUGIN_LOG_LEVEL_INFO, "%" PRIu64 " frames passed", frames);
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
