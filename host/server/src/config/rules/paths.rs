//! Rules of paths and of the plugins on them.

use super::{
    super::{
        error::Problem,
        global::Global,
        node::Node,
        path::{PathConf, SourceKind},
        paths::{Matcher, PathEntry},
        plugin::{self, Location},
        schema::Settings,
        suggest::nearest,
    },
    Checker,
};
use std::{collections::BTreeMap, time::Duration};
use wasmtx_endpoints::storage::Place;
use wasmtx_media::recording::Template;

const PASSPHRASE: std::ops::RangeInclusive<usize> = 10..=79;
const DAY: Duration = Duration::from_secs(86_400);

/// Ranges of numbers that only a camera takes.
const CAMERA_RANGES: &[(&str, f64, f64)] = &[
    ("rpiCameraBrightness", -1.0, 1.0),
    ("rpiCameraContrast", 0.0, 16.0),
    ("rpiCameraSaturation", 0.0, 16.0),
    ("rpiCameraSharpness", 0.0, 16.0),
    ("rpiCameraEV", -10.0, 10.0),
    ("rpiCameraMJPEGQuality", 0.0, 100.0),
];

impl Checker<'_> {
    pub(super) fn plugins(&mut self, global: &Global) {
        for (name, entry) in &global.plugins {
            let trail = ["plugins", name.as_str()];
            if !plugin::valid_name(name) {
                self.refuse(&trail, "a name has letters, digits, `-`, `_` and `.` only");
            }
            if entry.public_key.0.is_some() && !matches!(entry.file, Location::Remote(_)) {
                let message = "signatures are for plugins that are fetched (https://, oci://); a file has its `sha256`";
                self.refuse(&["plugins", name, "publicKey"], message);
            }
            let bundled = match &entry.file {
                Location::Bundled if plugin::BUNDLED.contains(&name.as_str()) => continue,
                Location::Bundled => {
                    self.refuse(&trail, "no plugin of this name is bundled: say where it is with `file`");
                    continue;
                }
                Location::Builtin(bundled) => bundled,
                Location::File(_) | Location::Remote(_) => continue,
            };
            if !plugin::BUNDLED.contains(&bundled.as_str()) {
                let message = format!("no plugin `{bundled}` is bundled ({})", plugin::BUNDLED.join(", "));
                self.refuse(&["plugins", name, "file"], message);
            }
        }
        for (name, entry) in &global.plugins {
            let share = entry.limits.cpu_share;
            if !(share > 0.0 && share <= 1024.0) {
                self.refuse(
                    &["plugins", name, "limits", "cpuShare"],
                    "it is a number of cores above zero",
                );
            }
            let memory = u64::try_from(wasmtx_sandbox::Limits::default().memory).unwrap_or(u64::MAX);
            if entry.limits.memory.0 > memory {
                let message = format!("an instance has {} at most", plugin::Limits::default().memory);
                self.refuse(&["plugins", name, "limits", "memory"], message);
            }
        }
    }

    /// Names of the chain that is written at this place must lead somewhere.
    pub(super) fn chain(&mut self, global: &Global, conf: &PathConf, written: Option<&Node>, place: &str) {
        let Some(list) = written.and_then(|node| node.get("plugins")) else {
            return;
        };
        let own = list.items().len();
        // What a chain appends to was checked where it is written.
        let inherited = conf.plugins.0.len().saturating_sub(own);
        for (i, link) in conf.plugins.0.iter().skip(inherited).enumerate() {
            let (name, bundled_only) = link.target();
            let registered = !bundled_only && global.plugins.contains_key(name);
            if registered || plugin::BUNDLED.contains(&name) {
                continue;
            }
            let known = global
                .plugins
                .keys()
                .map(String::as_str)
                .chain(plugin::BUNDLED.iter().copied());
            self.problems.push(Problem {
                origin: list.items().get(i).map(|item| item.origin.clone()).unwrap_or_default(),
                key: format!("{place}.plugins.{i}"),
                message: format!("`{name}` is neither in the registry (`plugins`) nor bundled"),
                suggestion: nearest(name, known).map(str::to_owned),
            });
        }
    }

    pub(super) fn path(&mut self, global: &Global, entry: &PathEntry) {
        let (name, conf) = (entry.name.as_str(), &*entry.conf);
        let exact = matches!(entry.matcher, Matcher::Exact(_));
        let kind = conf.source.kind();
        let written = self.paths.get(name).map(|path| &path.value);
        self.chain(global, conf, written, &format!("paths.{name}"));
        if conf.source_on_demand && kind == SourceKind::Publisher {
            self.refuse_path(
                name,
                "sourceOnDemand",
                "nothing is pulled on a path whose source is `publisher`",
            );
        }
        if !exact && conf.source.is_static() && !conf.source_on_demand {
            let message = "a source on a path that stands for many needs `sourceOnDemand: yes`";
            self.refuse_path(name, "source", message);
        }
        if !conf.run_on_demand.is_empty() && kind != SourceKind::Publisher {
            self.refuse_path(name, "runOnDemand", "it needs `source: publisher`");
        }
        if !conf.run_on_init.is_empty() && !exact {
            self.refuse_path(name, "runOnInit", "a path that stands for many has no start");
        }
        if kind == SourceKind::Redirect && conf.source_redirect.is_empty() {
            self.refuse_path(name, "source", "`redirect` needs sourceRedirect");
        }
        if kind != SourceKind::Redirect && !conf.source_redirect.is_empty() {
            self.refuse_path(name, "sourceRedirect", "it needs `source: redirect`");
        }
        self.passphrases(name, conf);
        self.always_available(name, exact, conf);
        self.record(global, name, conf);
        if !matches!(conf.rtsp_udp_source_port_range.as_slice(), [first, last] if first <= last) {
            self.refuse_path(name, "rtspUDPSourcePortRange", "it is two ports, the lower one first");
        }
        if conf.forward.iter().any(|forward| forward.dest.is_empty()) {
            self.refuse_path(name, "forward", "every entry needs `dest`");
        }
    }

    fn passphrases(&mut self, name: &str, conf: &PathConf) {
        for (key, secret) in [
            ("srtReadPassphrase", &conf.srt_read_passphrase),
            ("srtPublishPassphrase", &conf.srt_publish_passphrase),
        ] {
            if !secret.is_empty() && !PASSPHRASE.contains(&secret.expose().len()) {
                self.refuse_path(name, key, "it has 10 to 79 characters");
            }
        }
        if !conf.srt_publish_passphrase.is_empty() && conf.source.kind() != SourceKind::Publisher {
            self.refuse_path(name, "srtPublishPassphrase", "it needs `source: publisher`");
        }
    }

    fn always_available(&mut self, name: &str, exact: bool, conf: &PathConf) {
        if !conf.always_available {
            return;
        }
        let conflicts = [
            (!exact, "a path that stands for many"),
            (conf.source_on_demand, "`sourceOnDemand`"),
            (!conf.run_on_demand.is_empty(), "`runOnDemand`"),
            (conf.use_absolute_timestamp, "`useAbsoluteTimestamp`"),
        ];
        for (_, with) in conflicts.iter().filter(|(conflict, _)| *conflict) {
            self.refuse_path(name, "alwaysAvailable", format!("it does not go with {with}"));
        }
    }

    fn record(&mut self, global: &Global, name: &str, conf: &PathConf) {
        let (directory, template) = Template::split(&conf.record_path);
        if directory == "s3://" {
            self.refuse_path(
                name,
                "recordPath",
                "the name of a bucket comes first, without variables",
            );
        } else if let Err(error) = Place::parse(directory) {
            self.refuse_path(name, "recordPath", error);
        }
        match Template::parse(template) {
            Err(error) => self.refuse_path(name, "recordPath", error.to_string()),
            Ok(template) if global.playback && !template.has_micros() => {
                self.refuse_path(name, "recordPath", "the playback server needs %f in it");
            }
            Ok(_) => {}
        }
        if conf.record_segment_duration > DAY {
            self.refuse_path(name, "recordSegmentDuration", "it is at most 1d");
        }
        if !conf.record_delete_after.is_zero() && conf.record_delete_after < conf.record_segment_duration {
            self.refuse_path(name, "recordDeleteAfter", "it must not be below recordSegmentDuration");
        }
    }

    /// One stream of each kind per camera.
    pub(super) fn camera(&mut self, entry: &PathEntry, seen: &mut BTreeMap<(u32, bool), String>) {
        let conf = &*entry.conf;
        for (key, least, most) in CAMERA_RANGES {
            let value = conf.key_json(key).and_then(|value| value.as_f64()).unwrap_or(*least);
            if value < *least || value > *most {
                self.refuse_path(&entry.name, key, format!("it is from {least} to {most}"));
            }
        }
        if conf.source.kind() != SourceKind::RpiCamera {
            return;
        }
        let camera = (conf.rpi_camera_cam_id, conf.rpi_camera_secondary);
        if let Some(first) = seen.insert(camera, entry.name.clone()) {
            self.refuse_path(
                &entry.name,
                "source",
                format!("the path `{first}` has the same stream of this camera"),
            );
        }
    }
}
