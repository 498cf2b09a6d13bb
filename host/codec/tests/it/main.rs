//! The program, driven through its pipes as the server does it, with FFmpeg's own tool as the other side: it makes the
//! sound that goes in, and listens to what comes out.

mod conversions;
mod hostile;
mod hour;
mod pictures;
mod sound;
mod tool;
mod worker;
