#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

#define DISPOSABLE 4u

static char passes(uint32_t flags) {
  exports_wasmtx_plugin_filter_frame_info_t info = {.flags = flags};
  return exports_wasmtx_plugin_filter_frame(&info) == EXPORTS_WASMTX_PLUGIN_FILTER_VERDICT_PASS ? '+' : '-';
}

static void refused(const char *config) {
  char *pointer = configure(config);
  assert(pointer);
  free(pointer);
}

int main(void) {
  assert(configure("{\"keep\": 3}") == NULL);
  // Others pass, however many there are, and do not count.
  char found[10] = {0};
  for (int i = 0; i < 9; i++) found[i] = i % 3 ? passes(DISPOSABLE) : passes(0);
  assert(strcmp(found, "+" "+-" "+" "-+" "+" "--") == 0);

  // A new version goes on where the old one stopped: the next of the disposable frames is the seventh.
  exports_wasmtx_plugin_lifecycle_snapshot_t snapshot;
  exports_wasmtx_plugin_lifecycle_plugin_error_t error = {0};
  assert(exports_wasmtx_plugin_lifecycle_save(&snapshot));
  assert(exports_wasmtx_plugin_lifecycle_restore(&snapshot, &error));
  assert(passes(DISPOSABLE) == '+');
  snapshot = (exports_wasmtx_plugin_lifecycle_snapshot_t){.schema = 2};
  assert(!exports_wasmtx_plugin_lifecycle_restore(&snapshot, &error));

  const char *nonsense[] = {"{\"keep\":0}", "{\"keep\":-1}", "{\"keep\":1001}", "{\"keep\":99999999999999999999}", "{\"keep\":\"2\"}", "{\"kept\":2}"};
  for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) refused(nonsense[i]);
  puts("3 tests passed");
}
