//! Containers against FFmpeg's own tools: they read what is written here, and write what is read here.

mod mpegts;
mod tool;
