//! The functions of the server. In a component they are its imports; natively they are the pretended ones of [`crate::testing`], so that plugins can be
//! tested as ordinary programs.

#[cfg(target_arch = "wasm32")]
mod imported;
#[cfg(target_arch = "wasm32")]
pub(crate) use imported::*;

#[cfg(not(target_arch = "wasm32"))]
mod pretended;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use pretended::*;
