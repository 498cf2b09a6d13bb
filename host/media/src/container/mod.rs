//! Files: how frames of several tracks stand in one, and the form of samples that MP4 and FLV share.

pub mod mp4;
pub mod mpegts;
pub mod sample;
