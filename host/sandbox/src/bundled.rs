//! The plugins that are part of the binary. `make plugins` builds them, `build.rs` finds them and lists them.

/// Names and components, in the same order.
const ALL: (&[&str], &[&[u8]]) = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// The names of the bundled plugins.
pub const BUNDLED: &[&str] = ALL.0;

/// Those of them that do nothing where nothing can be re-encoded.
pub const TRANSCODING: &[&str] = &["aac"];

/// The component of a bundled plugin.
pub(crate) fn component(name: &str) -> Option<&'static [u8]> {
    let number = BUNDLED.iter().position(|bundled| *bundled == name)?;
    ALL.1.get(number).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_transcode_are_known() {
        let role = b"wasmtx:plugin/transcoder@0.1.0";
        let transcodes = |name: &&&str| {
            let component = component(name).unwrap();
            component.windows(role.len()).any(|window| window == role)
        };
        let found: Vec<&str> = BUNDLED.iter().filter(transcodes).copied().collect();
        assert_eq!(found, TRANSCODING);
    }
}
