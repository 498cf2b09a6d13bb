// Counts the frames of a stream, and shows readers nothing but keyframes if it is told to.

import { exported, info, invalid } from "./wasmtx.js";

// One instance of this module per stream.
let keyframes = false;
let frames = 0;

export const lifecycle = exported({
  /** The `config` of mediamtx.yml, as JSON. */
  configure(json) {
    const config = JSON.parse(json) ?? {};
    for (const key of Object.keys(config)) {
      if (key !== "keyframes") throw invalid(`/${key}`, "there is no such key");
    }
    keyframes = config.keyframes ?? false;
    if (typeof keyframes !== "boolean") throw invalid("/keyframes", "must be true or false");
    return { tick: null };
  },
  save: () => null,
  restore() {
    throw { tag: "unsupported" };
  },
  tick() {},
});

export const filter = exported({
  /** What is not asked for here costs nothing: the server passes it on or drops it by itself. */
  open(publication) {
    info(`${publication.path} has ${publication.tracks.length} tracks`);
    const interest = ({ id }) => ({
      track: id,
      which: keyframes ? "key" : "all",
      every: 1,
      others: keyframes ? "drop" : "pass",
    });
    return { interests: publication.tracks.map(interest), tracks: null };
  },
  frame() {
    frames += 1;
    return "pass";
  },
  close() {
    info(`${frames} frames passed`);
  },
});
