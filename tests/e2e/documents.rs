//! What the documents say is there.
