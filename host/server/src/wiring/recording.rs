//! How the entries of `paths` are recorded: the keys that begin with `record`, as a use of the plugin named `recorder`.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::json;
use wasmtx_endpoints::{
    recording::{Rule, Rules},
    storage,
};
use wasmtx_media::recording::Template;
use wasmtx_sandbox::{
    Error, Registry, Sinks, Use,
    services::{MinFree, Place, StorageGrant},
};

use super::files;
use crate::config::{Config, PathConf, RecordFormat, format_duration};

/// What records. A plugin of the configuration by that name takes the place of the bundled one.
pub(crate) const RECORDER: &str = "recorder";

/// Parts are at least and at most so long, whatever mediamtx.yml says: a commit for each frame would keep disks busy with nothing
/// else.
const PART: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(86_400));
/// A segment begins at a keyframe; this is one at every keyframe.
const LEAST_SEGMENT: Duration = Duration::from_millis(1);

/// How the paths of an entry are recorded, when they are.
pub(crate) struct Recorder {
    /// `record: yes`.
    pub(crate) always: bool,
    /// `recordPreRoll`.
    pub(crate) pre_roll: Duration,
    used: Use,
    /// Made when a path of the entry is recorded for the first time. It goes on as long as it is the very same.
    sinks: Mutex<Option<Arc<Sinks>>>,
}

/// The recorder of every entry of `paths`, by the entry's key.
pub(crate) type Recorders = HashMap<String, Arc<Recorder>>;

/// Makes the recorder of every entry. Those that stay the same as in `previous` go on. Blocks while the plugin checks what it is
/// told; it is not even loaded where nothing is recorded.
///
/// # Errors
/// Everything that is wrong, a sentence each that begins with the entry. A directory that cannot be had is not: the disk may
/// come back, and is tried again ([`Recorder::make`]).
pub(crate) fn recorders(
    config: &Config,
    registry: &Registry,
    previous: Option<&Recorders>,
) -> Result<Recorders, Vec<String>> {
    let mut problems = Vec::new();
    let mut recorders = Recorders::new();
    for entry in config.paths.entries() {
        let old = previous.and_then(|previous| previous.get(&entry.name));
        let recorder = Recorder::new(&entry.conf, old.map(|old| &**old));
        // What a request switched on goes on under other keys.
        let is_needed = recorder.always || old.is_some_and(|old| old.sinks.lock().is_some());
        match is_needed.then(|| recorder.make(registry)) {
            None | Some(Ok(_)) => {}
            Some(Err(error @ (Error::Use { .. } | Error::Refused { .. }))) => {
                tracing::error!("paths.{}: it is not recorded: {error}", entry.name);
            }
            Some(Err(error)) => problems.push(format!("paths.{}.record: {error}", entry.name)),
        }
        recorders.insert(entry.name.clone(), Arc::new(recorder));
    }
    if problems.is_empty() {
        Ok(recorders)
    } else {
        Err(problems)
    }
}

impl Recorder {
    fn new(conf: &PathConf, old: Option<&Recorder>) -> Recorder {
        let used = used(conf);
        let same = old.filter(|old| old.used == used);
        Recorder {
            always: conf.record,
            pre_roll: conf.record_pre_roll,
            sinks: Mutex::new(same.and_then(|same| same.sinks.lock().clone())),
            used,
        }
    }

    /// What records, if it was made.
    pub(crate) fn sinks(&self) -> Option<Arc<Sinks>> {
        self.sinks.lock().clone()
    }

    /// What records; made now if it was not. Blocks.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(crate) fn make(&self, registry: &Registry) -> Result<Arc<Sinks>, Error> {
        let mut sinks = self.sinks.lock();
        if let Some(sinks) = &*sinks {
            return Ok(sinks.clone());
        }
        Ok(sinks.insert(registry.sink(&self.used)?).clone())
    }
}

/// What holds for the recordings of every entry, recorded or not: the archive of a path stays when it is not recorded any more.
pub(crate) fn archived(config: &Arc<Config>) -> Rules {
    let rules = config.paths.entries().iter();
    // What is no template was refused with the configuration.
    let rules = rules.filter_map(|entry| Some((entry.name.clone(), Arc::new(rule(&entry.conf)?))));
    let rules: HashMap<String, Arc<Rule>> = rules.collect();
    let (all, config) = (rules.values().cloned().collect::<Vec<_>>(), config.clone());
    Rules::new(all, move |path| {
        let (entry, _) = config.paths.find(path.as_str())?;
        rules.get(&entry.name).cloned()
    })
}

fn rule(conf: &PathConf) -> Option<Rule> {
    let (directory, template) = Template::split(&conf.record_path);
    let min_free = conf.record_min_free;
    Some(Rule {
        place: files::place(&place(directory)),
        template: Template::parse(template).ok()?,
        delete_after: conf.record_delete_after,
        max_size: conf.record_max_size.0,
        min_free: min_free.map_or(storage::MinFree::Usual, |free| storage::MinFree::Bytes(free.0)),
    })
}

/// The plugin with what it is told and where its files go.
fn used(conf: &PathConf) -> Use {
    let (directory, template) = Template::split(&conf.record_path);
    let mut storage = StorageGrant::recordings(place(directory));
    storage.min_free = conf
        .record_min_free
        .map_or(MinFree::Usual, |free| MinFree::Bytes(free.0));
    Use {
        plugin: RECORDER.to_owned(),
        config: Some(json!({
            "path": template,
            "format": match conf.record_format {
                RecordFormat::Fmp4 => "fmp4",
                RecordFormat::MpegTs => "mpegts",
            },
            "partDuration": format_duration(conf.record_part_duration.clamp(PART.0, PART.1)),
            "maxPartSize": conf.record_max_part_size.0.max(1),
            "segmentDuration": format_duration(conf.record_segment_duration.max(LEAST_SEGMENT)),
        })),
        storage: Some(storage),
        ..Use::default()
    }
}

/// Where the directory of a `recordPath` is.
fn place(directory: &str) -> Place {
    match directory {
        "" => Place::Directory(PathBuf::from(".")),
        url if url.starts_with("s3://") => Place::Objects(url.to_owned()),
        path => Place::Directory(PathBuf::from(path)),
    }
}

#[cfg(test)]
#[path = "recording_tests.rs"]
mod tests;
