//! The window into a running server: the API and the metrics.
