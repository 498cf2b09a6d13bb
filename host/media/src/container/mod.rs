//! Files: how frames of several tracks stand in one.

pub mod mp4;
