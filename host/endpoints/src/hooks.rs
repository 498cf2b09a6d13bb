//! External commands (`runOn…`).
