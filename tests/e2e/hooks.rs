//! Commands that the server starts, and when it ends them.
