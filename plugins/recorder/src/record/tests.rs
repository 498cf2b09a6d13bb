//! A recorder on a server made up for it, whose clocks and whose disk do as they are told.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use wasmtx_media::recording::{Format, Template};
use wasmtx_media::{Codec, Flags, Kind, Payload, Track, TrackId};

use super::{Frame, Recorder, Server, Settings, Told, Trouble};

/// 2026-01-01 00:00 UTC.
const BEGIN: u64 = 1_767_225_600_000_000;
const SECOND: u64 = 1_000_000;

#[derive(Clone, Default)]
struct House(Rc<Inside>);

#[derive(Default)]
struct Inside {
    /// Since the beginning.
    monotonic: Cell<u64>,
    /// What the wall clock was set by.
    set: Cell<i64>,
    identities: Cell<u8>,
    created: Cell<u32>,
    files: RefCell<BTreeMap<String, Vec<u8>>>,
    /// Says no to these calls.
    refuses: RefCell<Vec<(&'static str, Trouble)>>,
    told: RefCell<Vec<String>>,
}

impl House {
    fn wall(&self) -> u64 {
        (BEGIN + self.0.monotonic.get()).saturating_add_signed(self.0.set.get())
    }

    fn refuse(&self, call: &'static str, trouble: Trouble) {
        self.0.refuses.borrow_mut().push((call, trouble));
    }

    fn allow(&self) {
        self.0.refuses.borrow_mut().clear();
    }

    fn asked(&self, call: &str) -> Result<(), Trouble> {
        let refuses = self.0.refuses.borrow();
        match refuses.iter().find(|(refused, _)| *refused == call) {
            Some((_, trouble)) => Err(*trouble),
            None => Ok(()),
        }
    }

    fn told(&self) -> Vec<String> {
        self.0.told.take()
    }
}

struct File {
    name: String,
    waiting: Vec<u8>,
}

impl Server for House {
    type Payload = Payload;
    type File = File;

    fn now(&self) -> u64 {
        self.wall()
    }

    fn monotonic(&self) -> u64 {
        self.0.monotonic.get()
    }

    fn offset(&self, _: u64) -> i32 {
        3_600
    }

    fn identity(&self) -> [u8; 16] {
        self.0.identities.set(self.0.identities.get() + 1);
        [self.0.identities.get(); 16]
    }

    fn here<'a>(&self, _: &'a Payload) -> Option<&'a [u8]> {
        None
    }

    fn bytes(&self, payload: &Payload) -> Bytes {
        payload.clone().into()
    }

    fn is_free(&self, name: &str) -> Result<bool, Trouble> {
        self.asked("is_free")?;
        Ok(!self.0.files.borrow().contains_key(name))
    }

    fn create(&self, name: &str) -> Result<File, Trouble> {
        self.0.created.set(self.0.created.get() + 1);
        self.asked("create")?;
        self.0.files.borrow_mut().insert(name.to_owned(), Vec::new());
        Ok(File {
            name: name.to_owned(),
            waiting: Vec::new(),
        })
    }

    fn append(&self, file: &mut File, bytes: &[u8]) -> Result<(), Trouble> {
        self.asked("append")?;
        file.waiting.extend_from_slice(bytes);
        Ok(())
    }

    fn append_payload(&self, file: &mut File, payload: &Payload) -> Result<(), Trouble> {
        self.append(file, payload)
    }

    fn commit(&self, file: &mut File) -> Result<(), Trouble> {
        self.asked("commit")?;
        let mut files = self.0.files.borrow_mut();
        // Deleted by somebody: what is written goes nowhere.
        if let Some(content) = files.get_mut(&file.name) {
            content.append(&mut file.waiting);
        }
        Ok(())
    }

    fn finish(&self, mut file: File) -> Result<(), Trouble> {
        self.asked("finish")?;
        self.commit(&mut file)
    }

    fn remove(&self, name: &str) {
        self.0.files.borrow_mut().remove(name);
    }

    fn tell(&self, told: Told<'_>) {
        let line = match told {
            Told::Part { .. } => return,
            Told::Started { file, .. } => format!("started {file}"),
            Told::Done { file, duration, .. } => format!("done {file} {}", duration / 100_000),
            Told::Suspended(trouble) => format!("suspended {trouble:?}"),
            Told::Resumed => "resumed".to_owned(),
            Told::Warning(text) => format!("warning {text}"),
        };
        self.0.told.borrow_mut().push(line);
    }
}

fn recorder(house: &House, segment: i64) -> Recorder<House> {
    let settings = Settings {
        template: Template::parse("%path/%Y-%m-%d_%H-%M-%S-%f").unwrap(),
        format: Format::Fmp4,
        part: 200_000,
        part_bytes: 1 << 20,
        segment,
    };
    let mut recorder = Recorder::new(house.clone(), settings, "cam");
    let track = |id, kind, codec, clock_rate| Track {
        id: TrackId(id),
        kind,
        codec,
        clock_rate,
        extra: Vec::new(),
        derived: None,
    };
    let ids = recorder.open(&[
        track(1, Kind::Video, Codec::Vp9, 90_000),
        track(2, Kind::Audio, Codec::Opus { channels: 2 }, 48_000),
        track(3, Kind::Video, Codec::Vp8, 90_000),
    ]);
    assert_eq!(ids, [TrackId(1), TrackId(2)]);
    recorder
}

/// Ten pictures a second for so many, one in ten a keyframe.
fn feed(house: &House, recorder: &mut Recorder<House>, seconds: u64) {
    for _ in 0..seconds * 10 {
        let time = house.0.monotonic.get();
        let key = time.is_multiple_of(SECOND);
        // The header of a keyframe of 64×64 pixels, and of another.
        let payload: &[u8] = if key {
            &[0x82, 0x49, 0x83, 0x42, 0x00, 0x03, 0xf0, 0x03, 0xf0, 0x00, 0x00]
        } else {
            &[0x86, 0x00, 0x40, 0x92]
        };
        recorder.batch();
        recorder.push(Frame {
            track: TrackId(1),
            pts: (time * 90 / 1_000) as i64,
            dts: (time * 90 / 1_000) as i64,
            duration: 0,
            wall: house.wall(),
            flags: Flags::NONE.set(Flags::KEY, key),
            payload: Bytes::from_static(payload).into(),
        });
        house.0.monotonic.set(time + SECOND / 10);
    }
}

#[test]
fn names_are_in_local_time_and_files_end_with_keyframes() {
    let house = House::default();
    let mut recorder = recorder(&house, 2_500_000);
    feed(&house, &mut recorder, 5);
    recorder.close();
    let lines = [
        "started cam/2026-01-01_01-00-00-000000.mp4",
        "done cam/2026-01-01_01-00-00-000000.mp4 30",
        "started cam/2026-01-01_01-00-03-000000.mp4",
        "done cam/2026-01-01_01-00-03-000000.mp4 20",
    ];
    assert_eq!(house.told(), lines);
    assert_eq!(house.0.identities.get(), 1);
}

#[test]
fn a_step_of_the_wall_clock_begins_another_recording_and_a_small_one_does_not() {
    for (step, recordings) in [
        (900_000, 1),
        (3_600_000_000, 2),
        (-3_600_000_000, 2),
        (-2 * 86_400_000_000, 2),
    ] {
        let house = House::default();
        let mut recorder = recorder(&house, 3_600_000_000);
        feed(&house, &mut recorder, 3);
        house.0.set.set(step);
        feed(&house, &mut recorder, 3);
        recorder.close();
        assert_eq!(house.0.identities.get(), recordings, "{step}");
        assert_eq!(house.0.files.borrow().len(), usize::from(recordings), "{step}");
    }
}

#[test]
fn a_file_that_fails_ends_with_what_was_committed_and_the_next_begins_when_it_can() {
    for trouble in [Trouble::Io, Trouble::Full, Trouble::Quota, Trouble::NotGranted] {
        let house = House::default();
        let mut recorder = recorder(&house, 3_600_000_000);
        feed(&house, &mut recorder, 2);
        house.refuse("commit", trouble);
        feed(&house, &mut recorder, 6);
        let before = house.0.files.borrow().values().next().unwrap().len();
        assert_eq!(
            house.told(),
            [
                "started cam/2026-01-01_01-00-00-000000.mp4".to_owned(),
                "done cam/2026-01-01_01-00-00-000000.mp4 18".to_owned(),
                format!("suspended {trouble:?}"),
            ]
        );
        assert_eq!(house.0.files.borrow().len(), 1, "what was tried left nothing behind");
        house.allow();
        feed(&house, &mut recorder, 2);
        recorder.close();
        let told = house.told();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("started cam/2026-01-01_01-00-0"), "{told:?}");
        assert_eq!(told[1], "resumed");
        let files = house.0.files.borrow();
        assert_eq!(files.len(), 2);
        assert_eq!(
            files.values().next().unwrap().len(),
            before,
            "nothing is added to it any more"
        );
    }
}

#[test]
fn resuming_takes_no_new_keyframe() {
    let house = House::default();
    let mut recorder = recorder(&house, 3_600_000_000);
    house.refuse("create", Trouble::Full);
    feed(&house, &mut recorder, 3);
    house.0.monotonic.set(house.0.monotonic.get() + SECOND / 2);
    recorder.tick();
    house.allow();
    house.0.monotonic.set(house.0.monotonic.get() + SECOND);
    recorder.tick();
    let told = house.told();
    assert_eq!(told[0], "suspended Full");
    assert_eq!(told[2], "resumed", "{told:?}");
}

#[test]
fn a_disk_that_is_asked_once_a_second_is_asked_no_more_often() {
    let house = House::default();
    let mut recorder = recorder(&house, 3_600_000_000);
    house.refuse("append", Trouble::Io);
    feed(&house, &mut recorder, 100);
    let asked = house.0.created.get();
    assert!((50..=101).contains(&asked), "{asked}");
    assert_eq!(house.told(), ["suspended Io"]);
    assert!(house.0.files.borrow().is_empty());
}

#[test]
fn a_file_that_is_deleted_is_written_to_its_end_and_the_next_one_is_there() {
    let house = House::default();
    let mut recorder = recorder(&house, 2_000_000);
    feed(&house, &mut recorder, 1);
    house.0.files.borrow_mut().clear();
    feed(&house, &mut recorder, 3);
    recorder.close();
    assert_eq!(house.0.files.borrow().len(), 1);
    assert_eq!(house.told().len(), 4);
}

#[test]
fn what_no_file_can_be_made_of_is_said_once() {
    let house = House::default();
    let mut recorder = recorder(&house, 3_600_000_000);
    for second in 0..5 {
        for n in 0..10u64 {
            let time = second * SECOND + n * SECOND / 10;
            house.0.monotonic.set(time);
            recorder.batch();
            recorder.push(Frame {
                track: TrackId(1),
                pts: (time * 90 / 1_000) as i64,
                dts: (time * 90 / 1_000) as i64,
                duration: 0,
                wall: house.wall(),
                flags: Flags::NONE.set(Flags::KEY, n == 0),
                payload: Bytes::from_static(b"nothing").into(),
            });
        }
    }
    recorder.close();
    let told = house.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("warning no file can be made of this stream"));
    assert!(house.0.files.borrow().is_empty());
}
