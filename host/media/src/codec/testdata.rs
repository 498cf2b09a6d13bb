//! Readers for the container files under `testdata/`.

/// The frames of an IVF file.
pub(crate) fn ivf(file: &[u8]) -> Vec<&[u8]> {
    let mut rest = &file[32..];
    let mut frames = Vec::new();
    while let [a, b, c, d, ..] = rest {
        let end = 12 + u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        frames.push(&rest[12..end]);
        rest = &rest[end..];
    }
    frames
}
