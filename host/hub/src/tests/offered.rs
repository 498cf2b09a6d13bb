//! Tracks that a stage offers and makes while somebody wants them.

use super::*;

const SOUND: TrackId = TrackId(1);

/// Offers a second track, and makes a frame of it beside each picture while somebody wants it.
struct Offering;

impl Stage for Offering {
    fn open(&mut self, _: Instant, opening: &Opening) -> Result<Tracks, Refusal> {
        let offered = Track {
            id: SOUND,
            kind: Kind::Audio,
            codec: Codec::Opus { channels: 2 },
            clock_rate: 48_000,
            extra: Vec::new(),
            derived: Some(VIDEO),
        };
        Ok(opening.tracks.iter().cloned().chain([offered]).collect())
    }

    fn frame(&mut self, _: Instant, frame: Frame, output: &mut Output) -> Flow {
        if output.demand.has(SOUND) {
            output.frames.push(Frame {
                track: SOUND,
                ..frame.clone()
            });
        }
        output.frames.push(frame);
        Flow::Continue
    }

    fn close(&mut self, _: Instant, _: CloseReason, _: &mut Output) {}
}

impl Stages for Offering {
    fn stage(&self, _: &PathName) -> Result<Box<dyn Stage>, Refusal> {
        Ok(Box::new(Offering))
    }
}

fn offering() -> House {
    House::new(&[(
        "cam1",
        PathConfig {
            stages: Some(Arc::new(Offering)),
            ..open()
        },
    )])
}

/// What came: the track and the number of each frame.
fn taken(reader: &mut Reader) -> Vec<(TrackId, u64)> {
    let (mut out, mut lost) = (Vec::new(), 0);
    reader.drain(usize::MAX, usize::MAX, &mut out, &mut lost);
    out.iter()
        .map(|entry| (entry.frame.track, entry.frame.number))
        .collect()
}

#[tokio::test]
async fn an_offered_track_is_listed_at_once_and_made_while_a_reader_takes_it() {
    let house = offering();
    let mut publisher = house.publish("cam1").unwrap();
    let mut push = |pts| publisher.push(house.now, WallClock(1), frame(pts, true)).unwrap();
    let mut plain = house.read("cam1").await.unwrap();
    let mut eager = house.read("cam1").await.unwrap();
    assert_eq!(eager.publication().tracks().len(), 2);
    push(0);
    assert_eq!(taken(&mut eager), [(VIDEO, 0)], "nobody said that they take it");
    eager.take(&[VIDEO, SOUND]);
    push(1);
    assert_eq!(taken(&mut eager), [(SOUND, 0), (VIDEO, 1)], "it counts its own frames");
    eager.take(&[VIDEO]);
    push(2);
    assert_eq!(taken(&mut eager), [(VIDEO, 2)]);
    plain.take(&[SOUND]);
    drop(plain);
    push(3);
    assert_eq!(taken(&mut eager), [(VIDEO, 3)], "who leaves takes nothing any more");
}

#[tokio::test]
async fn what_a_reader_takes_outlives_a_change_of_publishers_and_not_a_change_of_tracks() {
    let house = offering();
    let mut first = house.publish("cam1").unwrap();
    let mut reader = house.read("cam1").await.unwrap();
    reader.take(&[VIDEO, SOUND]);
    first.push(house.now, WallClock(1), frame(0, true)).unwrap();
    let mut second = house.publish("cam1").unwrap();
    second.push(house.now, WallClock(1), frame(0, true)).unwrap();
    assert_eq!(
        taken(&mut reader),
        [(SOUND, 0), (VIDEO, 0), (SOUND, 1), (VIDEO, 1)],
        "the newcomer publishes into the same ring"
    );
    second.set_tracks(house.now, tracks(Codec::Vp9)).unwrap();
    second.push(house.now, WallClock(1), frame(1, true)).unwrap();
    let mut next = house.read("cam1").await.unwrap();
    assert_eq!(
        taken(&mut next),
        [(VIDEO, 0)],
        "the reader of the old tracks takes none of the new"
    );
    next.take(&[SOUND]);
    second.push(house.now, WallClock(1), frame(2, true)).unwrap();
    assert_eq!(taken(&mut next), [(SOUND, 0), (VIDEO, 1)]);
}

#[tokio::test]
async fn a_publication_without_a_reader_can_be_wanted_too() {
    let house = offering();
    let publisher = house.publish("cam1").unwrap();
    let publication = publisher.publication();
    let wanted = publication.want(&[SOUND]);
    assert!(publication.demand().has(SOUND) && !publication.demand().has(VIDEO));
    drop(wanted);
    assert!(!publication.demand().has(SOUND));
}
