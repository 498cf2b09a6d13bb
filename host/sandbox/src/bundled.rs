//! The plugins that are part of the binary. `make plugins` builds them, `build.rs` finds them and lists them.

/// Names and components, in the same order.
const ALL: (&[&str], &[&[u8]]) = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// The names of the bundled plugins.
pub const BUNDLED: &[&str] = ALL.0;

/// The component of a bundled plugin.
pub(crate) fn component(name: &str) -> Option<&'static [u8]> {
    let number = BUNDLED.iter().position(|bundled| *bundled == name)?;
    ALL.1.get(number).copied()
}
