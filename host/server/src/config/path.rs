//! The keys of a path, one line each: the same below `pathDefaults` and below each entry of `paths`.

use super::{
    forward::Forward,
    global::{AuthFallback, AuthStep, seconds},
    node::Node,
    plugin::Chain,
    schema::{Reader, Value, choices, describe, settings},
    secret::{Fingerprint, Secret},
    suggest::nearest,
    units::Size,
    value::text,
};
use crate::redact;
use serde_json::Value as Json;
use std::time::Duration;

settings! {
    /// All settings of one path, defaults filled in.
    pub struct PathConf {
        // General.
        /// Where the stream comes from.
        "source" => source: Source = Source::default(),
        /// The certificate the source must have.
        "sourceFingerprint" => source_fingerprint: Fingerprint = Fingerprint::default(),
        /// Pull only while somebody reads.
        "sourceOnDemand" => source_on_demand: bool = false,
        /// How long readers wait for it.
        "sourceOnDemandStartTimeout" => source_on_demand_start_timeout: Duration = seconds(10),
        /// How long it stays without readers.
        "sourceOnDemandCloseAfter" => source_on_demand_close_after: Duration = seconds(10),
        /// Most readers; 0 for any number.
        "maxReaders" => max_readers: u32 = 0,
        /// Passphrase of SRT readers.
        "srtReadPassphrase" => srt_read_passphrase: Secret = Secret::default(),
        /// Keep the sender's wall clock.
        "useAbsoluteTimestamp" => use_absolute_timestamp: bool = false,
        // Plugins.
        /// The chain of plugins.
        "plugins" => plugins: Chain = Chain::default(),
        /// Who is asked first; as the global key unless set.
        "authOrder" => auth_order: Vec<AuthStep> = vec![AuthStep::Plugins, AuthStep::Method],
        /// Whether the open user `any` still counts; as the global key unless set.
        "authFallback" => auth_fallback: AuthFallback = AuthFallback::None,
        // Readers.
        /// Where a new reader begins.
        "readerStart" => reader_start: ReaderStart = ReaderStart::Keyframe,
        /// Writes to readers over TCP are put together for so long.
        "writeMergeWindow" => write_merge_window: Duration = Duration::ZERO,
        // Always available.
        /// Play a clip while there is no publisher.
        "alwaysAvailable" => always_available: bool = false,
        /// Tracks of that clip.
        "alwaysAvailableTracks" => always_available_tracks: Vec<OfflineTrack> = Vec::new(),
        /// The clip.
        "alwaysAvailableFile" => always_available_file: String = String::new(),
        // Forward.
        /// Servers that the stream is sent on to.
        "forward" => forward: Vec<Forward> = Vec::new(),
        // Record.
        /// Record the stream.
        "record" => record: bool = false,
        /// Where segments are written.
        "recordPath" => record_path: String = "./recordings/%path/%Y-%m-%d_%H-%M-%S-%f".into(),
        /// Format of segments.
        "recordFormat" => record_format: RecordFormat = RecordFormat::Fmp4,
        /// Most that is lost when the power fails.
        "recordPartDuration" => record_part_duration: Duration = seconds(1),
        /// Most bytes of a part.
        "recordMaxPartSize" => record_max_part_size: Size = Size::mebi(50),
        /// Least length of a segment.
        "recordSegmentDuration" => record_segment_duration: Duration = seconds(3600),
        /// Age at which segments are deleted; 0s for never.
        "recordDeleteAfter" => record_delete_after: Duration = seconds(86_400),
        /// Time before the start that is recorded too.
        "recordPreRoll" => record_pre_roll: Duration = Duration::ZERO,
        /// Most bytes of a path's recordings; 0 for any number.
        "recordMaxSize" => record_max_size: Size = Size(0),
        /// Free space that recording leaves; by default the smaller of 1 GiB and 2 %.
        "recordMinFree" => record_min_free: Option<Size> = None,
        // Publisher source.
        /// A new publisher takes over.
        "overridePublisher" => override_publisher: bool = true,
        /// Passphrase of SRT publishers.
        "srtPublishPassphrase" => srt_publish_passphrase: Secret = Secret::default(),
        /// Take apart MPEG-TS inside RTSP.
        "rtspDemuxMpegts" => rtsp_demux_mpegts: bool = false,
        // RTSP source.
        /// Transport of an RTSP source.
        "rtspTransport" => rtsp_transport: SourceTransport = SourceTransport::Automatic,
        /// Accept packets from other ports than agreed.
        "rtspAnyPort" => rtsp_any_port: bool = false,
        /// Kind of range to ask for.
        "rtspRangeType" => rtsp_range_type: RangeType = RangeType::None,
        /// Where the range begins.
        "rtspRangeStart" => rtsp_range_start: String = String::new(),
        /// Speed of playing.
        "rtspScale" => rtsp_scale: String = String::new(),
        /// Local ports of UDP sources.
        "rtspUDPSourcePortRange" => rtsp_udp_source_port_range: Vec<u16> = vec![32_768, 60_999],
        // RTP source.
        /// Description of a raw RTP source.
        "rtpSDP" => rtp_sdp: String = String::new(),
        // MoQ source.
        /// Transport of a MoQ source.
        "moqTransport" => moq_transport: MoqTransport = MoqTransport::Quic,
        // WHEP source.
        /// Token of a WHEP source.
        "whepBearerToken" => whep_bearer_token: Secret = Secret::default(),
        /// Time to learn the own addresses.
        "whepSTUNGatherTimeout" => whep_stun_gather_timeout: Duration = seconds(5),
        /// Time to connect.
        "whepHandshakeTimeout" => whep_handshake_timeout: Duration = seconds(10),
        /// Time to learn the tracks.
        "whepTrackGatherTimeout" => whep_track_gather_timeout: Duration = seconds(2),
        // Redirect source.
        /// Where readers are sent.
        "sourceRedirect" => source_redirect: String = String::new(),
        // Raspberry Pi camera.
        /// Number of the camera.
        "rpiCameraCamID" => rpi_camera_cam_id: u32 = 0,
        /// Second stream of the same camera.
        "rpiCameraSecondary" => rpi_camera_secondary: bool = false,
        /// Width.
        "rpiCameraWidth" => rpi_camera_width: u32 = 1920,
        /// Height.
        "rpiCameraHeight" => rpi_camera_height: u32 = 1080,
        /// Mirror left and right.
        "rpiCameraHFlip" => rpi_camera_h_flip: bool = false,
        /// Mirror up and down.
        "rpiCameraVFlip" => rpi_camera_v_flip: bool = false,
        /// -1 to 1.
        "rpiCameraBrightness" => rpi_camera_brightness: f64 = 0.0,
        /// 0 to 16.
        "rpiCameraContrast" => rpi_camera_contrast: f64 = 1.0,
        /// 0 to 16.
        "rpiCameraSaturation" => rpi_camera_saturation: f64 = 1.0,
        /// 0 to 16.
        "rpiCameraSharpness" => rpi_camera_sharpness: f64 = 1.0,
        /// normal, short, long or custom.
        "rpiCameraExposure" => rpi_camera_exposure: String = "normal".into(),
        /// White balance.
        "rpiCameraAWB" => rpi_camera_awb: String = "auto".into(),
        /// Gains of red and blue.
        "rpiCameraAWBGains" => rpi_camera_awb_gains: Vec<f64> = vec![0.0, 0.0],
        /// off, cdn_off, cdn_fast or cdn_hq.
        "rpiCameraDenoise" => rpi_camera_denoise: String = "off".into(),
        /// Shutter in microseconds.
        "rpiCameraShutter" => rpi_camera_shutter: u32 = 0,
        /// centre, spot, matrix or custom.
        "rpiCameraMetering" => rpi_camera_metering: String = "centre".into(),
        /// Gain.
        "rpiCameraGain" => rpi_camera_gain: f64 = 0.0,
        /// -10 to 10.
        "rpiCameraEV" => rpi_camera_ev: f64 = 0.0,
        /// Region: x,y,w,h.
        "rpiCameraROI" => rpi_camera_roi: String = String::new(),
        /// High dynamic range.
        "rpiCameraHDR" => rpi_camera_hdr: bool = false,
        /// Tuning file.
        "rpiCameraTuningFile" => rpi_camera_tuning_file: String = String::new(),
        /// w:h:depth:packing.
        "rpiCameraMode" => rpi_camera_mode: String = String::new(),
        /// Frames per second.
        "rpiCameraFPS" => rpi_camera_fps: f64 = 30.0,
        /// auto, manual or continuous.
        "rpiCameraAfMode" => rpi_camera_af_mode: String = "continuous".into(),
        /// normal, macro or full.
        "rpiCameraAfRange" => rpi_camera_af_range: String = "normal".into(),
        /// normal or fast.
        "rpiCameraAfSpeed" => rpi_camera_af_speed: String = "normal".into(),
        /// Position of the lens.
        "rpiCameraLensPosition" => rpi_camera_lens_position: f64 = 0.0,
        /// Window of the autofocus.
        "rpiCameraAfWindow" => rpi_camera_af_window: String = String::new(),
        /// Period of flicker in microseconds.
        "rpiCameraFlickerPeriod" => rpi_camera_flicker_period: u32 = 0,
        /// Text on the picture.
        "rpiCameraTextOverlayEnable" => rpi_camera_text_overlay_enable: bool = false,
        /// That text.
        "rpiCameraTextOverlay" => rpi_camera_text_overlay: String = "%Y-%m-%d %H:%M:%S - MediaMTX".into(),
        /// auto, hardwareH264, softwareH264 or mjpeg.
        "rpiCameraCodec" => rpi_camera_codec: String = "auto".into(),
        /// Frames between keyframes.
        "rpiCameraIDRPeriod" => rpi_camera_idr_period: u32 = 60,
        /// Bits per second.
        "rpiCameraBitrate" => rpi_camera_bitrate: u32 = 5_000_000,
        /// auto, baseline, main or high.
        "rpiCameraH264Profile" => rpi_camera_h264_profile: String = "auto".into(),
        /// 4.0, 4.1 or 4.2.
        "rpiCameraH264Level" => rpi_camera_h264_level: String = "4.1".into(),
        /// 0 to 100.
        "rpiCameraMJPEGQuality" => rpi_camera_mjpeg_quality: u32 = 60,
        // Hooks.
        /// Command when the server starts.
        "runOnInit" => run_on_init: String = String::new(),
        /// Start it again when it ends.
        "runOnInitRestart" => run_on_init_restart: bool = false,
        /// Command when somebody wants to read.
        "runOnDemand" => run_on_demand: String = String::new(),
        /// Start it again when it ends.
        "runOnDemandRestart" => run_on_demand_restart: bool = false,
        /// How long readers wait for it.
        "runOnDemandStartTimeout" => run_on_demand_start_timeout: Duration = seconds(10),
        /// How long it stays without readers.
        "runOnDemandCloseAfter" => run_on_demand_close_after: Duration = seconds(10),
        /// Command when nobody wants to read any more.
        "runOnUnDemand" => run_on_un_demand: String = String::new(),
        /// Command when the stream can be read.
        "runOnAvailable" => run_on_available: String = String::new(),
        /// Start it again when it ends.
        "runOnAvailableRestart" => run_on_available_restart: bool = false,
        /// Command when it cannot be read any more.
        "runOnUnavailable" => run_on_unavailable: String = String::new(),
        /// Command when a source is there.
        "runOnOnline" => run_on_online: String = String::new(),
        /// Start it again when it ends.
        "runOnOnlineRestart" => run_on_online_restart: bool = false,
        /// Command when it is gone.
        "runOnOffline" => run_on_offline: String = String::new(),
        /// Command when a reader starts.
        "runOnRead" => run_on_read: String = String::new(),
        /// Start it again when it ends.
        "runOnReadRestart" => run_on_read_restart: bool = false,
        /// Command when a reader stops.
        "runOnUnread" => run_on_unread: String = String::new(),
        /// Command when a segment is begun.
        "runOnRecordSegmentCreate" => run_on_record_segment_create: String = String::new(),
        /// Command when a segment is finished.
        "runOnRecordSegmentComplete" => run_on_record_segment_complete: String = String::new(),
    }
}

/// Where a path's stream comes from, as it stands in the file: `publisher`, `redirect`, `rpiCamera` or a URL. The URL
/// may hold `$G1` and `$MTX_QUERY`, so it is no URL yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Source(String);

choices! {
    /// What kind of source a path has.
    pub enum SourceKind {
        /// Clients publish.
        Publisher = "publisher",
        /// Readers are sent elsewhere.
        Redirect = "redirect",
        /// A Raspberry Pi camera.
        RpiCamera = "rpiCamera",
        /// An RTSP server.
        Rtsp = "rtsp",
        /// An RTSP server behind TLS.
        Rtsps = "rtsps",
        /// RTSP within HTTP or WebSocket.
        RtspTunnel = "rtsp+http",
        /// An RTMP server.
        Rtmp = "rtmp",
        /// An HLS playlist.
        Hls = "http",
        /// FLV over HTTP: the URL's path ends in `.flv`.
        Flv = "http-flv",
        /// A WebRTC server.
        Whep = "whep",
        /// An SRT server.
        Srt = "srt",
        /// MPEG-TS over UDP or a Unix socket.
        MpegTs = "udp+mpegts",
        /// Raw RTP.
        Rtp = "udp+rtp",
        /// Media over QUIC.
        Moq = "moqt",
    }
}

const SCHEMES: &[(&str, SourceKind)] = &[
    ("rtsp", SourceKind::Rtsp),
    ("rtsps", SourceKind::Rtsps),
    ("rtsp+http", SourceKind::RtspTunnel),
    ("rtsps+http", SourceKind::RtspTunnel),
    ("rtsp+ws", SourceKind::RtspTunnel),
    ("rtsps+ws", SourceKind::RtspTunnel),
    ("rtmp", SourceKind::Rtmp),
    ("rtmps", SourceKind::Rtmp),
    ("http", SourceKind::Hls),
    ("https", SourceKind::Hls),
    ("whep", SourceKind::Whep),
    ("wheps", SourceKind::Whep),
    ("srt", SourceKind::Srt),
    ("udp", SourceKind::MpegTs),
    ("udp+mpegts", SourceKind::MpegTs),
    ("unix+mpegts", SourceKind::MpegTs),
    ("udp+rtp", SourceKind::Rtp),
    ("unix+rtp", SourceKind::Rtp),
    ("moqt", SourceKind::Moq),
];

const WORDS: &[SourceKind] = &[SourceKind::Publisher, SourceKind::Redirect, SourceKind::RpiCamera];

impl Source {
    /// As it stands in the file, credentials included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What kind it is.
    pub fn kind(&self) -> SourceKind {
        kind(&self.0).unwrap_or(SourceKind::Publisher)
    }

    /// Whether the server itself fetches the stream.
    pub fn is_static(&self) -> bool {
        !matches!(self.kind(), SourceKind::Publisher | SourceKind::Redirect)
    }
}

impl Default for Source {
    fn default() -> Source {
        Source(SourceKind::Publisher.as_str().to_owned())
    }
}

fn kind(text: &str) -> Option<SourceKind> {
    if let Some(word) = WORDS.iter().find(|word| word.as_str() == text) {
        return Some(*word);
    }
    let (scheme, rest) = text.split_once("://")?;
    let (_, known) = SCHEMES.iter().find(|(known, _)| *known == scheme)?;
    let path = rest.split(['?', '#']).next()?;
    let kind = match known {
        SourceKind::Hls if path.ends_with(".flv") => SourceKind::Flv,
        known => *known,
    };
    (!rest.is_empty()).then_some(kind)
}

impl Value for Source {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Some(text) = text(node) else {
            return reader.expected(node, "a source");
        };
        if kind(text).is_some() && !text.chars().any(char::is_control) {
            return Some(Source(text.to_owned()));
        }
        // A URL may hold a password: of one, only the scheme is shown.
        let (message, suggestion) = match text.split_once("://") {
            Some((scheme, rest)) => (
                format!("there is no source of the scheme `{}`", scheme.escape_debug()),
                nearest(scheme, SCHEMES.iter().map(|(known, _)| *known))
                    .filter(|_| !rest.is_empty())
                    .map(|known| format!("{known}://…")),
            ),
            None => (
                format!(
                    "expected publisher, redirect, rpiCamera or a URL such as rtsp://…, found {}",
                    describe(node)
                ),
                nearest(text, WORDS.iter().map(|word| word.as_str())).map(str::to_owned),
            ),
        };
        reader.suggest(&node.origin, message, suggestion);
        None
    }

    fn json(&self) -> Json {
        Json::from(redact::url(&self.0))
    }
}

choices! {
    /// Where a new reader begins.
    pub enum ReaderStart {
        /// At the last keyframe, at once.
        Keyframe = "keyframe",
        /// At the next keyframe that comes.
        Live = "live",
    }
}

choices! {
    /// Format of recordings.
    pub enum RecordFormat {
        /// Fragmented MP4.
        Fmp4 = "fmp4",
        /// MPEG-TS.
        MpegTs = "mpegts",
    }
}

choices! {
    /// Transport of an RTSP source.
    pub enum SourceTransport {
        /// UDP, then TCP.
        Automatic = "automatic",
        /// UDP.
        Udp = "udp",
        /// UDP to many.
        Multicast = "multicast",
        /// Within the connection.
        Tcp = "tcp",
    }
}

choices! {
    /// Kind of range that an RTSP source is asked for.
    pub enum RangeType {
        /// None.
        None = "",
        /// Wall clock.
        Clock = "clock",
        /// Time since the beginning.
        Npt = "npt",
        /// Timecode.
        Smpte = "smpte",
    }
}

choices! {
    /// Transport of a MoQ source.
    pub enum MoqTransport {
        /// Native QUIC.
        Quic = "quic",
        /// WebTransport.
        WebTransport = "webtransport",
    }
}

choices! {
    /// Codec of a track that plays while there is no publisher.
    pub enum OfflineCodec {
        /// AV1.
        Av1 = "AV1",
        /// VP9.
        Vp9 = "VP9",
        /// H265.
        H265 = "H265",
        /// H264.
        H264 = "H264",
        /// Opus.
        Opus = "Opus",
        /// AAC.
        Aac = "MPEG4Audio",
        /// G711.
        G711 = "G711",
        /// Uncompressed.
        Lpcm = "LPCM",
    }
}

settings! {
    /// A track that plays while there is no publisher.
    pub struct OfflineTrack {
        /// Its codec.
        "codec" => codec: OfflineCodec = OfflineCodec::H264,
        /// Samples per second, for audio.
        "sampleRate" => sample_rate: u32 = 0,
        /// Channels, for audio.
        "channelCount" => channel_count: u32 = 0,
        /// µ-law instead of A-law, for G711.
        "muLaw" => mu_law: bool = false,
    }
}
