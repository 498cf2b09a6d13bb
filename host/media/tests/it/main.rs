//! Containers against FFmpeg's own tools: they read what is written here, and write what is read here.

mod mp4;
mod mpegts;
mod tool;
