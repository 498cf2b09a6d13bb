//! What re-encodes and what decodes pictures, made of the workers that `endpoints` has.

use std::sync::Arc;

use wasmtx_endpoints::{codec::Workers, snapshot::Gallery};
use wasmtx_sandbox::services::Codecs;

/// The codecs of this server, or the reason why it has none.
pub(super) fn codecs(workers: &Workers) -> Arc<dyn Codecs> {
    #[cfg(feature = "ffmpeg")]
    return Arc::new(with::Sound(workers.clone()));
    #[cfg(not(feature = "ffmpeg"))]
    let _ = workers;
    #[cfg(not(feature = "ffmpeg"))]
    return Arc::new(wasmtx_sandbox::services::NoCodecs(
        "this wasmtx was built without FFmpeg (Cargo feature `ffmpeg`)",
    ));
}

/// The newest pictures of all paths. Their worker is started by the first who asks for one.
pub(crate) fn gallery() -> Gallery {
    #[cfg(feature = "ffmpeg")]
    return Gallery::new(Some(with::pictures()));
    #[cfg(not(feature = "ffmpeg"))]
    return Gallery::new(None);
}

#[cfg(feature = "ffmpeg")]
mod with {
    use std::time::Duration;

    use wasmtx_endpoints::codec::{self, Options, Pictures, Wanted, Workers};
    use wasmtx_media::{Frame, Track};
    use wasmtx_sandbox::{
        Target,
        services::{Codecs, Converter, Form, Report},
    };

    /// Bytes that a worker may take for one picture: two of 8K in 10 bits, and what FFmpeg needs besides.
    const PICTURE_MEMORY: u64 = 768 << 20;
    /// A keyframe that takes longer to decode is given up, and the worker with it.
    const PICTURE_PATIENCE: Duration = Duration::from_secs(5);
    /// Somebody who looks now and then finds the worker there.
    const PICTURE_IDLE: Duration = Duration::from_secs(60);

    /// A program apart from that of sound.
    pub(super) fn pictures() -> Pictures {
        let mut options = Options::default();
        options.memory = PICTURE_MEMORY;
        options.threads = 1;
        options.patience = PICTURE_PATIENCE;
        options.idle = PICTURE_IDLE;
        Pictures::new(options)
    }

    /// Programs of their own, one for all streams.
    pub(super) struct Sound(pub(super) Workers);

    impl Codecs for Sound {
        fn ready(&self) -> Result<(), String> {
            self.0.ready()
        }

        fn form(&self, source: &Track, target: &Target) -> Result<Form, String> {
            let codec = match target.codec.as_str() {
                "" => source.codec.name(),
                named => named,
            };
            let wanted = Wanted {
                codec: codec.to_owned(),
                bitrate: target.bitrate,
                channels: target.channels,
                sample_rate: target.sample_rate,
            };
            let form = self.0.form(source, &wanted)?;
            Ok(Form {
                codec: form.codec,
                clock_rate: form.clock_rate,
                bitrate: form.bitrate,
            })
        }

        fn open(&self, path: &str, source: &Track, form: &Form) -> Box<dyn Converter> {
            let form = codec::Form {
                codec: form.codec.clone(),
                clock_rate: form.clock_rate,
                bitrate: form.bitrate,
            };
            Box::new(Work(self.0.open(path, source, &form)))
        }
    }

    struct Work(codec::Converter);

    impl Converter for Work {
        fn push(&mut self, frame: &Frame) -> bool {
            self.0.push(frame)
        }

        fn pull(&mut self) -> Option<Frame> {
            self.0.pull()
        }

        fn finish(&mut self) {
            self.0.finish();
        }

        fn report(&self) -> Report {
            let report = self.0.report();
            Report {
                lost: report.lost,
                restarts: report.restarts,
            }
        }
    }
}
