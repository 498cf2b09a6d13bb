import assert from "node:assert/strict";
import test from "node:test";

import { filter, lifecycle } from "../plugin.js";
import { lines } from "./server.js";

const publication = { path: "cam1", tracks: [{ id: 1, media: "video", codec: "H264" }] };

test("only keyframes are asked for when the configuration says so", () => {
  lifecycle.configure('{"keyframes":true}');
  const { interests } = filter.open(publication);
  assert.deepEqual(interests, [{ track: 1, which: "key", every: 1, others: "drop" }]);
});

test("frames pass and are counted", () => {
  lifecycle.configure("{}");
  filter.open(publication);
  assert.equal(filter.frame({ track: 1, number: 0 }), "pass");
  filter.close("ended");
  assert.deepEqual(lines.at(-1), ["info", "1 frames passed"]);
});

test("nonsense is refused by name", () => {
  const refused = (json, pointer) =>
    assert.throws(
      () => lifecycle.configure(json),
      (error) => error.val.pointer === pointer,
    );
  refused('{"keyframe":true}', "/keyframe");
  refused('{"keyframes":"yes"}', "/keyframes");
});
