//! Keeps paths: their sources and their hooks.
