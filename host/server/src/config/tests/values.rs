//! Every type of value, and the rules between keys.

use super::*;
use crate::config::units::{format_duration, parse_duration};
use std::time::Duration;

#[test]
fn booleans_are_those_of_yaml_1_1() {
    for text in ["yes", "Yes", "YES", "true", "True", "on", "ON"] {
        assert!(accepted(&format!("api: {text}")).global.api, "{text}");
    }
    for text in ["no", "No", "false", "FALSE", "off"] {
        assert!(!accepted(&format!("rtsp: {text}")).global.rtsp, "{text}");
    }
    check_refused(
        "api: \"yes\"",
        &["line 1, column 6: api: expected yes or no, found the text \"yes\", did you mean `yes`?"],
    );
    check_refused(
        "api: yse",
        &["line 1, column 6: api: expected yes or no, found `yse`, did you mean `yes`?"],
    );
    check_refused("api: 1", &["line 1, column 6: api: expected yes or no, found `1`"]);
    check_refused(
        "api: [yes]",
        &["line 1, column 6: api: expected yes or no, found a list"],
    );
}

#[test]
fn whole_numbers_are_plain() {
    assert_eq!(accepted("multicastRTPPort: 0x1F42").global.multicast_rtp_port, 8002);
    for text in ["-1", "1.5", "010", "\"8002\"", "eighty", "1e3", "{}"] {
        let message = complaints(&format!("multicastRTPPort: {text}"));
        assert!(
            message.contains("multicastRTPPort: expected a whole number, found "),
            "{message}"
        );
    }
    check_refused(
        "multicastRTPPort: 80000",
        &["line 1, column 19: multicastRTPPort: expected a number up to 65535, found `80000`"],
    );
}

#[test]
fn durations_have_units() {
    for (text, millis) in [
        ("10s", 10_000),
        ("1m30s", 90_000),
        ("1.5h", 5_400_000),
        ("1d2h3m4s", 93_784_000),
        ("250ms", 250),
        (".5s", 500),
        ("0", 0),
        ("", 0),
        ("0s", 0),
    ] {
        assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
    }
    for text in [
        "10",
        "s",
        "1",
        "-1s",
        "1s2",
        "1 s",
        "1w",
        "1..5s",
        ".s",
        "99999999999999999999s",
        "300000d",
        "1µ",
    ] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
    check_refused(
        "readTimeout: 10",
        &["line 1, column 14: readTimeout: expected a duration such as 10s or 1d12h, found `10`, did you mean `10s`?"],
    );
}

#[test]
fn durations_are_shown_days_first() {
    for (text, shown) in [
        ("0s", ""),
        ("10s", "10s"),
        ("60s", "1m0s"),
        ("1h", "1h0m0s"),
        ("24h", "1d"),
        ("187h53m20s", "7d19h53m20s"),
        ("1500ms", "1.5s"),
        ("200ms", "200ms"),
        ("1500us", "1.5ms"),
        ("15ns", "15ns"),
        ("1d1ms", "1d1ms"),
        ("61050ms", "1m1.05s"),
    ] {
        let duration = parse_duration(text).unwrap();
        assert_eq!(format_duration(duration), shown, "{text}");
        assert_eq!(parse_duration(shown), Some(duration), "{shown}");
    }
}

#[test]
fn sizes_have_binary_units_and_are_shown_shortest() {
    for (text, bytes, shown) in [
        ("50M", 52_428_800, "50M"),
        ("64K", 65_536, "64K"),
        ("1.5G", 1_610_612_736, "1.5G"),
        ("10MB", 10_485_760, "10M"),
        ("1000", 1_000, "1000B"),
        ("1001B", 1_001, "1001B"),
        ("1536", 1_536, "1.5K"),
        ("1t", 1_099_511_627_776, "1T"),
    ] {
        let size: Size = text.parse().unwrap();
        assert_eq!((size, size.to_string().as_str()), (Size(bytes), shown), "{text}");
        assert_eq!(shown.parse(), Ok(size));
    }
    for text in [
        "",
        "M",
        "-1M",
        "1.M",
        "1X",
        "1.2.3M",
        "20000000T",
        "18446744073709551616",
        "0x10",
    ] {
        assert_eq!(text.parse::<Size>(), Err(()), "{text}");
    }
    check_refused(
        "hlsSegmentMaxSize: big",
        &["line 1, column 20: hlsSegmentMaxSize: expected a size such as 50M, found `big`"],
    );
}

#[test]
fn choices_are_words_and_the_nearest_is_named() {
    check_refused(
        "rtspTransports: [tcp, sctp]",
        &[
            "line 1, column 23: rtspTransports.1: expected one of udp, multicast, tcp, found `sctp`, did you mean `tcp`?",
        ],
    );
    check_refused(
        "rtspTransports: tcp",
        &["line 1, column 17: rtspTransports: expected a list, found `tcp`"],
    );
    for (text, meant) in [
        ("no", Encryption::No),
        ("\"no\"", Encryption::No),
        ("false", Encryption::No),
    ]
    .into_iter()
    .chain([
        ("optional", Encryption::Optional),
        ("yes", Encryption::Strict),
        ("strict", Encryption::Strict),
    ]) {
        assert_eq!(
            accepted(&format!("rtspEncryption: {text}")).global.rtsp_encryption,
            meant,
            "{text}"
        );
    }
}

#[test]
fn addresses_have_a_port() {
    for (text, host, port) in [
        (":0", "", 0),
        ("127.0.0.1:8554", "127.0.0.1", 8554),
        ("'[::1]:80'", "::1", 80),
        ("cam.local:1", "cam.local", 1),
    ] {
        assert_eq!(
            accepted(&format!("rtspAddress: {text}"))
                .global
                .rtsp_address
                .host_port(),
            Some((host, port))
        );
    }
    assert_eq!(
        accepted("apiAddress: unix:///run/a.sock").global.api_address.unix(),
        Some("/run/a.sock")
    );
    for text in ["localhost", ":99999", ":+1", "a b:1", "'[x]:1'", "unix://", "/tmp"] {
        assert!(
            complaints(&format!("rtspAddress: {text}")).contains("expected an address"),
            "{text}"
        );
    }
    assert!(complaints("rtspAddress: 8554").ends_with("found `8554`, did you mean `:8554`?"));
}

#[test]
fn networks_are_addresses_or_ranges() {
    let config = accepted("authInternalUsers: [{user: a, ips: [10.1.2.3/8, '::1', 192.168.1.1]}]");
    let ips: Vec<String> = config.global.auth_internal_users[0]
        .ips
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(ips, ["10.0.0.0/8", "::1/128", "192.168.1.1/32"]);
    check_refused(
        "apiTrustedProxies: [10.0.0.0/33]",
        &[
            "line 1, column 21: apiTrustedProxies.0: expected an address or a network such as 10.0.0.0/8, found `10.0.0.0/33`",
        ],
    );
}

#[test]
fn text_is_taken_as_it_stands() {
    let config = accepted("authInternalUsers:\n- {user: 007, pass: yes}\nsysLogPrefix: 1e3\n");
    let user = &config.global.auth_internal_users[0];
    assert!(user.user.matches("007") && user.pass.0.matches("yes") && !user.pass.0.matches("true"));
    assert_eq!(config.global.sys_log_prefix, "1e3");
}

#[test]
fn credentials_may_be_hashed() {
    let sha256 = "sha256:iMKf5QUPVBcuEn9Yt/E2Ps5p+Ty9hwbTOR+/vLeuZzQ=";
    assert!(complaints(&format!("authInternalUsers: [{{user: a, pass: '{}'}}]", &sha256[..40])).contains("32 bytes"));
    let digest = "sha256:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
    let argon2 = "argon2:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$";
    let config = accepted(&format!("authInternalUsers: [{{user: a, pass: '{digest}'}}]"));
    let pass = &config.global.auth_internal_users[0].pass.0;
    assert!(pass.matches("hello") && !pass.matches("Hello") && pass.is_hashed() && !pass.is_slow());
    assert!(complaints(&format!("authInternalUsers: [{{user: a, pass: '{argon2}'}}]")).contains("PHC string"));
    assert!(!complaints("authInternalUsers: [{user: a, pass: 'argon2:hunter2'}]").contains("hunter2"));
}

#[test]
fn a_password_may_be_an_argon2_hash() {
    use argon2::{Argon2, PasswordHasher, password_hash::phc::PasswordHash};
    let parameters = argon2::Params::new(64, 1, 1, None).unwrap();
    let hasher = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, parameters);
    let hash: PasswordHash = hasher.hash_password_with_salt(b"secret", b"saltsaltsalt").unwrap();
    let config = accepted(&format!("authInternalUsers: [{{user: a, pass: 'argon2:{hash}'}}]"));
    let pass = &config.global.auth_internal_users[0].pass.0;
    assert!(pass.is_slow() && pass.matches("secret") && !pass.matches("Secret"));
}

#[test]
fn fingerprints_are_64_hex_digits() {
    let hex = "ab".repeat(32);
    let colons = vec!["AB"; 32].join(":");
    for text in [&hex, &colons] {
        let config = accepted(&format!("paths: {{a: {{sourceFingerprint: '{text}'}}}}"));
        assert_eq!(
            config.paths.get("a").unwrap().conf.source_fingerprint.sha256(),
            Some([0xab; 32])
        );
    }
    assert!(complaints("pathDefaults: {sourceFingerprint: abc}").contains("expected 64 hex digits"));
}

#[test]
fn sources_have_a_kind_and_their_passwords_are_not_quoted() {
    for (text, kind) in [
        ("publisher", SourceKind::Publisher),
        ("rtsp://user:pass@host/$G1", SourceKind::Rtsp),
        ("rtsps://host", SourceKind::Rtsps),
        ("udp://239.0.0.1:1234", SourceKind::MpegTs),
        ("rtmps://host/live/$G1", SourceKind::Rtmp),
        ("https://host/x.m3u8", SourceKind::Hls),
        ("https://host/x.flv?token=1", SourceKind::Flv),
    ] {
        assert_eq!(
            accepted(&format!("paths: {{a: {{source: '{text}'}}}}"))
                .paths
                .get("a")
                .unwrap()
                .conf
                .source
                .kind(),
            kind
        );
    }
    check_refused(
        "paths: {a: {source: 'rstp://user:hunter2@host'}}",
        &["line 1, column 21: paths.a.source: there is no source of the scheme `rstp`, did you mean `rtsp://…`?"],
    );
    assert!(complaints("paths: {a: {source: publishr}}").ends_with("did you mean `publisher`?"));
    assert!(complaints("paths: {a: {source: 'rtsp://'}}").contains("no source"));
}

#[test]
fn a_chain_is_names_or_maps_and_a_plus_appends() {
    let config = accepted(
        "plugins:\n  door: {file: ./door.wasm, config: {a: [1, x, 007, yes]}}\npathDefaults:\n  plugins: [door]\npaths:\n  a:\n  b: {plugins: [drop-audio]}\n  c: {plugins: [+drop-audio, {use: +keyframes-only, config: {every: 2}}]}\n  d: {plugins: []}\n  e: {plugins: ['builtin:token-auth']}\n",
    );
    let chain = |name: &str| {
        let conf = config.paths.get(name).unwrap().conf.clone();
        conf.plugins.0.iter().map(|link| link.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(chain("a"), ["door"]);
    assert_eq!(chain("b"), ["drop-audio"]);
    assert_eq!(chain("c"), ["door", "drop-audio", "keyframes-only"]);
    assert!(chain("d").is_empty());
    let conf = config.paths.get("c").unwrap().conf.clone();
    assert_eq!(
        conf.plugins.0[2].config.as_ref().unwrap().0,
        serde_json::json!({"every": 2})
    );
    assert_eq!(
        config.paths.get("e").unwrap().conf.plugins.0[0].target(),
        ("token-auth", true)
    );
    assert_eq!(
        config.global.plugins["door"].config.0,
        serde_json::json!({"a": [1, "x", "007", true]})
    );
}

#[test]
fn chains_that_lead_nowhere_are_refused() {
    check_refused(
        "paths:\n  a:\n    plugins: [drop-audo]\n",
        &[
            "line 3, column 15: paths.a.plugins.0: `drop-audo` is neither in the registry (`plugins`) nor bundled, did you mean `drop-audio`?",
        ],
    );
    check_refused(
        "pathDefaults: {plugins: [nope]}\npaths: {a: {plugins: [+drop-audio, +bananas]}}\n",
        &[
            "line 1, column 26: pathDefaults.plugins.0: `nope` is neither in the registry (`plugins`) nor bundled",
            "line 2, column 36: paths.a.plugins.1: `bananas` is neither in the registry (`plugins`) nor bundled",
        ],
    );
    assert!(complaints("paths: {a: {plugins: [+drop-audio, token-auth]}}").contains("either all names begin with `+`"));
    assert!(complaints("paths: {a: {plugins: [{config: 1}]}}").contains("the name of the plugin is missing"));
    assert!(complaints("plugins: {door: {}}").contains("no plugin of this name is bundled"));
    assert!(complaints("plugins: {door: {file: 'builtin:x'}}").contains("no plugin `x` is bundled ("));
    assert!(complaints("plugins: {'a b': {file: x}}").contains("a name has letters"));
    accepted("plugins: {drop-audio: , mine: {file: 'builtin:token-auth'}}\npaths: {a: {plugins: [mine]}}");
}

#[test]
fn a_failure_policy_is_one_word_or_one_per_role() {
    use plugin::{AuthFailure, FilterFailure, SinkFailure, TranscoderFailure};
    let policy = |text: &str| {
        accepted(&format!("plugins: {{a: {{file: x, onError: {text}}}}}"))
            .global
            .plugins["a"]
            .on_error
            .0
            .clone()
    };
    assert_eq!(
        (policy("next").auth, policy("next").filter),
        (AuthFailure::Next, FilterFailure::Pass)
    );
    assert_eq!(
        (policy("close").filter, policy("close").transcoder),
        (FilterFailure::Close, TranscoderFailure::Close)
    );
    assert_eq!(policy("{auth: deny, sink: stop}").sink, SinkFailure::Stop);
    assert!(complaints("plugins: {a: {file: x, onError: dney}}").ends_with("did you mean `deny`?"));
    assert!(complaints("plugins: {a: {file: x, onError: {sink: pass}}}").contains("expected one of restart, stop"));
}

#[test]
fn permissions_name_paths_exactly_or_by_expression() {
    let config = accepted(
        "authInternalUsers: [{user: a, permissions: [{action: read, path: '~^cam'}, {action: publish, path: x}]}]",
    );
    let user = &config.global.auth_internal_users[0];
    assert!(user.permissions[0].path.covers("cam1") && !user.permissions[0].path.covers("mycam"));
    assert!(user.permissions[1].path.covers("x") && !user.permissions[1].path.covers("x/y"));
    for (text, message) in [
        ("[{permissions: []}]", "authInternalUsers.0.user: the name is missing"),
        (
            "[{user: any, pass: x}]",
            "authInternalUsers.0.pass: the user `any` has no password",
        ),
        (
            "[{user: a, permissions: [{path: x}]}]",
            "authInternalUsers.0.permissions.0: the action is missing",
        ),
        ("[{user: a, permissions: [{action: red}]}]", "did you mean `read`?"),
        (
            "[{user: a, permissions: [{action: read, path: '~('}]}]",
            "not a regular expression: unclosed group",
        ),
    ] {
        let complaints = complaints(&format!("authInternalUsers: {text}"));
        assert!(complaints.contains(message), "{complaints}");
    }
}

#[test]
fn rules_between_keys_are_placed_at_the_key_that_breaks_them() {
    for (text, message) in [
        (
            "writeQueueSize: 500",
            "line 1, column 1: writeQueueSize: it must be a power of two",
        ),
        (
            "udpMaxPayloadSize: 1500",
            "line 1, column 1: udpMaxPayloadSize: it must be from 1 to 1472",
        ),
        (
            "api: yes\napiAddress: ''",
            "line 2, column 1: apiAddress: `api` is on and needs an address",
        ),
        (
            "rtspEncryption: strict\nrtspsAddress: ''",
            "line 2, column 1: rtspsAddress: `rtsp` is on and needs an address",
        ),
        (
            "rtpAddress: :8001",
            "line 1, column 1: rtpAddress: the port must be even",
        ),
        (
            "rtcpAddress: :8010",
            "line 1, column 1: rtcpAddress: the port must be the one after that of rtpAddress",
        ),
        (
            "rtpAddress: ''",
            "line 1, column 1: rtpAddress: the transport `udp` needs an address",
        ),
        (
            "rtspTransports: []",
            "line 1, column 1: rtspTransports: it needs at least one transport",
        ),
        (
            "multicastIPRange: 10.0.0.0/8",
            "multicastIPRange: the transport `multicast` needs a range such as 224.1.0.0/16",
        ),
        (
            "multicastRTPPort: 0",
            "multicastRTPPort: the transport `multicast` needs a port",
        ),
        ("rtspAuthMethods: []", "rtspAuthMethods: it needs at least one method"),
        (
            "rtspAuthMethods: [basic, digest]\nauthInternalUsers: [{user: 'sha256:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ='}]",
            "line 1, column 1: rtspAuthMethods: `digest` cannot check a user whose name or password is hashed",
        ),
        (
            "rtspAuthMethods: [digest]\nrtspDigestAlgorithms: []",
            "`digest` needs at least one algorithm",
        ),
        (
            "webrtcLocalUDPAddress: ''",
            "`webrtc` needs this, webrtcLocalTCPAddress or webrtcICEServers2",
        ),
        (
            "webrtcIPsFromInterfaces: no",
            "`webrtc` needs this or webrtcAdditionalHosts",
        ),
        ("hlsSegmentCount: 3", "the variant lowLatency needs at least 7 segments"),
        (
            "limits: {connections: 0}",
            "limits.connections: a bound of zero would let nobody in",
        ),
        (
            "limits: {tlsHandshake: 0s}",
            "limits.tlsHandshake: a bound of zero would let nobody in",
        ),
        (
            "plugins: {a: {file: x, limits: {cpuShare: 0}}}",
            "it is a number of cores above zero",
        ),
        ("stateDirectory: ''", "it must name a directory"),
    ] {
        let complaints = complaints(text);
        assert!(complaints.contains(message), "{text}\n{complaints}");
    }
    for text in [
        "rtspTransports: [tcp]\nrtpAddress: ''\n",
        "rtsp: no\nrtspAddress: ''\n",
        "rtpAddress: :0\nrtcpAddress: :0\n",
    ] {
        accepted(text);
    }
}

#[test]
fn rules_of_paths_are_placed_at_the_key_that_breaks_them() {
    for (text, message) in [
        (
            "{'~^a': {source: 'rtsp://h'}}",
            "paths.~^a.source: a source on a path that stands for many needs `sourceOnDemand: yes`",
        ),
        (
            "{all: {runOnInit: x}}",
            "paths.all.runOnInit: a path that stands for many has no start",
        ),
        (
            "{a: {source: 'rtsp://h', runOnDemand: x}}",
            "paths.a.runOnDemand: it needs `source: publisher`",
        ),
        (
            "{a: {source: redirect}}",
            "paths.a.source: `redirect` needs sourceRedirect",
        ),
        (
            "{a: {sourceRedirect: /b}}",
            "paths.a.sourceRedirect: it needs `source: redirect`",
        ),
        (
            "{a: {srtReadPassphrase: short}}",
            "paths.a.srtReadPassphrase: it has 10 to 79 characters",
        ),
        (
            "{a: {source: 'rtsp://h', srtPublishPassphrase: longenough1}}",
            "srtPublishPassphrase: it needs `source: publisher`",
        ),
        (
            "{all: {alwaysAvailable: yes}}",
            "it does not go with a path that stands for many",
        ),
        (
            "{a: {alwaysAvailable: yes, runOnDemand: x}}",
            "it does not go with `runOnDemand`",
        ),
        ("{a: {recordPath: ./x/%s}}", "paths.a.recordPath: it must contain %path"),
        (
            "{a: {recordPath: './%path/%Y'}}",
            "it must contain %s or all of %Y %m %d %H %M %S",
        ),
        (
            "{a: {recordPath: './%path/../%s'}}",
            "`..` may stand in front of the first variable only",
        ),
        (
            "{a: {recordPath: 's3://%path/%s'}}",
            "the name of a bucket comes first, without variables",
        ),
        (
            "{a: {recordPath: 's3://key:secret@bucket/%path/%s'}}",
            "no name of a bucket: expected s3://bucket/prefix",
        ),
        (
            "{a: {recordSegmentDuration: 2d, recordDeleteAfter: 0s}}",
            "it is at most 1d",
        ),
        (
            "{a: {recordDeleteAfter: 10m}}",
            "it must not be below recordSegmentDuration",
        ),
        (
            "{a: {rtspUDPSourcePortRange: [2, 1]}}",
            "it is two ports, the lower one first",
        ),
        ("{a: {forward: [{}]}}", "every entry needs `dest`"),
        (
            "{a: {forward: [{dest: 'rmtp://h/live/secret'}]}}",
            "paths.a.forward.0.dest: streams are not sent on by the scheme `rmtp`, did you mean `rtmp://…`?",
        ),
        (
            "{a: {forward: [{dest: 'rtmp:///live/key'}]}}",
            "paths.a.forward.0.dest: the URL has no host, or a character that no URL has",
        ),
        (
            "{a: {forward: [{dest: h/live/key}]}}",
            "expected a URL such as rtmp://host/app/key",
        ),
        (
            "{a: {forward: [{dest: 'rtmps://h/a/k', destFingerprint: 12}]}}",
            "paths.a.forward.0.destFingerprint: expected 64 hex digits",
        ),
        (
            "{a: {rpiCameraBrightness: 2}}",
            "paths.a.rpiCameraBrightness: it is from -1 to 1",
        ),
        (
            "{a: {source: rpiCamera}, b: {source: rpiCamera}}",
            "paths.b.source: the path `a` has the same stream of this camera",
        ),
    ] {
        let complaints = complaints(&format!("paths: {text}"));
        assert!(complaints.contains(message), "{text}\n{complaints}");
    }
    accepted("paths: {a: {source: rpiCamera}, b: {source: rpiCamera, rpiCameraSecondary: yes}}");
    accepted(
        "paths: {'~^a(.*)$': {source: 'rtsp://h/$G1', sourceOnDemand: yes}, '~r': {source: redirect, sourceRedirect: /x}}",
    );
}

#[test]
fn a_rule_broken_by_an_inherited_key_points_at_path_defaults() {
    let text = "pathDefaults:\n  runOnInit: x\npaths:\n  all_others:\n";
    check_refused(
        text,
        &["line 2, column 3: paths.all_others.runOnInit: a path that stands for many has no start"],
    );
}

#[test]
fn authentication_keys_of_paths_follow_the_global_ones() {
    let config = accepted("authOrder: [method]\nauthFallback: internal\npaths: {a: , b: {authFallback: none}}\n");
    let conf = |name: &str| config.paths.get(name).unwrap().conf.clone();
    assert_eq!(
        (conf("a").auth_order.clone(), conf("a").auth_fallback),
        (vec![AuthStep::Method], AuthFallback::Internal)
    );
    assert_eq!(conf("b").auth_fallback, AuthFallback::None);
}
