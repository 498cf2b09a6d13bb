// Lets Node find what a plugin imports from the server: ./server.js stands in for it.

import { register } from "node:module";

const server = new URL("./server.js", import.meta.url).href;
const hooks = `export const resolve = (name, context, next) =>
  name.startsWith("wasmtx:") ? { url: ${JSON.stringify(server)}, shortCircuit: true } : next(name, context);`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
