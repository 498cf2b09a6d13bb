import assert from "node:assert/strict";
import test from "node:test";

import { auth, lifecycle } from "../plugin.js";
import { clock } from "./server.js";

const CONFIG = JSON.stringify({
  tokens: [
    { token: "for-the-encoder", identity: "studio", actions: ["publish"] },
    { token: "for-the-partner", identity: "partner", paths: "events/", until: "2030-01-01T00:00:00Z" },
  ],
});

function check(token, action, path, query = "") {
  lifecycle.configure(CONFIG);
  const { tag, val } = auth.check({ action, path, token, password: null, client: { query } });
  return tag === "allow" ? val.identity : val;
}

test("a token allows what it is for", () => {
  clock.now = Date.parse("2029-12-31T23:59:00Z") * 1000;
  assert.equal(check("for-the-encoder", "publish", "anything"), "studio");
  assert.equal(check("for-the-partner", "read", "events/opening"), "partner");
  assert.equal(check(null, "read", "events/opening", "a=b&token=for-the-partner"), "partner");
});

test("a token allows nothing else", () => {
  assert.equal(check("for-the-encoder", "read", "anything"), "not-allowed");
  assert.equal(check("for-the-partner", "read", "studio"), "not-allowed");
  assert.equal(check("guessed-token", "read", "events/opening"), "credentials");
  assert.equal(check(null, "read", "events/opening"), "credentials");
});

test("a session ends with its token", () => {
  lifecycle.configure(CONFIG);
  const request = { action: "read", path: "events/a", token: "for-the-partner", password: null, client: { query: "" } };
  clock.now = Date.parse("2029-12-31T23:59:00Z") * 1000;
  assert.equal(auth.check(request).val.lasts, 60);
  clock.now = Date.parse("2030-01-01T00:00:00Z") * 1000;
  assert.equal(auth.check(request).val, "not-allowed");
});

test("nonsense is refused where it stands", () => {
  const entry = { token: "long-enough", identity: "a" };
  for (const [tokens, pointer] of [
    [[], "/tokens"],
    [[{ ...entry, token: "short" }], "/tokens/0/token"],
    [[entry, { ...entry, actions: "fly" }], "/tokens/1/actions"],
    [[{ ...entry, until: "tomorrow" }], "/tokens/0/until"],
    [[{ ...entry, path: "a" }], "/tokens/0/path"],
  ]) {
    assert.throws(
      () => lifecycle.configure(JSON.stringify({ tokens })),
      (error) => error.val.pointer === pointer,
    );
  }
});
