use std::panic::catch_unwind;

use super::*;
use crate::bindings::auth::exports::wasmtx::plugin::auth::Guest as AuthGuest;
use crate::bindings::events::exports::wasmtx::plugin::events::Guest as EventsGuest;
use crate::bindings::filter::exports::wasmtx::plugin::filter::Guest as FilterGuest;
use crate::bindings::imports::wasmtx::plugin::frame;
use crate::bindings::lifecycle::exports::wasmtx::plugin::lifecycle::Guest as LifecycleGuest;
use crate::bindings::resolver::exports::wasmtx::plugin::resolver::Guest as ResolverGuest;
use crate::bindings::sink::exports::wasmtx::plugin::sink::{Guest as SinkGuest, Item as RawItem};
use crate::bindings::transcoder::exports::wasmtx::plugin::transcoder::Guest as TranscoderGuest;
use crate::host::server;
use crate::testing::{client, h264, key, publication, request, take_log};
use crate::transcoder::Target;
use crate::{Action, info};

/// Has every role. Logs what it is called for, unless it is to panic.
struct Every {
    panics: bool,
    calls: u32,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    panics: bool,
    tick: Option<u64>,
}

impl Every {
    fn called(&mut self, what: &str) {
        self.calls += 1;
        if self.panics {
            panic!("{what} is too much");
        }
        info!("{what}");
    }
}

impl Plugin for Every {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        match config.tick {
            Some(0) => Err(Error::invalid("/tick", "must be at least 1")),
            _ => Ok(Every {
                panics: config.panics,
                calls: 0,
            }),
        }
    }

    fn tick_every(&self) -> Option<Duration> {
        Some(Duration::MAX)
    }

    fn tick(&mut self, now: Duration) {
        self.called(&format!("tick at {now:?}"));
    }

    fn save(&self) -> Option<Snapshot> {
        let data = self.calls.to_be_bytes().to_vec();
        Some(Snapshot { schema: 1, data })
    }

    fn restore(&mut self, old: Snapshot) -> Result<(), Error> {
        self.called(&format!("restore {:?}", old.data));
        Ok(())
    }
}

impl Auth for Every {
    fn check(&mut self, request: Request) -> Decision {
        self.called(&format!("check {}", request.path));
        Decision::Abstain
    }
}

impl Filter for Every {
    fn frame(&mut self, frame: &Frame) -> Verdict {
        self.called(&format!("frame {}", frame.number));
        Verdict::Drop
    }
}

impl Sink for Every {
    fn frames(&mut self, batch: Vec<Item>) -> Result<(), Error> {
        let payloads: Vec<_> = batch.iter().map(Item::payload).collect();
        self.called(&format!("frames {payloads:?}"));
        Ok(())
    }

    fn infos(&mut self, batch: Vec<FrameInfo>) -> Result<(), Error> {
        self.called(&format!("infos of {}", batch.len()));
        Err(Error::NotReady)
    }
}

impl Transcoder for Every {
    fn decide(&mut self, publication: Publication) -> Result<Vec<(u32, Plan)>, Error> {
        self.called(&format!("decide {}", publication.path));
        Ok(vec![(1, Plan::Add(Target::codec("AV1")))])
    }
}

impl Events for Every {
    fn on_event(&mut self, at: Stamp, event: Event) {
        self.called(&format!("event {} {}", at.number, event.kind()));
    }
}

impl Resolver for Every {
    fn resolve(&mut self, path: String, _: Client) -> Answer {
        self.called(&format!("resolve {path}"));
        Answer::redirect("elsewhere")
    }
}

struct Component;

impl Exported for Component {
    type Plugin = Every;

    fn slot() -> &'static LocalKey<Slot<Every>> {
        thread_local! {
            static SLOT: Slot<Every> = const { Slot::new() };
        }
        &SLOT
    }
}

/// What a server would hand over for a frame with this payload.
#[allow(unsafe_code, reason = "the generated code makes handles like this")]
fn item(handle: u32, payload: &[u8]) -> RawItem {
    server(|server| server.handles.insert(handle, payload.into()));
    let info = FrameInfo {
        size: payload.len() as u32,
        ..key(1, 0)
    };
    RawItem {
        info,
        // SAFETY: natively a handle is a number and nothing else.
        data: unsafe { frame::Held::from_handle(handle) },
    }
}

fn cam() -> Publication {
    publication("cam", [h264(1)])
}

fn stamp() -> Stamp {
    Stamp {
        time: 0,
        number: 4,
        lost: 0,
    }
}

fn ended() -> Event {
    Event::Offline(("cam".into(), CloseReason::Ended))
}

/// One call of each role and of the life, in no special order; the names are what the plugin logs or panics with.
fn calls() -> Vec<(&'static str, fn())> {
    vec![
        ("tick at 2s", || Component::tick(2_000_000)),
        ("check cam", || {
            let _ = <Component as AuthGuest>::check(request(Action::Read, "cam"));
        }),
        ("frame 3", || {
            let _ = <Component as FilterGuest>::frame(key(1, 3));
        }),
        ("frames [[1, 2], [3]]", || {
            let _ = <Component as SinkGuest>::frames(vec![item(1, &[1, 2]), item(2, &[3])]);
        }),
        ("infos of 2", || {
            let _ = <Component as SinkGuest>::infos(vec![key(1, 0), key(1, 1)]);
        }),
        ("decide cam", || {
            let _ = <Component as TranscoderGuest>::decide(cam());
        }),
        ("event 4 offline", || {
            <Component as EventsGuest>::on_event(stamp(), ended())
        }),
        ("resolve cam", || {
            let _ = <Component as ResolverGuest>::resolve("cam".into(), client());
        }),
    ]
}

fn logged() -> Vec<String> {
    take_log().into_iter().map(|(_, line)| line).collect()
}

#[test]
fn every_role_reaches_the_plugin() {
    let wishes = Component::configure("{}".into()).unwrap();
    assert_eq!(wishes.tick, Some(u32::MAX), "a time that does not fit is cut");
    for (name, call) in calls() {
        call();
        assert_eq!(logged(), [name]);
    }
    let count = calls().len() as u8;
    assert_eq!(Component::save().unwrap().data, [0, 0, 0, count]);
}

#[test]
fn answers_reach_the_server() {
    Component::configure("null".into()).unwrap();
    let abstained = <Component as AuthGuest>::check(request(Action::Read, "cam"));
    assert_eq!(abstained, Decision::Abstain);
    assert_eq!(
        <Component as FilterGuest>::open(cam()).unwrap(),
        Opening::all(&cam().tracks)
    );
    assert_eq!(<Component as FilterGuest>::frame(key(1, 3)), Verdict::Drop);
    assert_eq!(
        <Component as SinkGuest>::open(cam()).unwrap(),
        Wants::all(&cam().tracks)
    );
    assert!(<Component as SinkGuest>::frames(Vec::new()).is_ok());
    assert!(matches!(
        <Component as SinkGuest>::infos(Vec::new()),
        Err(Error::NotReady)
    ));
    let plans = <Component as TranscoderGuest>::decide(cam()).unwrap();
    assert_eq!(plans, [(1, Plan::Add(Target::codec("AV1")))]);
    let answer = <Component as ResolverGuest>::resolve("cam".into(), client());
    assert_eq!(answer, Answer::redirect("elsewhere"));
}

#[test]
fn before_it_is_configured_a_plugin_decides_nothing_and_lets_nobody_in() {
    let decision = <Component as AuthGuest>::check(request(Action::Read, "cam"));
    assert_eq!(decision, Decision::Deny(Denial::Later));
    assert_eq!(<Component as FilterGuest>::frame(key(1, 3)), Verdict::Pass);
    assert_eq!(
        <Component as ResolverGuest>::resolve("cam".into(), client()),
        Answer::Nothing
    );
    assert!(matches!(<Component as FilterGuest>::open(cam()), Err(Error::NotReady)));
    assert!(matches!(<Component as SinkGuest>::open(cam()), Err(Error::NotReady)));
    assert!(matches!(
        <Component as SinkGuest>::frames(Vec::new()),
        Err(Error::NotReady)
    ));
    assert!(matches!(
        <Component as SinkGuest>::infos(Vec::new()),
        Err(Error::NotReady)
    ));
    assert!(matches!(
        <Component as TranscoderGuest>::decide(cam()),
        Err(Error::NotReady)
    ));
    <Component as EventsGuest>::on_event(stamp(), ended());
    <Component as FilterGuest>::close(CloseReason::Ended);
    <Component as SinkGuest>::close(CloseReason::Ended);
    assert!(Component::save().is_none());
    let old = Snapshot {
        schema: 1,
        data: Vec::new(),
    };
    assert!(matches!(Component::restore(old), Err(Error::NotReady)));
}

#[test]
fn a_configuration_that_is_refused_leaves_nothing_behind() {
    let refused = Component::configure(r#"{"tick":0}"#.into()).unwrap_err();
    assert!(matches!(refused, Error::Config(error) if error.pointer == "/tick"));
    assert!(Component::configure("[]".into()).is_err());
    assert!(Component::save().is_none());
}

#[test]
fn a_panic_of_any_role_says_in_the_log_where_and_why() {
    Component::configure(r#"{"panics":true}"#.into()).unwrap();
    for (name, call) in calls() {
        assert!(catch_unwind(call).is_err(), "{name}");
        let lines = take_log();
        let [(Level::Error, line)] = lines.as_slice() else {
            panic!("{name} logged {lines:?}");
        };
        assert!(line.starts_with("panicked at ") && line.contains("tests.rs:"), "{line}");
        assert!(line.ends_with(&format!("{name} is too much")), "{line}");
    }
    // Other tests of this process report theirs as usual.
    drop(std::panic::take_hook());
}
