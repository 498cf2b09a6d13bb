// What every plugin in JavaScript needs beside the contract.

import { log } from "wasmtx:plugin/log@0.1.0";

/** Writes a line to the server's log, where it carries the plugin's and the path's name. */
export const debug = (text) => log("debug", String(text));
export const info = (text) => log("info", String(text));
export const warn = (text) => log("warn", String(text));
export const error = (text) => log("error", String(text));

/** Refuses a configuration: `pointer` ("/users") says which part of it, `message` why. Throw what it returns. */
export const invalid = (pointer, message) => ({ tag: "config", val: { pointer, message } });

/**
 * Wrap every interface that you export in this. An `Error` that nobody caught ends the instance, and the server would not know why: this tells
 * its log. What the contract calls an error, like `invalid(…)`, is an answer and passes.
 */
export function exported(methods) {
  const wrapped = {};
  for (const [name, method] of Object.entries(methods)) {
    wrapped[name] = (...args) => {
      try {
        return method(...args);
      } catch (thrown) {
        if (thrown instanceof Error) error(`${name} threw ${thrown} at ${thrown.stack}`);
        throw thrown;
      }
    };
  }
  return wrapped;
}
