//! Publishers and players.

use wasmtx_protocol::rtmp::chunk::{CHUNK_SIZE, MEDIA_STREAM, Writer};

use super::*;

#[tokio::test]
async fn what_one_publishes_another_plays_and_is_told_the_end() {
    let house = House::new();
    let mut publisher = house.publish("live/cam1").await;
    let mut player = house.play("live/cam1").await;
    publisher.send(Kind::Audio, 23, sound(b"second")).await;
    let heard = [player.media().await, player.media().await, player.media().await];
    assert_eq!(heard[0].payload, CONFIGURATION);
    assert_eq!(heard[1].payload, sound(b"first"));
    assert_eq!(heard[2].payload, sound(b"second"));
    assert_eq!(heard[2].timestamp - heard[1].timestamp, 23);

    let conns = house.conns.conns(false);
    let states: Vec<State> = conns.iter().map(|conn| conn.details.lock().state).collect();
    assert_eq!(states, [State::Publish, State::Read]);
    assert!(conns.iter().all(|conn| conn.details.lock().path == "live/cam1"));
    assert!(conns[0].inbound_bytes.load() > 0 && conns[1].outbound_bytes.load() > 0);

    publisher.machine.close();
    publisher.flush().await;
    let Some(Reason::Ended(words)) = player.end().await else {
        panic!("it was told")
    };
    assert!(words.contains("stream"), "{words}");
    eventually(|| house.conns.conns(false).is_empty()).await;
}

#[tokio::test]
async fn a_stream_that_comes_byte_by_byte_is_one_all_the_same() {
    let house = House::new();
    let mut publisher = house.client(Goal::Publish, "cam1").await;
    publisher.trickles = true;
    publisher.begin_publishing().await;
    let name = PathName::new("cam1").unwrap();
    eventually(|| house.hub.path(&name).is_some_and(|path| path.publication().is_some())).await;
    let mut player = house.play("cam1").await;
    assert_eq!(player.media().await.payload, CONFIGURATION);
    assert_eq!(player.media().await.payload, sound(b"first"));
}

#[tokio::test]
async fn nobody_publishes_where_somebody_does_unless_the_path_says_so() {
    let mut path = PathConfig::default();
    path.override_publisher = true;
    let house = House::with(config(), path);
    let mut first = house.publish("cam1").await;
    let mut second = house.client(Goal::Publish, "cam1").await;
    second.begin_publishing().await;
    assert_eq!(first.end().await, None, "it was replaced");
    second.send(Kind::Audio, 23, sound(b"second")).await;

    let house = House::new();
    let _first = house.publish("cam1").await;
    let mut second = house.client(Goal::Publish, "cam1").await;
    let Some(Reason::Refused(words)) = second.end().await else {
        panic!("it was refused")
    };
    assert!(words.contains("already publishing"), "{words}");
}

#[tokio::test]
async fn a_player_that_can_play_nothing_of_a_stream_is_refused() {
    let house = House::new();
    let track = Track {
        id: TrackId(0),
        kind: Media::Video,
        codec: Codec::Vp8,
        clock_rate: 90_000,
        extra: Vec::new(),
        derived: None,
    };
    let peer = Peer {
        kind: "test",
        id: Uuid::from_u128(1),
    };
    let name = PathName::new("cam1").unwrap();
    let _publisher = house
        .hub
        .publish(
            Instant::now(),
            WallClock(1),
            &name,
            peer,
            None,
            None,
            Arc::from([track]),
        )
        .unwrap();
    let mut legacy = house.client(Goal::Play, "cam1").await;
    let Some(Reason::Refused(words)) = legacy.end().await else {
        panic!("it was refused")
    };
    assert!(words.contains("no track"), "{words}");

    let mut modern = Guest::new(house.socket().await, Goal::Play, "cam1", Capabilities::ours());
    modern.expect_playing().await;
}

#[tokio::test]
async fn there_is_nothing_to_play_where_nobody_publishes() {
    let house = House::new();
    for resource in ["nobody/there", "//", "a/../b"] {
        let mut player = house.client(Goal::Play, resource).await;
        assert!(matches!(player.end().await, Some(Reason::Refused(_))), "{resource}");
    }
}

#[tokio::test]
async fn a_player_that_takes_nothing_is_sent_away_and_nobody_else_notices() {
    let house = House::with(
        Config {
            write_timeout: Duration::from_millis(200),
            ..config()
        },
        PathConfig::default(),
    );
    let mut publisher = house.publish("cam1").await;
    let _deaf = house.play("cam1").await;
    let mut other = house.play("cam1").await;
    let payload = sound(&[7; 60_000]);
    let name = PathName::new("cam1").unwrap();
    let readers = || house.hub.path(&name).map_or(0, |path| path.readers().len());
    assert_eq!(readers(), 2);
    let mut timestamp = 0;
    let send_away = async {
        while readers() == 2 {
            timestamp += 1;
            publisher.send(Kind::Audio, timestamp, payload.clone()).await;
            while other.media().await.payload != payload {}
        }
    };
    tokio::time::timeout(PATIENCE, send_away).await.unwrap();
    publisher.send(Kind::Audio, timestamp + 1, sound(b"last")).await;
    while other.media().await.payload != sound(b"last") {}
}

#[tokio::test]
async fn a_player_that_pauses_begins_anew_when_it_goes_on() {
    let house = House::new();
    let mut publisher = house.publish("cam1").await;
    let mut player = house.play("cam1").await;
    assert_eq!(player.media().await.payload, CONFIGURATION);
    let name = PathName::new("cam1").unwrap();
    let readers = || house.hub.path(&name).map_or(0, |path| path.readers().len());
    for (pause, expected) in [(true, 0), (false, 1)] {
        let values = [
            "pause".into(),
            0.0.into(),
            Value::Null,
            Value::Boolean(pause),
            0.0.into(),
        ];
        let chunks = Writer::new(CHUNK_SIZE).write(Kind::Command, 0, MEDIA_STREAM, amf0::write(&values).into());
        player.write(&chunks.unwrap()).await;
        eventually(|| readers() == expected).await;
    }
    publisher.send(Kind::Audio, 23, sound(b"second")).await;
    while player.media().await.payload != sound(b"second") {}
}
