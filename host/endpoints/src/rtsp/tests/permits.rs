//! What the gate's permits do to sessions, and what is told of them.

use parking_lot::Mutex;
use wasmtx_hub::{Denial, Event, Feed};

use super::*;

type Answer = Box<dyn FnMut(&Access) -> Decision + Send>;

/// A gate that answers as the test says.
struct Scripted(Mutex<Answer>);

impl Gate for Scripted {
    fn check<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Decision> {
        Box::pin(std::future::ready((self.0.lock())(access)))
    }
}

fn house(answer: impl FnMut(&Access) -> Decision + Send + 'static) -> House {
    House::behind(Arc::new(Scripted(Mutex::new(Box::new(answer)))))
}

fn as_ada() -> Permit {
    Permit {
        identity: Some("ada".to_owned()),
        tags: vec![("room".to_owned(), "kitchen".to_owned())],
        ..Permit::default()
    }
}

const PLAY: [(&str, &str, &str); 2] = [("SETUP", "cam1/trackID=0", INTERLEAVED), ("PLAY", "cam1", "")];

/// The next events, in a few words each.
async fn told(feed: &mut Feed, count: usize) -> Vec<String> {
    let mut words = Vec::new();
    while words.len() < count {
        words.push(match feed.next().await.event {
            Event::Connected(client) => format!("connected {:?} {:?}", client.identity, client.tags),
            Event::Disconnected(client, reason) => format!("disconnected {:?} {reason:?}", client.identity),
            Event::Refused { path, .. } => format!("refused {path:?}"),
            Event::Reading(path, client) => format!("reading {path} {:?}", client.identity),
            Event::ReadEnded(path, _, reason) => format!("read-ended {path} {reason:?}"),
            Event::Online(_) | Event::Offline(..) => continue,
            other => format!("{other:?}"),
        });
    }
    words
}

#[tokio::test]
async fn who_comes_and_goes_is_told_with_what_the_gate_said() {
    let house = house(|_| Decision::Allow(as_ada()));
    let mut feed = house.hub.events().listen(|| WallClock(1)).unwrap();
    let _stream = house.publish("cam1");
    let mut client = house.ask(&PLAY).await;
    hear(&mut client, &mut Vec::new(), "RTP-Info", 1).await;
    let came = told(&mut feed, 2).await;
    assert_eq!(
        came,
        [
            r#"connected Some("ada") [("room", "kitchen")]"#,
            r#"reading cam1 Some("ada")"#
        ]
    );
    drop(client);
    let mut went = told(&mut feed, 2).await;
    // They concern different things, and may come in any order.
    went.sort();
    assert_eq!(went, [r#"disconnected Some("ada") Ended"#, "read-ended cam1 Ended"]);
}

#[tokio::test]
async fn who_is_not_let_in_is_told() {
    let house = house(|_| Decision::Deny(Denial::NotAllowed));
    let mut feed = house.hub.events().listen(|| WallClock(1)).unwrap();
    let mut client = house.ask(&[("DESCRIBE", "cam1", "")]).await;
    hear(&mut client, &mut Vec::new(), "403", 1).await;
    assert_eq!(told(&mut feed, 1).await, [r#"refused Some("cam1")"#]);
}

#[tokio::test]
async fn a_second_session_of_a_connection_is_a_client_of_its_own() {
    let house = house(|_| Decision::Allow(as_ada()));
    let mut feed = house.hub.events().listen(|| WallClock(1)).unwrap();
    let _stream = house.publish("long");
    let requests = [("SETUP", "long/trackID=0", INTERLEAVED), ("PLAY", "long", "")];
    let mut client = house.ask(&requests).await;
    let mut heard = Vec::new();
    hear(&mut client, &mut heard, "RTP-Info", 1).await;
    let first = house.sessions.sessions(false)[0].id;
    request(&mut client, 2, "TEARDOWN", &session_of(&heard)).await;
    hear(&mut client, &mut heard, "CSeq: 2", 1).await;
    let setup = format!("SETUP rtsp://host/long/trackID=0 RTSP/1.0\r\nCSeq: 3\r\n{INTERLEAVED}\r\n");
    client.write_all(setup.as_bytes()).await.unwrap();
    hear(&mut client, &mut heard, "CSeq: 3", 1).await;
    assert_ne!(house.sessions.sessions(false)[0].id, first);
    let words = told(&mut feed, 5).await;
    let connected = words.iter().filter(|words| words.starts_with("connected")).count();
    assert_eq!(connected, 2, "{words:?}");
}
