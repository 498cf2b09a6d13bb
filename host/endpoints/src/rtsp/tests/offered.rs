//! Tracks that the server makes for readers of other protocols.

use super::*;

#[tokio::test]
async fn who_gets_everything_that_is_sent_sees_nothing_that_is_made_of_it() {
    let house = House::new();
    let mut publisher = house.publish("long");
    let sent = publisher.publication().tracks()[0].clone();
    let made = Track {
        id: TrackId(1),
        codec: Codec::Vp9,
        derived: Some(sent.id),
        ..sent.clone()
    };
    publisher.set_tracks(Instant::now(), Arc::from([sent, made])).unwrap();
    let requests = [
        ("DESCRIBE", "long", ""),
        ("SETUP", "long/trackID=1", INTERLEAVED),
        ("SETUP", "long/trackID=0", INTERLEAVED),
        ("PLAY", "long", ""),
    ];
    let mut client = house.ask(&requests).await;
    let mut heard = Vec::new();
    hear(&mut client, &mut heard, "RTP-Info", 1).await;
    assert_eq!(count(&heard, b"m="), 1, "{}", String::from_utf8_lossy(&heard));
    assert_eq!(count(&heard, b"RTSP/1.0 404"), 1, "{}", String::from_utf8_lossy(&heard));
    let mut push = |track, payload| {
        let track = TrackId(track);
        let frame = Frame {
            track,
            ..frame(payload)
        };
        publisher.push(Instant::now(), WallClock(1), frame).unwrap();
    };
    push(1, b"made");
    push(0, b"sent");
    hear(&mut client, &mut heard, "sent", 1).await;
    assert_eq!(count(&heard, b"made"), 0);
}
