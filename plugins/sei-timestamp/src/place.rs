//! Where in a frame the stamp goes: before the first coded picture, behind whatever has to come first.

/// More small units before a picture than any encoder writes; each costs a look.
const MOST_UNITS: usize = 16;

/// Reads bytes of the frame, fewer at its end.
pub(crate) type Read<'a> = &'a dyn Fn(u32, u32) -> Vec<u8>;

/// Before a picture: the offset, and the second byte of the picture's NAL unit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: u32,
    pub(crate) second: u8,
}

/// The first NAL unit that is (part of) a picture, in an access unit with 4-byte lengths.
pub(crate) fn first_picture(read: Read, is_picture: fn(u8) -> bool) -> Option<Place> {
    let mut offset: u32 = 0;
    for _ in 0..MOST_UNITS {
        let [a, b, c, d, first, second] = read(offset, 6).try_into().ok()?;
        if is_picture(first) {
            return Some(Place { offset, second });
        }
        offset = offset.checked_add(4)?.checked_add(u32::from_be_bytes([a, b, c, d]))?;
    }
    None
}

/// ITU-T H.264 table 7-1: slices, and the prefix that belongs to the slice behind it.
pub(crate) fn is_h264_picture(first: u8) -> bool {
    matches!(first & 0x1f, 1..=5 | 14 | 20)
}

/// ITU-T H.265 table 7-1: the lower half.
pub(crate) fn is_h265_picture(first: u8) -> bool {
    first >> 1 & 0x3f < 32
}

/// The first OBU that is (the header of) a picture, in a temporal unit of OBUs with lengths (AV1 section 5.3).
pub(crate) fn first_obu(read: Read) -> Option<u32> {
    let mut offset: u32 = 0;
    for _ in 0..MOST_UNITS {
        // Header, extension, and a length of as many bytes as a u32 needs.
        let bytes = read(offset, 7);
        let header = *bytes.first()?;
        let (kind, has_extension, has_size) = (header >> 3 & 0xf, header >> 2 & 1, header >> 1 & 1);
        // Frame header, frame, redundant frame header, tile group, tile list.
        if matches!(kind, 3 | 4 | 6..=8) {
            return Some(offset);
        }
        let start = 1 + usize::from(has_extension);
        let (size, length) = leb128(bytes.get(start..)?).filter(|_| has_size == 1)?;
        offset = offset
            .checked_add(u32::try_from(start).ok()? + length)?
            .checked_add(size)?;
    }
    None
}

/// AV1 section 4.10.5: the number, and its length.
fn leb128(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut value: u64 = 0;
    for (number, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * number);
        if byte & 0x80 == 0 {
            return Some((value.try_into().ok()?, number as u32 + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> impl Fn(u32, u32) -> Vec<u8> {
        move |offset, length| {
            let rest = bytes.get(offset as usize..).unwrap_or_default();
            rest[..rest.len().min(length as usize)].to_vec()
        }
    }

    #[test]
    fn the_place_is_before_the_first_slice_and_behind_other_messages() {
        let place = |bytes: &[u8]| first_picture(&of(bytes), is_h264_picture).map(|place| place.offset);
        assert_eq!(place(&[0, 0, 0, 2, 0x65, 9]), Some(0));
        assert_eq!(place(&[0, 0, 0, 3, 6, 1, 2, 0, 0, 0, 2, 0x41, 9]), Some(7));
        assert_eq!(
            place(&[0, 0, 0, 1, 9, 0, 0, 0, 2, 0x6e, 9, 0, 0, 0, 2, 0x65, 9]),
            Some(5),
            "the prefix stays at its slice"
        );
        assert_eq!(place(&[0, 0, 0, 3, 6, 1, 2]), None);
    }

    #[test]
    fn in_h265_the_layer_is_known_then() {
        let place = |bytes: &[u8]| first_picture(&of(bytes), is_h265_picture);
        assert_eq!(
            place(&[0, 0, 0, 3, 0x4e, 1, 5, 0, 0, 0, 2, 0x26, 1]),
            Some(Place { offset: 7, second: 1 })
        );
        assert_eq!(place(&[0, 0, 0, 2, 0x02, 3]), Some(Place { offset: 0, second: 3 }));
    }

    #[test]
    fn in_av1_it_is_behind_the_sequence_header() {
        let place = |bytes: &[u8]| first_obu(&of(bytes));
        assert_eq!(place(&[0x32, 1, 0]), Some(0));
        assert_eq!(place(&[0x0a, 3, 1, 2, 3, 0x32, 1, 0]), Some(5));
        assert_eq!(
            place(&[0x0e, 0, 0x81, 0x00, 9, 0x1a, 0]),
            Some(5),
            "with an extension, and a length that is longer than it needs to be"
        );
        assert_eq!(place(&[0x08, 0x32, 1, 0]), None, "an OBU without a length");
    }

    #[test]
    fn what_is_broken_has_no_place() {
        for bytes in [
            &[][..],
            &[0, 0, 0],
            &[0xff; 64],
            &[0, 0, 0, 0, 6, 0],
            &[0; 1_000],
            &[0xff, 0xff, 0xff, 0xff, 6, 0],
        ] {
            assert_eq!(first_picture(&of(bytes), is_h264_picture), None);
        }
        for bytes in [
            &[][..],
            &[0x0a],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0x2a, 0].repeat(100),
        ] {
            assert_eq!(first_obu(&of(bytes)), None, "{bytes:?}");
        }
    }
}
