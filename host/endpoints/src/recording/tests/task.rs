//! The task that looks after recordings, with the machine's own clocks.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    super::{Archive, MachineClock, Parts, Rules},
    place::{FMP4, Home, NOON, name},
};
use crate::storage::Directories;

/// A slow machine gets there, too.
const PATIENCE: Duration = Duration::from_secs(30);

async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_task_recovers_notes_what_is_open_and_stops() {
    let home = Home::new();
    let torn = home.start().record("torn", NOON, &FMP4[..FMP4.len() - 200]).file();
    let before = fs::metadata(home.rec(&torn)).unwrap().len();
    let archive = Archive::new(Parts {
        directories: Arc::new(Directories::new(home.folder.join("state"))),
        state: home.folder.join("state"),
        clock: Arc::new(MachineClock),
        events: wasmtx_hub::Events::default(),
    });
    let rule = Arc::new(home.rule.clone());
    archive.configure(Rules::new([rule.clone()], move |_| Some(rule.clone())));
    let keeping = archive.spawn();
    eventually("the torn file is cut back", || {
        fs::metadata(home.rec(&torn)).is_ok_and(|file| file.len() < before)
    })
    .await;
    let open = || fs::read_dir(home.folder.join("state/recordings/open")).map_or(0, Iterator::count);
    eventually("its note is gone", || open() == 0).await;
    let told = super::super::Told {
        path: name("cam"),
        place: home.rule.place.clone(),
        file: "cam/1717243200-000000.mp4".to_owned(),
        start: NOON,
        duration: 0,
    };
    archive.started(told.clone());
    eventually("what is open is noted", || open() == 1).await;
    archive.done(told);
    eventually("what is done is not", || open() == 0).await;
    keeping.stop().await;
}
