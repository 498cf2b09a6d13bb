//! The bytes of a frame: in the server where that saves a copy, here where the copy is cheaper.

use bytes::{Bytes, BytesMut};
use wasmtx_media::container::mp4::Body;
use wasmtx_plugin::Held;
use wasmtx_plugin::sink::Item;

/// Up to here a frame is copied: giving it to the server by its handle would cost more.
const SMALL: u32 = 2 << 10;

/// What is copied at once: a call carries no more than 8 MiB.
const RUN: u32 = 4 << 20;

/// What stands for the bytes of a frame.
pub(crate) enum Payload {
    /// They are in the server, so many: asking for that each time would cost more than all else.
    There(Held, u32),
    /// They are here.
    Here(Bytes),
}

impl From<Item> for Payload {
    fn from(item: Item) -> Payload {
        if item.size <= SMALL {
            return Payload::Here(item.payload().into());
        }
        Payload::There(item.data, item.info.size)
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Payload {
        Payload::Here(bytes)
    }
}

impl Payload {
    /// A copy, or a share of what is here.
    pub(crate) fn bytes(&self) -> Bytes {
        match self {
            Payload::There(held, size) => all(held, *size),
            Payload::Here(bytes) => bytes.clone(),
        }
    }
}

fn all(held: &Held, size: u32) -> Bytes {
    if size <= RUN {
        return held.read(0..size).into();
    }
    let mut bytes = BytesMut::with_capacity(size as usize);
    while (bytes.len() as u32) < size {
        let begin = bytes.len() as u32;
        let run = held.read(begin..size.min(begin.saturating_add(RUN)));
        if run.is_empty() {
            break;
        }
        bytes.extend_from_slice(&run);
    }
    bytes.freeze()
}

impl Body for Payload {
    fn size(&self) -> usize {
        match self {
            Payload::There(_, size) => *size as usize,
            Payload::Here(bytes) => bytes.len(),
        }
    }

    fn lead(&self, into: &mut [u8]) {
        match self {
            Payload::There(held, _) => {
                let lead = held.read(0..u32::try_from(into.len()).unwrap_or(u32::MAX));
                into.iter_mut().zip(lead).for_each(|(to, from)| *to = from);
            }
            Payload::Here(bytes) => into.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from),
        }
    }
}
