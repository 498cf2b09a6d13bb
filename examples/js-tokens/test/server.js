// A pretended server for tests. Add what your plugin imports.

/** Lines that were logged: level and text. */
export const lines = [];
export const log = (level, text) => void lines.push([level, text]);

/** What the client proved, for `verify`. */
export const proof = { user: undefined, secret: undefined };
export const verify = (user, secret) => user === proof.user && secret === proof.secret;

/** The time in microseconds, for both clocks. */
export const clock = { now: 0 };
export const now = () => clock.now;
export const monotonic = () => clock.now;
