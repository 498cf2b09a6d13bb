#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

// What is asked for of a stream with one track.
static exports_wasmtx_plugin_filter_interest_t interest(const char *config) {
  assert(configure(config) == NULL);
  exports_wasmtx_plugin_filter_publication_t publication = {.path = text("cam1")};
  publication.tracks.ptr = calloc(1, sizeof *publication.tracks.ptr);
  publication.tracks.len = 1;
  publication.tracks.ptr[0].id = 7;
  publication.tracks.ptr[0].codec = text("H264");
  exports_wasmtx_plugin_filter_opening_t opening = {0};
  exports_wasmtx_plugin_filter_plugin_error_t error = {0};
  assert(exports_wasmtx_plugin_filter_open(&publication, &opening, &error));
  assert(opening.interests.len == 1 && !opening.tracks.is_some);
  exports_wasmtx_plugin_filter_interest_t found = opening.interests.ptr[0];
  exports_wasmtx_plugin_filter_opening_free(&opening);
  return found;
}

static void refused(const char *config, const char *pointer) {
  char *found = configure(config);
  assert(found && strcmp(found, pointer) == 0);
  free(found);
}

int main(void) {
  assert(interest("{}").which == WASMTX_PLUGIN_TYPES_WHICH_ALL);
  assert(interest("null").which == WASMTX_PLUGIN_TYPES_WHICH_ALL);
  assert(interest("{\"keyframes\": true}").which == WASMTX_PLUGIN_TYPES_WHICH_KEY);
  refused("{\"keyframes\":\"yes\"}", "/keyframes");
  refused("{\"keyframe\":true}", "");

  exports_wasmtx_plugin_filter_frame_info_t info = {.track = 7};
  assert(exports_wasmtx_plugin_filter_frame(&info) == EXPORTS_WASMTX_PLUGIN_FILTER_VERDICT_PASS);
  puts("3 tests passed");
}
