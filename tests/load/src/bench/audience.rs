//! Large audiences of a small stream: what RTMP and HTTP-FLV players take of a processor and of memory.
//!
//! The stream has 343 kb/s, 30 pictures and 47 frames of sound a second. How it is sent matters more than what serves it:
//! each frame at its time is a write for each frame and player, and bursts or a merge window make one write of many. So
//! each pacing has a row, and a null relay that writes as rarely as the server may.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};

use super::{Bench, MERGE_WINDOW, TURNS, Turns};
use crate::{
    child::{Running, Scratch},
    clip::{Clip, Shape},
    pace::Pace,
    relay::Unit,
    report::{bytes, milliseconds},
    run,
    session::{Protocol, Target},
};

/// With [`SOUND`] 343 kb/s.
const SHAPE: Shape = Shape {
    bitrate: 279_000,
    fps: 30.0,
    gop: 60,
};
const SOUND: u64 = 64_000;
/// How many play.
const PLAYERS: u32 = 1_000;
/// An application and a key, which RTMP servers want to have both.
const PATH: &str = "live/load";

/// A pacing and what is wanted of it.
struct Case {
    name: &'static str,
    pace: Pace,
    /// Whether the server has a merge window.
    merging: bool,
    /// What the null relay writes at a time.
    unit: Unit,
    hold: &'static str,
    aim: &'static str,
}

const CASES: [Case; 3] = [
    Case {
        name: "bursty",
        pace: Pace::Bursty,
        merging: false,
        unit: Unit::Merged(Duration::ZERO),
        hold: "8 %, ratio 1.5",
        aim: "5 %, ratio 1.3",
    },
    Case {
        name: "paced, writeMergeWindow: 40ms",
        pace: Pace::Steady,
        merging: true,
        unit: Unit::Merged(Duration::from_millis(40)),
        hold: "15 %, ratio 1.5",
        aim: "12 %, ratio 1.3",
    },
    Case {
        name: "paced",
        pace: Pace::Steady,
        merging: false,
        unit: Unit::Frame,
        hold: "ratio 1.5",
        aim: "ratio 1.3",
    },
];

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Server,
    Relay,
    Nginx,
}

/// Measures every protocol and pacing.
pub(super) fn measure(bench: &mut Bench<'_>, scratch: &Scratch) -> Result<()> {
    let clip = Arc::new(Clip::synthetic(SHAPE)?.with_sound(SOUND)?);
    let nginx = Running::nginx(scratch).is_ok();
    for protocol in [Protocol::Rtmp, Protocol::Flv] {
        let name = if protocol == Protocol::Rtmp { "RTMP" } else { "HTTP-FLV" };
        let mut memory = None;
        for case in &CASES {
            let mut subjects = vec![Subject::Server, Subject::Relay];
            if protocol == Protocol::Rtmp && nginx {
                subjects.push(Subject::Nginx);
            }
            let mut turns: Vec<Turns> = subjects.iter().map(|_| Turns(Vec::new())).collect();
            for _ in 0..TURNS {
                for (subject, turns) in subjects.iter().zip(&mut turns) {
                    let serving = Serving::start(bench, scratch, *subject, case, protocol)?;
                    let report = run::run(serving.options(bench, case), clip.clone());
                    turns
                        .0
                        .push(report.with_context(|| format!("{subject:?}, {name}, {}", case.name))?);
                }
            }
            let [server, relay, others @ ..] = &turns[..] else {
                continue;
            };
            let ratio = server.cost() / relay.cost();
            let mut reference = format!("{} (null relay), ratio {ratio:.2}{}", percent(relay), relay.flaws());
            match others {
                [other] => reference += &format!("; {} (nginx){}", percent(other), other.flaws()),
                _ if protocol == Protocol::Rtmp => reference += "; no nginx here: scripts/setup bench",
                _ => {}
            }
            let measured = format!("{}{}", percent(server), server.flaws());
            let figure = format!("{name} to {PLAYERS} players, {}, share of a core", case.name);
            bench.row(figure, measured, reference, case.hold, case.aim);
            let last = server.last();
            memory = Some((last.memory_per_reader(), last.first_frame.quantile(0.99)));
        }
        let Some((memory, first)) = memory else { continue };
        let figure = format!("memory per {name} player, of {PLAYERS}");
        bench.row(figure, memory.map_or("–".into(), bytes), "–".into(), "12 KiB", "8 KiB");
        let figure = format!("{name} to {PLAYERS} players, connect to first picture, p99");
        bench.row(figure, milliseconds(first), "–".into(), "–", "–");
    }
    Ok(())
}

/// The share of a core, over all turns.
fn percent(turns: &Turns) -> String {
    let share: f64 = turns
        .0
        .iter()
        .filter_map(|report| Some(report.share(report.server?.cpu)))
        .sum();
    format!("{:.1} %", 100.0 * share / turns.0.len() as f64)
}

/// A program that serves, where it is read and where it is published to.
struct Serving {
    running: Running,
    target: Target,
    source: Target,
}

impl Serving {
    fn start(
        bench: &Bench<'_>,
        scratch: &Scratch,
        subject: Subject,
        case: &Case,
        protocol: Protocol,
    ) -> Result<Serving> {
        let (running, protocol) = match subject {
            Subject::Server => {
                let window = if case.merging { MERGE_WINDOW } else { "0s" };
                let config = scratch.write("audience.yml", &config(scratch, window))?;
                let keys = ["rtmpAddress", "flvAddress"];
                (Running::server(&bench.options.server, &config, &keys)?, protocol)
            }
            Subject::Relay => (Running::relay(case.unit)?, Protocol::Bare),
            Subject::Nginx => (Running::nginx(scratch)?, protocol),
        };
        let target = |protocol, address| Target {
            address,
            protocol,
            query: String::new(),
            login: None,
        };
        let first = running.addresses[0];
        let (read, publish) = match protocol {
            Protocol::Flv => (running.addresses[1], Protocol::Rtmp),
            _ => (first, protocol),
        };
        Ok(Serving {
            target: target(protocol, read),
            source: target(publish, first),
            running,
        })
    }

    fn options(&self, bench: &Bench<'_>, case: &Case) -> run::Options {
        run::Options {
            path: PATH.to_owned(),
            source: Some(self.source.clone()),
            pace: case.pace,
            ..bench.run(self.target.clone(), self.running.pid(), PLAYERS)
        }
    }
}

fn config(scratch: &Scratch, window: &str) -> String {
    // Everything else is off: what is measured is RTMP and FLV.
    let others = ["rtsp", "hls", "webrtc", "srt"]
        .map(|key| format!("{key}: no\n"))
        .concat();
    format!(
        "rtmpAddress: 127.0.0.1:0\nflv: yes\nflvAddress: 127.0.0.1:0\n{others}stateDirectory: {}\npaths:\n  {PATH}:\n    writeMergeWindow: {window}\n",
        scratch.path().join("state").display()
    )
}
