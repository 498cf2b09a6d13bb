//! Paths whose stream a resolver finds: who is asked, how often, and what becomes of the answer.

use futures_util::future::BoxFuture;
use tokio::{sync::oneshot, task::JoinHandle};

use super::*;

/// A resolver that waits for the test to answer.
#[derive(Default)]
struct Asked(Mutex<Vec<(PathName, oneshot::Sender<Answer>)>>);

impl Resolver for Asked {
    fn resolve(&self, path: &PathName, _client: &Arc<Client>) -> BoxFuture<'static, Answer> {
        let (sender, answer) = oneshot::channel();
        self.0.lock().push((path.clone(), sender));
        Box::pin(async { answer.await.unwrap_or(Answer::Nothing) })
    }
}

impl Asked {
    async fn answer(&self, answer: Answer) {
        let sender = loop {
            if let Some((_, sender)) = self.0.lock().pop() {
                break sender;
            }
            tokio::task::yield_now().await;
        };
        sender.send(answer).unwrap();
    }

    fn is_idle(&self) -> bool {
        self.0.lock().is_empty()
    }
}

fn found(url: &str) -> Arc<Found> {
    Arc::new(Found {
        url: url.to_owned(),
        hosts: Arc::from([]),
    })
}

fn resolving(key: &str) -> (House, Arc<Asked>) {
    let asked = Arc::new(Asked::default());
    let resolver: Option<Arc<dyn Resolver>> = Some(asked.clone());
    (House::new(&[(key, PathConfig { resolver, ..open() })]), asked)
}

impl House {
    /// Somebody who wants to read.
    fn reading(&self, path: &str) -> JoinHandle<Result<Reader, ReadError>> {
        let (hub, now, name) = (self.hub.clone(), self.now, name(path));
        tokio::spawn(async move { hub.read(now, &name, peer(), client()).await })
    }

    /// What the keeper does when a stream was found.
    async fn fetch(&self, path: &str, expected: &Arc<Found>) -> Publisher {
        let kept = self.hub.path(&name(path)).unwrap();
        let mut status = kept.watch();
        let status = status.wait_for(|status| status.found.is_some()).await.unwrap().clone();
        assert_eq!(status.found.as_ref(), Some(expected));
        self.fetched(path, &expected.url).unwrap()
    }

    fn fetched(&self, path: &str, url: &str) -> Result<Publisher, PublishError> {
        let (name, source) = (name(path), Some(url.to_owned()));
        self.hub
            .publish(self.now, WallClock(1), &name, peer(), None, source, tracks(Codec::Vp8))
    }
}

#[tokio::test]
async fn what_was_found_is_fetched_while_somebody_reads() {
    let (mut house, asked) = resolving("all_others");
    let reading = house.reading("cam1");
    let there = found("rtsp://there/x");
    asked.answer(Answer::Source(there.clone())).await;
    let publisher = house.fetch("cam1", &there).await;
    let reader = reading.await.unwrap().unwrap();
    assert!(
        house.read("cam1").await.is_ok() && asked.is_idle(),
        "one who comes later asks nobody"
    );
    drop(reader);
    let path = house.hub.path(&name("cam1")).unwrap();
    publisher.close(house.now, CloseReason::Ended);
    path.forget_found(&there, None);
    assert!(path.watch().borrow().closed, "nobody needs it any more");
    house.now += Duration::from_secs(1);
    let reading = house.reading("cam1");
    asked.answer(Answer::Nothing).await;
    assert!(reading.await.unwrap().is_err());
}

#[tokio::test]
async fn those_who_ask_at_once_share_one_question() {
    let (house, asked) = resolving("cam1");
    let readings: Vec<_> = (0..10).map(|_| house.reading("cam1")).collect();
    let there = found("rtsp://there/x");
    asked.answer(Answer::Source(there.clone())).await;
    let _publisher = house.fetch("cam1", &there).await;
    for reading in readings {
        assert!(reading.await.unwrap().is_ok());
    }
    assert!(asked.is_idle());
}

#[tokio::test]
async fn a_question_goes_on_when_who_asked_it_leaves_and_ends_with_the_last() {
    let (house, asked) = resolving("cam1");
    let (first, second) = (house.reading("cam1"), house.reading("cam1"));
    while asked.is_idle() {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.is_err());
    second.abort();
    assert!(second.await.is_err());
    let (_, unheard) = asked.0.lock().pop().unwrap();
    assert!(unheard.is_closed(), "nobody waits for the answer");
    let third = house.reading("cam1");
    asked.answer(Answer::Redirect("elsewhere".into())).await;
    assert_eq!(
        third.await.unwrap().unwrap_err(),
        ReadError::Redirect("elsewhere".into())
    );
}

#[tokio::test]
async fn nothing_is_asked_again_for_five_seconds() {
    let (mut house, asked) = resolving("all_others");
    let reading = house.reading("cam1");
    asked.answer(Answer::Nothing).await;
    assert_eq!(reading.await.unwrap().unwrap_err(), ReadError::NotPublished);
    assert!(
        house.hub.path(&name("cam1")).is_none(),
        "the path is forgotten, the answer is not"
    );
    house.now += Duration::from_millis(4_999);
    assert_eq!(house.read("cam1").await.unwrap_err(), ReadError::NotPublished);
    assert!(asked.is_idle());
    house.now += Duration::from_millis(1);
    let reading = house.reading("cam1");
    asked.answer(Answer::Nothing).await;
    assert!(reading.await.unwrap().is_err());
}

#[tokio::test]
async fn a_stream_that_does_not_come_is_not_looked_for_until_later() {
    let (house, asked) = resolving("cam1");
    let reading = house.reading("cam1");
    let there = found("rtsp://there/x");
    asked.answer(Answer::Source(there.clone())).await;
    let path = house.hub.path(&name("cam1")).unwrap();
    path.watch().wait_for(PathStatus::wanted).await.unwrap();
    path.forget_found(&there, Some(house.now + Duration::from_secs(5)));
    path.refuse_waiting();
    assert_eq!(reading.await.unwrap().unwrap_err(), ReadError::NotPublished);
    assert!(house.read("cam1").await.is_err() && asked.is_idle());
}

#[tokio::test]
async fn a_client_that_publishes_takes_the_place_of_what_was_found() {
    let (house, asked) = resolving("cam1");
    let reading = house.reading("cam1");
    let there = found("rtsp://there/x");
    asked.answer(Answer::Source(there.clone())).await;
    let fetched = house.fetch("cam1", &there).await;
    let _publisher = house.publish("cam1").unwrap();
    assert!(reading.await.unwrap().is_ok());
    let path = house.hub.path(&name("cam1")).unwrap();
    assert_eq!(path.watch().borrow().found, None);
    drop(fetched);
    assert_eq!(
        house.fetched("cam1", "rtsp://there/x").unwrap_err(),
        PublishError::NotForSources
    );
}

#[tokio::test]
async fn a_source_that_was_not_found_publishes_nothing() {
    let (house, _asked) = resolving("cam1");
    assert_eq!(
        house.fetched("cam1", "rtsp://there/x").unwrap_err(),
        PublishError::NotForSources
    );
}

#[tokio::test]
async fn nobody_is_asked_where_something_else_brings_the_path_online() {
    let asked = Arc::new(Asked::default());
    let resolver: Option<Arc<dyn Resolver>> = Some(asked.clone());
    let role = Role::Source;
    let house = House::new(&[
        (
            "fetched",
            PathConfig {
                resolver: resolver.clone(),
                role,
                ..open()
            },
        ),
        (
            "started",
            PathConfig {
                resolver,
                on_demand: true,
                ..open()
            },
        ),
    ]);
    assert_eq!(house.read("fetched").await.unwrap_err(), ReadError::NotPublished);
    let reading = house.reading("started");
    let path = house.hub.path(&name("started")).unwrap();
    path.watch().wait_for(PathStatus::wanted).await.unwrap();
    path.refuse_waiting();
    assert!(reading.await.unwrap().is_err());
    assert!(asked.is_idle());
}

#[test]
fn what_is_remembered_as_not_found_is_bounded() {
    let all = hub::Unresolved::default();
    let now = Instant::now();
    for n in 0..20_000u64 {
        all.note(&name(&format!("p{n}")), now + Duration::from_millis(n));
        assert!(all.len() <= 4_096);
    }
    assert!(all.holds(now, &name("p19999")) && !all.holds(now, &name("p1")));
}
