//! The sample tables of a plain file (ISO/IEC 14496-12 section 8.6 and 8.7): run-length lists that say, each in its own
//! way, how long a sample is, how large, and where.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::{
    boxes::{find, full},
    budget::Budget,
    fragment::Sample,
    track::time,
};
use crate::{Error, read::Cursor};

/// Appends the samples that the tables in `stbl` list; answers the time behind the last.
pub(super) fn read(stbl: &[u8], budget: &mut Budget, samples: &mut Vec<Sample>) -> Result<i64, Error> {
    let Some(mut sizes) = Sizes::read(stbl)? else {
        return Ok(0);
    };
    let mut durations = Runs::read(find(stbl, *b"stts"))?;
    let mut delays = Runs::read(find(stbl, *b"ctts"))?;
    let mut chunks = Chunks::read(stbl)?;
    let mut dts = 0i64;
    while let Some(size) = sizes.next()? {
        let offset = chunks
            .next(size)?
            .ok_or(Error::Invalid("sample outside of the chunks"))?;
        let duration = durations.next().unwrap_or_default();
        // Signed in version 1, and in practice in version 0, too.
        let later = delays.next().unwrap_or_default().cast_signed();
        if budget.take(offset, size)? {
            samples.push(Sample {
                track: 0,
                run: 0,
                dts,
                later,
                duration,
                size,
                offset,
                flags: 0,
            });
        }
        dts = time(dts.saturating_add(duration.into()))?;
    }
    Ok(dts)
}

/// `stsz` and `stz2`: the size of each sample, or one for all.
enum Sizes<'a> {
    Same {
        size: u32,
        left: u32,
    },
    Listed {
        bits: u8,
        left: u32,
        cursor: Cursor<'a>,
        half: Option<u8>,
    },
}

impl<'a> Sizes<'a> {
    fn read(stbl: &'a [u8]) -> Result<Option<Sizes<'a>>, Error> {
        if let Some(stsz) = find(stbl, *b"stsz") {
            let (_, _, mut cursor) = full(stsz)?;
            let (size, left) = (cursor.u32()?, cursor.u32()?);
            return Ok(Some(match size {
                0 => Sizes::listed(32, left, cursor),
                size => Sizes::Same { size, left },
            }));
        }
        let Some(stz2) = find(stbl, *b"stz2") else {
            return Ok(None);
        };
        let (_, _, mut cursor) = full(stz2)?;
        cursor.skip(3)?;
        let (bits, left) = (cursor.u8()?, cursor.u32()?);
        match bits {
            4 | 8 | 16 => Ok(Some(Sizes::listed(bits, left, cursor))),
            _ => Err(Error::Invalid("stz2 field size")),
        }
    }

    fn listed(bits: u8, left: u32, cursor: Cursor<'a>) -> Sizes<'a> {
        let half = None;
        Sizes::Listed {
            bits,
            left,
            cursor,
            half,
        }
    }

    fn next(&mut self) -> Result<Option<u32>, Error> {
        let (Sizes::Same { left, .. } | Sizes::Listed { left, .. }) = self;
        let Some(fewer) = left.checked_sub(1) else {
            return Ok(None);
        };
        *left = fewer;
        match self {
            Sizes::Same { size, .. } => Ok(Some(*size)),
            Sizes::Listed { bits, cursor, half, .. } => Ok(Some(match bits {
                32 => cursor.u32()?,
                16 => cursor.u16()?.into(),
                8 => cursor.u8()?.into(),
                // Two to a byte, the upper half first.
                _ => match half.take() {
                    Some(low) => low.into(),
                    None => {
                        let byte = cursor.u8()?;
                        *half = Some(byte & 0x0f);
                        (byte >> 4).into()
                    }
                },
            })),
        }
    }
}

/// `stts` and `ctts`: a value and how many samples have it.
struct Runs<'a> {
    cursor: Cursor<'a>,
    left: u32,
    value: u32,
}

impl<'a> Runs<'a> {
    fn read(body: Option<&'a [u8]>) -> Result<Runs<'a>, Error> {
        let mut cursor = Cursor::new(&[]);
        if let Some(body) = body {
            (_, _, cursor) = full(body)?;
            cursor.skip(4)?;
        }
        Ok(Runs {
            cursor,
            left: 0,
            value: 0,
        })
    }

    /// None behind the last run.
    fn next(&mut self) -> Option<u32> {
        while self.left == 0 {
            self.left = self.cursor.u32().ok()?;
            self.value = self.cursor.u32().ok()?;
        }
        self.left = self.left.saturating_sub(1);
        Some(self.value)
    }
}

/// `stsc` and `stco` or `co64`: samples stand in chunks, chunks somewhere in the file.
struct Chunks<'a> {
    offsets: Cursor<'a>,
    wide: bool,
    runs: Cursor<'a>,
    /// Of the next chunk, from 1 on.
    number: u32,
    per_chunk: u32,
    /// The run behind the present one: its first chunk, and samples in each.
    following: Option<(u32, u32)>,
    /// In the present chunk.
    left: u32,
    offset: u64,
}

impl<'a> Chunks<'a> {
    fn read(stbl: &'a [u8]) -> Result<Chunks<'a>, Error> {
        let (offsets, wide) = match (find(stbl, *b"stco"), find(stbl, *b"co64")) {
            (Some(stco), _) => (stco, false),
            (None, Some(co64)) => (co64, true),
            (None, None) => return Err(Error::Invalid("track without chunk offsets")),
        };
        let stsc = find(stbl, *b"stsc").ok_or(Error::Invalid("track without chunks"))?;
        let (_, _, mut offsets) = full(offsets)?;
        let (_, _, mut runs) = full(stsc)?;
        offsets.skip(4)?;
        runs.skip(4)?;
        let mut chunks = Chunks {
            offsets,
            wide,
            runs,
            number: 1,
            per_chunk: 0,
            following: None,
            left: 0,
            offset: 0,
        };
        chunks.following = chunks.run()?;
        Ok(chunks)
    }

    fn run(&mut self) -> Result<Option<(u32, u32)>, Error> {
        let Ok(first) = self.runs.u32() else { return Ok(None) };
        let samples = self.runs.u32()?;
        if self.runs.u32()? != 1 {
            return Err(Error::Unsupported("track with several sample entries"));
        }
        Ok(Some((first, samples)))
    }

    /// Where the next sample begins; none when there is no chunk left for it.
    fn next(&mut self, size: u32) -> Result<Option<u64>, Error> {
        while self.left == 0 {
            while let Some((first, samples)) = self.following
                && first <= self.number
            {
                self.per_chunk = samples;
                self.following = self.run()?;
            }
            let offset = if self.wide {
                self.offsets.u64()
            } else {
                self.offsets.u32().map(u64::from)
            };
            let Ok(offset) = offset else { return Ok(None) };
            (self.offset, self.left) = (offset, self.per_chunk);
            self.number = self.number.saturating_add(1);
        }
        self.left = self.left.saturating_sub(1);
        let offset = self.offset;
        self.offset = offset.saturating_add(size.into());
        Ok(Some(offset))
    }
}
