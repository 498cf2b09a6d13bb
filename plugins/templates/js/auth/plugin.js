// Lets those in who are listed with their password, as themselves.

import { verify } from "wasmtx:plugin/proof@0.1.0";

import { exported, invalid } from "./wasmtx.js";

/** Passwords by name. */
let users = {};

export const lifecycle = exported({
  /** The `config` of mediamtx.yml, as JSON. */
  configure(json) {
    const config = JSON.parse(json) ?? {};
    for (const key of Object.keys(config)) {
      if (key !== "users") throw invalid(`/${key}`, "there is no such key");
    }
    users = config.users ?? {};
    if (Object.keys(users).length === 0) throw invalid("/users", "nobody could come in");
    return { tick: null };
  },
  save: () => null,
  restore() {
    throw { tag: "unsupported" };
  },
  tick() {},
});

export const auth = exported({
  /** The password itself never comes here: `verify` asks the server whether it was this one. */
  check() {
    const found = Object.entries(users).find(([name, password]) => verify(name, String(password)));
    if (!found) return { tag: "deny", val: "credentials" };
    const [identity] = found;
    return { tag: "allow", val: { identity, lasts: null, recheck: null, path: null, maxBitrate: null, tags: [] } };
  },
});
