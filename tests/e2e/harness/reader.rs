//! A reader that keeps every frame, in the one form that frames have everywhere.

use std::{
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Instant,
};

use wasmtx_media::{Frame, Track, TrackId};
use wasmtx_protocol::{
    rtp::{Delivery, Receiver, Timeline},
    rtsp::{client::Event, sdp},
};

use super::{Server, Session, hash, session::Login, until};

/// Reads a path on a thread of its own until it is dropped.
pub(crate) struct Reader {
    /// What the stream consists of, as described.
    pub(crate) tracks: Vec<Track>,
    state: Arc<Mutex<State>>,
    stream: TcpStream,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    /// The frames of each track.
    frames: Vec<Vec<Frame>>,
    /// Why there will be no more.
    end: Option<String>,
    /// RTP packets that were lost or wrong.
    faults: u64,
}

impl Reader {
    /// Begins to read.
    #[track_caller]
    pub(crate) fn new(server: &Server, path: &str) -> Reader {
        Reader::open(server.address("rtspAddress"), path, None).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Begins to read as somebody; the path may have a query.
    ///
    /// # Errors
    /// What the server had against it.
    pub(crate) fn open(address: SocketAddr, path: &str, login: Login<'_>) -> Result<Reader, String> {
        let (session, description) = Session::play(address, path, login)?;
        let receivers = receivers(&description);
        let tracks: Vec<Track> = receivers.iter().map(|receiver| receiver.track().clone()).collect();
        let stream = session.stream().try_clone().map_err(|error| error.to_string())?;
        let state = Arc::new(Mutex::new(State {
            frames: vec![Vec::new(); tracks.len()],
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || read(session, receivers, &shared));
        Ok(Reader {
            tracks,
            state,
            stream,
            thread: Some(thread),
        })
    }

    /// The frames of a track so far.
    pub(crate) fn frames(&self, track: usize) -> Vec<Frame> {
        self.state.lock().expect("the reading thread is well").frames[track].clone()
    }

    /// The hashes of a track's frames so far.
    pub(crate) fn hashes(&self, track: usize) -> Vec<String> {
        self.frames(track).iter().map(|frame| hash(&frame.payload)).collect()
    }

    /// How many frames of a track came so far.
    pub(crate) fn count(&self, track: usize) -> usize {
        self.state.lock().expect("the reading thread is well").frames[track].len()
    }

    /// RTP packets that were lost or wrong so far.
    pub(crate) fn faults(&self) -> u64 {
        self.state.lock().expect("the reading thread is well").faults
    }

    /// Waits until so many frames of a track came.
    #[track_caller]
    pub(crate) fn until(&self, track: usize, count: usize) {
        until(&format!("{count} frames of track {track}"), || {
            let state = self.state.lock().expect("the reading thread is well");
            let found = state.frames[track].len();
            let enough = found >= count;
            assert!(
                enough || state.end.is_none(),
                "{found} of {count} frames, then: {:?}",
                state.end
            );
            enough.then_some(())
        });
    }

    /// Waits until the server ends it, and answers how.
    #[track_caller]
    pub(crate) fn until_end(&self) -> String {
        until("the end of the stream", || self.end())
    }

    /// How it ended, if it did.
    pub(crate) fn end(&self) -> Option<String> {
        self.state.lock().expect("the reading thread is well").end.clone()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn receivers(description: &sdp::Session) -> Vec<Receiver> {
    let medias = description.medias.iter().enumerate();
    let receivers = medias.map(|(number, media)| {
        let format = media.formats.first().expect("a media has a format");
        let id = TrackId(u32::try_from(number).expect("few medias"));
        Receiver::new(format, format.track(id), Delivery::Ordered, 1)
    });
    receivers.collect()
}

fn read(mut session: Session, mut receivers: Vec<Receiver>, state: &Mutex<State>) {
    let mut timeline = Timeline::default();
    let mut frames = Vec::new();
    loop {
        let event = session.next();
        let now = Instant::now();
        match event {
            Ok(Event::Interleaved {
                media,
                rtcp: false,
                data,
            }) => {
                receivers[media].handle_rtp(now, &data, &mut timeline, &mut frames);
                let mut state = state.lock().expect("the test is well");
                state.frames[media].extend(frames.drain(..).map(|received| received.frame));
                state.faults = receivers.iter().map(faults).sum();
            }
            Ok(Event::Interleaved { media, data, .. }) => receivers[media].handle_rtcp(now, &data),
            Ok(_) => {}
            Err(reason) => {
                state.lock().expect("the test is well").end = Some(reason);
                return;
            }
        }
    }
}

fn faults(receiver: &Receiver) -> u64 {
    let counts = receiver.counts();
    counts.packets_lost + counts.packets_in_error + counts.frames_in_error
}
