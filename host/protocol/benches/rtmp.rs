//! RTMP per frame: the chunks that all players share, and a frame out of the chunks of a publisher, beside the copy of the
//! same bytes.
//!
//! Prints rows `| figure | measured | reference | hold | aim |`.

mod measure;

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use measure::{median, row};
use wasmtx_protocol::rtmp::{
    Kind,
    chunk::{CHUNK_SIZE, MEDIA_STREAM, Reader, Writer},
};

/// A frame of a 4 Mb/s stream at 50 frames per second.
const FRAME: usize = 10_000;
/// What OBS announces.
const SMALL_CHUNK: u32 = 4_096;

fn main() {
    let frame = Bytes::from(vec![7; FRAME]);
    let copy = median(|| drop(black_box(frame.to_vec())));
    let write = |writer: &mut Writer| {
        writer
            .write(Kind::Video, 40, MEDIA_STREAM, frame.clone())
            .expect("a small frame")
    };

    let mut writer = Writer::new(CHUNK_SIZE);
    row("protocol: frame into the RTMP chunks of all players", copy, || {
        black_box(write(&mut writer));
    });

    for chunk_size in [CHUNK_SIZE, SMALL_CHUNK] {
        let mut writer = Writer::default();
        let mut reader = Reader::new();
        reader.trust();
        let mut announcement = BytesMut::from(&writer.resize(chunk_size)[..]);
        assert_eq!(
            reader.read(&mut announcement),
            Ok(None),
            "a message for the reader alone"
        );
        let chunks = write(&mut writer);
        let figure = format!("protocol: frame out of RTMP chunks of {chunk_size} bytes");
        row(&figure, copy, || {
            // The copy that reading from a socket is.
            let mut input = BytesMut::from(&chunks[..]);
            let message = reader.read(&mut input).expect("our own chunks");
            assert!(message.is_some_and(|message| message.payload.len() == FRAME));
        });
    }
}
