//! What the server and the program `wasmtx-codec` say to each other.
