// Who has a token may do what the token is for, on the paths it is for, until it ends.

import { now } from "wasmtx:plugin/clock@0.1.0";

import { exported, invalid } from "./wasmtx.js";

const ACTIONS = ["publish", "read", "playback"];
const KEYS = ["token", "identity", "actions", "paths", "until"];

/** What a token allows, by the token. */
const grants = new Map();

/** One entry of the list in mediamtx.yml, checked: whoever misspells something hears of it when the server starts. */
function grantOf(entry, pointer) {
  for (const key of Object.keys(entry)) {
    if (!KEYS.includes(key)) throw invalid(`${pointer}/${key}`, `there is no such key, only ${KEYS.join(", ")}`);
  }
  const { token, identity, actions = ["read"], paths = "", until } = entry;
  if (typeof token !== "string" || token.length < 8) throw invalid(`${pointer}/token`, "must have at least 8 letters");
  if (typeof identity !== "string") throw invalid(`${pointer}/identity`, "must be a name");
  if (typeof paths !== "string") throw invalid(`${pointer}/paths`, "must be how the paths begin");
  for (const action of [actions].flat()) {
    if (!ACTIONS.includes(action)) throw invalid(`${pointer}/actions`, `must be some of ${ACTIONS.join(", ")}`);
  }
  const end = until === undefined ? Infinity : Date.parse(until);
  if (Number.isNaN(end)) throw invalid(`${pointer}/until`, "must be a date as 2030-01-01T00:00:00Z");
  return { identity, actions: [actions].flat(), paths, end };
}

export const lifecycle = exported({
  configure(json) {
    const list = JSON.parse(json)?.tokens;
    if (!Array.isArray(list) || list.length === 0) throw invalid("/tokens", "must be a list with at least one token");
    grants.clear();
    list.forEach((entry, index) => grants.set(entry.token, grantOf(entry, `/tokens/${index}`)));
    return { tick: null };
  },
  save: () => null,
  restore() {
    throw { tag: "unsupported" };
  },
  tick() {},
});

/** From `Authorization: Bearer …`, from a password, or from `?token=…` behind the path. */
function tokenOf({ token, password, client }) {
  return token ?? password ?? /(?:^|&)token=([^&]*)/.exec(client.query)?.[1];
}

export const auth = exported({
  check(request) {
    const grant = grants.get(tokenOf(request));
    if (!grant) return { tag: "deny", val: "credentials" };
    const seconds = Math.floor((grant.end - now() / 1000) / 1000);
    if (seconds <= 0 || !grant.actions.includes(request.action) || !request.path.startsWith(grant.paths)) {
      return { tag: "deny", val: "not-allowed" };
    }
    // The session ends with the token.
    const lasts = Number.isFinite(seconds) ? seconds : null;
    const permit = { identity: grant.identity, lasts, recheck: null, path: null, maxBitrate: null, tags: [] };
    return { tag: "allow", val: permit };
  },
});
