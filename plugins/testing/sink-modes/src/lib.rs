//! A sink that does as it is told: `{ mode: <one of Mode>, to: <text>, first: n, every: m }`.
//!
//! `first` batches are taken as `take` does, then the mode applies to each `every`-th (default: each), so that a test can see a healthy sink before
//! and after. In `to`, `$PATH` stands for the stream's path with `_` for `/`.

use std::hint::black_box;
use std::time::Duration;

use serde::Deserialize;
use wasmtx_plugin::sink::{Interest, Item, Sink, Wants};
use wasmtx_plugin::storage::{self, File};
use wasmtx_plugin::{
    CloseReason, Error, FrameInfo, Plugin, Publication, Snapshot, clock, control, http, json, kv, metrics, recording,
};

/// When recordings began.
const BEGUN: Duration = Duration::from_secs(1);
/// How long `slow` computes for each batch.
const SLOW: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// Adds to the metrics `sink_frames`, `sink_bytes` and `sink_batches`, as all modes do; to `sink_gaps` for each frame behind a gap, and to
    /// `sink_headless` for each of those that begins no GOP.
    Take,
    /// Logs each batch: `batch 0: 1/0* 2/0 1/1`, track and number, `*` for keyframes, `!` for a discontinuity.
    Tell,
    /// As `tell`, but without bytes.
    TellInfos,
    /// As `tell`, but of keyframes only.
    TellKeys,
    /// Writes every frame's bytes to the file `to` without touching them; commits at each keyframe, finishes at the end.
    Store,
    /// The same with bytes that pass through the guest.
    StoreCopied,
    /// As `store`, and says so: a recording that begins with second 1 and lasts as many seconds as there were batches.
    Record,
    /// As `record`, but panics over each batch, once it is stored.
    RecordTrap,
    /// As `record`, but of a file that it did not make, too early, too late, and twice.
    RecordFalsely,
    /// Writes until it is refused, then logs the refusal.
    Fill,
    /// Tries to leave the granted directory, and logs what came of it.
    Escape,
    /// Counts in kv how often it was opened, and logs the count.
    Remember,
    /// Posts `{"frames","bytes"}` of each batch to the URL `to`, and logs what came back.
    Post,
    /// Keeps every frame forever.
    Hoard,
    /// Asks for a keyframe with each batch, on its path and on `to`.
    Keyframe,
    /// Ends the publisher's session.
    Kick,
    /// Computes for a while with each batch.
    Slow,
    /// Answers a batch with an error.
    Refuse,
    Trap,
    Spin,
    Grow,
    /// Asks for tracks that do not exist, `every: 0` among them.
    BadInterests,
    RefuseOpen,
    TrapInOpen,
    SpinInOpen,
    TrapInClose,
    SpinInClose,
    /// Answers `save` with far more than a snapshot may hold.
    HugeSave,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    mode: Mode,
    #[serde(default)]
    to: String,
    #[serde(default)]
    first: u64,
    #[serde(default = "one")]
    every: u64,
}

fn one() -> u64 {
    1
}

struct SinkModes {
    config: Config,
    path: String,
    publisher: Option<String>,
    /// The name of the file.
    to: String,
    /// Handed over at a swap.
    batches: u64,
    file: Option<File>,
    hoard: Vec<Item>,
}

impl Plugin for SinkModes {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            config,
            path: String::new(),
            publisher: None,
            to: String::new(),
            batches: 0,
            file: None,
            hoard: Vec::new(),
        })
    }

    fn save(&self) -> Option<Snapshot> {
        let data = match self.config.mode {
            Mode::HugeSave => vec![7; 4 << 20],
            _ => self.batches.to_be_bytes().to_vec(),
        };
        Some(Snapshot { schema: 1, data })
    }

    fn restore(&mut self, old: Snapshot) -> Result<(), Error> {
        let batches = old
            .data
            .try_into()
            .map_err(|_| Error::other("a snapshot is eight bytes"))?;
        self.batches = u64::from_be_bytes(batches);
        Ok(())
    }
}

impl Sink for SinkModes {
    fn open(&mut self, publication: Publication) -> Result<Wants, Error> {
        let wants = Wants::all(&publication.tracks);
        let wants = match self.config.mode {
            Mode::TellInfos => wants.without_bytes(),
            Mode::TellKeys => Wants::with(publication.tracks.iter().map(|track| Interest::keyframes(track.id))),
            Mode::BadInterests => Wants::with((0..100_000).map(|track| Interest::all(track).every(0))),
            Mode::Remember => {
                let opened = kv::add("opened", 1, None)?;
                wasmtx_plugin::info!("opened {opened} times");
                wants
            }
            Mode::RefuseOpen => return Err(Error::other("refused as asked")),
            Mode::TrapInOpen => panic!("this stream is not to my liking"),
            Mode::SpinInOpen => spin(),
            _ => wants,
        };
        let to = self.config.to.replace("$PATH", &publication.path.replace('/', "_"));
        match self.config.mode {
            Mode::Store | Mode::StoreCopied | Mode::Fill => self.file = Some(File::create(&to)?),
            Mode::Record | Mode::RecordTrap => {
                self.file = Some(File::create(&to)?);
                recording::started(&to, BEGUN);
            }
            Mode::RecordFalsely => {
                recording::started(&to, BEGUN);
                recording::done(&to, BEGUN, BEGUN);
                let file = File::create(&to)?;
                recording::done(&to, BEGUN, BEGUN);
                recording::started("../elsewhere", BEGUN);
                recording::started(&to, BEGUN);
                recording::started(&to, BEGUN * 2);
                recording::done(&to, BEGUN, BEGUN);
                file.finish()?;
                recording::done(&to, BEGUN, BEGUN * 3);
                recording::done(&to, BEGUN, BEGUN * 4);
                recording::started(&to, BEGUN);
            }
            _ => {}
        }
        self.to = to;
        self.path = publication.path;
        self.publisher = publication.publisher.map(|client| client.session);
        Ok(wants)
    }

    fn frames(&mut self, batch: Vec<Item>) -> Result<(), Error> {
        let number = self.taken(batch.iter().map(|item| &item.info));
        if !self.misbehaves(number) {
            return Ok(());
        }
        match self.config.mode {
            Mode::RecordTrap => {
                self.store(&batch)?;
                panic!("batch {number} is not to my liking");
            }
            Mode::Tell | Mode::TellKeys => tell(number, batch.iter().map(|item| &item.info)),
            Mode::Store | Mode::StoreCopied | Mode::Record => self.store(&batch)?,
            Mode::Fill => self.fill(),
            Mode::Escape => escape(),
            Mode::Post => self.post(&batch),
            Mode::Hoard => self.hoard.extend(batch),
            Mode::Keyframe => {
                control::request_keyframe(&self.path);
                control::request_keyframe(&self.config.to);
            }
            Mode::Kick => control::kick(self.publisher.as_deref().unwrap_or_default(), "kicked\r\nas asked"),
            Mode::Slow => {
                let end = clock::monotonic() + SLOW;
                while clock::monotonic() < end {}
            }
            Mode::Refuse => return Err(Error::other("refused as asked")),
            Mode::Trap => panic!("batch {number} is not to my liking"),
            Mode::Spin => spin(),
            Mode::Grow => grow(),
            _ => {}
        }
        Ok(())
    }

    fn infos(&mut self, batch: Vec<FrameInfo>) -> Result<(), Error> {
        let number = self.taken(batch.iter());
        if self.misbehaves(number) {
            tell(number, batch.iter());
        }
        Ok(())
    }

    fn close(&mut self, reason: CloseReason) {
        wasmtx_plugin::info!("closed: {} after {} batches", reason.name(), self.batches);
        match (self.config.mode, self.file.take()) {
            (Mode::TrapInClose, _) => panic!("the end is not to my liking"),
            (Mode::SpinInClose, _) => spin(),
            (_, Some(file)) => match file.finish() {
                Ok(size) => {
                    wasmtx_plugin::info!("finished at {size} bytes");
                    let duration = Duration::from_secs(self.batches);
                    recording::done(&self.to, BEGUN, duration);
                }
                Err(error) => wasmtx_plugin::warn!("not finished: {}", error.name()),
            },
            _ => {}
        }
    }
}

impl SinkModes {
    /// Counts a batch and answers its number.
    fn taken<'a>(&mut self, batch: impl Iterator<Item = &'a FrameInfo> + Clone) -> u64 {
        let sizes: Vec<u64> = batch.clone().map(|info| info.size.into()).collect();
        let gaps = batch.filter(|info| info.is_discontinuous());
        metrics::counter("sink_gaps", gaps.clone().count() as u64);
        metrics::counter("sink_headless", gaps.filter(|info| !info.is_key()).count() as u64);
        metrics::counter("sink_frames", sizes.len() as u64);
        metrics::counter("sink_bytes", sizes.iter().sum());
        metrics::counter("sink_batches", 1);
        self.batches += 1;
        self.batches - 1
    }

    fn misbehaves(&self, number: u64) -> bool {
        let Config { first, every, .. } = self.config;
        number >= first && (number - first).is_multiple_of(every.max(1))
    }

    fn store(&mut self, batch: &[Item]) -> Result<(), storage::Error> {
        let Some(file) = &mut self.file else { return Ok(()) };
        for item in batch {
            if item.is_key() {
                file.commit()?;
            }
            match self.config.mode {
                Mode::StoreCopied => file.append(item.payload())?,
                _ => file.append_held(&item.data)?,
            };
        }
        Ok(())
    }

    fn fill(&mut self) {
        let Some(file) = &mut self.file else { return };
        let block = vec![7; 1 << 20];
        // As many megabytes as a call may want to write; a test grants fewer.
        match (0..1_024).find_map(|_| file.append(&block).err()) {
            Some(error) => wasmtx_plugin::info!("refused: {}", error.name()),
            None => wasmtx_plugin::info!("nothing was refused"),
        }
    }

    fn post(&self, batch: &[Item]) {
        let bytes: u64 = batch.iter().map(|item| u64::from(item.size)).sum();
        let body = json!({ "frames": batch.len(), "bytes": bytes });
        match http::Request::post(&self.config.to).json(&body).send() {
            Ok(response) => wasmtx_plugin::info!("posted: {}", response.status),
            Err(error) => wasmtx_plugin::warn!("not posted: {}", error.name()),
        }
    }
}

fn tell<'a>(number: u64, batch: impl Iterator<Item = &'a FrameInfo>) {
    let one = |info: &FrameInfo| {
        let key = if info.is_key() { "*" } else { "" };
        let gap = if info.is_discontinuous() { "!" } else { "" };
        format!(" {}/{}{key}{gap}", info.track, info.number)
    };
    wasmtx_plugin::info!("batch {number}:{}", batch.map(one).collect::<String>());
}

fn escape() {
    let names = [
        "../outside",
        "/tmp/outside",
        "a/../../outside",
        "",
        ".",
        "a//b",
        "a\0b",
        "link/inside",
        ".hidden",
        "-rf",
        "con",
    ];
    for name in names {
        let outcome = |result: Result<(), storage::Error>| result.map_or_else(|error| error.name(), |()| "done");
        let create = outcome(File::create(name).map(drop));
        let read = outcome(storage::read(name, 0, 1).map(drop));
        let rename = outcome(storage::rename("inside", name));
        let remove = outcome(storage::remove(name));
        wasmtx_plugin::info!("{name:?}: create {create}, read {read}, rename {rename}, remove {remove}");
    }
}

fn spin() -> ! {
    loop {
        black_box(());
    }
}

fn grow() {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(black_box(vec![1; 1 << 20]));
    }
}

wasmtx_plugin::export!(SinkModes: sink);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::testing::{
        Reader, answer_http, configure, delta, h264, key, metrics, publication, set_storage_room, take_kicks, take_log,
        take_recordings,
    };

    /// Two batches of two frames, then the end. Returns what was logged and what the second batch was answered.
    fn run(config: &str) -> (Vec<String>, Result<(), Error>) {
        let mut reader = Reader::open(configure::<SinkModes>(config).unwrap(), publication("a/b", [h264(1)])).unwrap();
        let mut push = |first| reader.push([(key(1, first), b"key".as_slice()), (delta(1, first + 1), b"delta")]);
        push(0).unwrap();
        let answer = push(2);
        reader.close(CloseReason::Ended);
        (take_log().into_iter().map(|(_, line)| line).collect(), answer)
    }

    #[test]
    fn what_came_is_told_and_counted() {
        let (lines, _) = run(r#"{"mode":"tell"}"#);
        assert_eq!(
            lines,
            [
                "batch 0: 1/0* 1/1",
                "batch 1: 1/2* 1/3",
                "closed: ended after 2 batches"
            ]
        );
        assert_eq!(run(r#"{"mode":"tell-keys","first":1}"#).0[0], "batch 1: 1/2*");
        assert_eq!(run(r#"{"mode":"tell-infos","every":2}"#).0[0], "batch 0: 1/0* 1/1");
        assert_eq!(metrics().counters["sink_bytes"], 16 + 6 + 16);
    }

    #[test]
    fn frames_are_written_either_way() {
        for mode in ["store", "store-copied"] {
            let (lines, answer) = run(&format!(r#"{{"mode":"{mode}","to":"$PATH.bin"}}"#));
            assert!(answer.is_ok());
            assert_eq!(lines.last().unwrap(), "finished at 16 bytes");
            assert_eq!(storage::read("a_b.bin", 0, 99).unwrap(), b"keydeltakeydelta");
        }
    }

    #[test]
    fn a_recording_is_announced() {
        let (_, answer) = run(r#"{"mode":"record","to":"$PATH.bin"}"#);
        assert!(answer.is_ok());
        let [started, done] = take_recordings().try_into().unwrap();
        assert_eq!((started.file.as_str(), started.duration), ("a_b.bin", None));
        assert_eq!((done.start, done.duration), (1_000_000, Some(2_000_000)));
    }

    #[test]
    fn a_refusal_is_seen_and_said() {
        set_storage_room(10 << 20);
        assert_eq!(run(r#"{"mode":"fill","to":"full"}"#).0[0], "refused: full");
        assert!(matches!(run(r#"{"mode":"refuse","first":1}"#).1, Err(Error::Other(_))));
        assert!(run(r#"{"mode":"escape"}"#).0[0].starts_with("\"../outside\": create not-granted"));
    }

    #[test]
    fn others_are_asked() {
        answer_http(|_| Ok(http::Response::new(202)));
        assert_eq!(run(r#"{"mode":"post","to":"http://a.example"}"#).0[0], "posted: 202");
        assert!(run(r#"{"mode":"kick","first":1}"#).1.is_ok());
        assert_eq!(take_kicks()[0].0, "6f9619ff");
    }
}
