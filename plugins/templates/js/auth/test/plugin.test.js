import assert from "node:assert/strict";
import test from "node:test";

import { auth, lifecycle } from "../plugin.js";
import { proof } from "./server.js";

const request = { action: "read", path: "hall", client: { address: "192.0.2.1" } };

test("who is listed comes in with the right password", () => {
  lifecycle.configure('{"users":{"ada":"engine"}}');
  assert.deepEqual(auth.check(request), { tag: "deny", val: "credentials" });
  Object.assign(proof, { user: "ada", secret: "wrong" });
  assert.equal(auth.check(request).tag, "deny");
  Object.assign(proof, { user: "ada", secret: "engine" });
  assert.equal(auth.check(request).val.identity, "ada");
});

test("an empty list is refused", () => {
  assert.throws(
    () => lifecycle.configure('{"users":{}}'),
    (error) => error.val.pointer === "/users",
  );
});
