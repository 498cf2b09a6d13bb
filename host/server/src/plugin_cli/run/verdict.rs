//! What became of one frame, and of all frames of a track together.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value as Json, json};
use wasmtx_media::{Frame, Track};
use wasmtx_sandbox::Usage;

use crate::plugin_cli::{clip::seconds, shown};

/// What a plugin did with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Said {
    /// It did not ask for this kind of frame: the frame went round it.
    Unseen,
    /// It goes on as it is.
    Pass,
    /// It goes on with another payload.
    Change,
    /// It ends here.
    Drop,
    /// The stream ends here.
    Close,
    /// The plugin failed.
    Failed,
    /// It was down, after a failure.
    Bypassed,
    /// What it made of the frame was refused: time running backwards, or no payload of its codec.
    Refused,
}

impl Said {
    pub(super) fn word(self) -> &'static str {
        match self {
            Said::Unseen => "unseen",
            Said::Pass => "pass",
            Said::Change => "change",
            Said::Drop => "drop",
            Said::Close => "close",
            Said::Failed => "failed",
            Said::Bypassed => "bypassed",
            Said::Refused => "refused",
        }
    }

    /// From what was counted before and after the frame, and whether a frame came out that is unlike it.
    pub(super) fn of(before: &Usage, after: &Usage, changed: bool) -> Said {
        let more = |count: fn(&Usage) -> u64| count(after) > count(before);
        if failures(after) > failures(before) {
            Said::Failed
        } else if more(|usage| usage.closed) {
            Said::Close
        } else if more(|usage| usage.bypassed) {
            Said::Bypassed
        } else if more(|usage| usage.refused) {
            Said::Refused
        } else if more(|usage| usage.dropped) {
            Said::Drop
        } else if changed {
            Said::Change
        } else if more(|usage| usage.passed) {
            Said::Pass
        } else {
            Said::Unseen
        }
    }
}

/// Failures of any kind.
pub(super) fn failures(usage: &Usage) -> u64 {
    usage.traps + usage.deadlines + usage.memory + usage.other
}

/// One frame with its verdict.
pub(super) struct Row<'a> {
    pub(super) frame: &'a Frame,
    pub(super) track: &'a Track,
    pub(super) said: Said,
    /// Frames that the plugin made in the same call.
    pub(super) emitted: u64,
    pub(super) took: Duration,
}

impl Row<'_> {
    pub(super) fn json(&self) -> Json {
        json!({
            "track": self.frame.track.0,
            "codec": self.track.codec.name(),
            "frame": self.frame.number,
            "pts": seconds(self.frame.pts, self.track),
            "dts": seconds(self.frame.dts, self.track),
            "key": self.frame.is_key(),
            "size": self.frame.payload.len(),
            "verdict": self.said.word(),
            "emitted": self.emitted,
            "nanos": u64::try_from(self.took.as_nanos()).unwrap_or(u64::MAX),
        })
    }

    pub(super) fn line(&self) -> String {
        let emitted = match self.emitted {
            0 => String::new(),
            frames => format!(", {frames} made"),
        };
        format!(
            "track {} {:<12} frame {:>6} at {:>10.3} s {}{:>9} B  {}{emitted} ({})",
            self.frame.track.0,
            self.track.codec.name(),
            self.frame.number,
            seconds(self.frame.pts, self.track),
            if self.frame.is_key() { "key " } else { "    " },
            shown::count(self.frame.payload.len() as u64),
            self.said.word(),
            shown::time(self.took),
        )
    }
}

/// What became of the frames of a track.
#[derive(Default)]
pub(super) struct Total {
    pub(super) frames: u64,
    pub(super) bytes: u64,
    pub(super) frames_out: u64,
    pub(super) bytes_out: u64,
    pub(super) verdicts: BTreeMap<Said, u64>,
}

impl Total {
    pub(super) fn add(&mut self, row: &Row<'_>) {
        self.frames += 1;
        self.bytes += row.frame.payload.len() as u64;
        *self.verdicts.entry(row.said).or_default() += 1;
    }

    pub(super) fn add_out(&mut self, frame: &Frame) {
        self.frames_out += 1;
        self.bytes_out += frame.payload.len() as u64;
    }

    pub(super) fn line(&self, track: &Track) -> String {
        let verdicts = self
            .verdicts
            .iter()
            .map(|(said, count)| format!("{} {}", said.word(), shown::count(*count)));
        format!(
            "track {} {:<12} {} frames in ({}), {} out ({}): {}",
            track.id.0,
            track.codec.name(),
            shown::count(self.frames),
            shown::bytes(self.bytes),
            shown::count(self.frames_out),
            shown::bytes(self.bytes_out),
            verdicts.collect::<Vec<_>>().join(", "),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_what_was_counted_for_the_frame() {
        let before = Usage::default();
        let after = |count: fn(&mut Usage)| {
            let mut usage = before.clone();
            count(&mut usage);
            Said::of(&before, &usage, false)
        };
        assert_eq!(after(|_| {}), Said::Unseen);
        assert_eq!(after(|usage| usage.passed += 1), Said::Pass);
        assert_eq!(after(|usage| usage.dropped += 1), Said::Drop);
        assert_eq!(after(|usage| usage.closed += 1), Said::Close);
        assert_eq!(after(|usage| usage.bypassed += 1), Said::Bypassed);
        assert_eq!(after(|usage| usage.refused += 1), Said::Refused);
        let trap = after(|usage| {
            usage.traps += 1;
            usage.passed += 1;
        });
        assert_eq!(trap, Said::Failed, "the frame goes on, but the plugin did not say so");
        let mut passed = before.clone();
        passed.passed += 1;
        assert_eq!(Said::of(&before, &passed, true), Said::Change);
    }
}
