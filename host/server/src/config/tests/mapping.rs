//! Deprecated keys, and what the API shows and changes.

use super::{shipped::SHIPPED, *};
use serde_json::json;

/// The first warning of a text, and the configuration.
fn deprecated(text: &str) -> (String, Config) {
    let config = accepted(text);
    (config.warnings[0].clone(), config)
}

#[test]
fn old_global_keys_mean_their_successors() {
    for (text, key, value, advice) in [
        (
            "readBufferCount: 1024",
            "writeQueueSize",
            json!(1024),
            "use `writeQueueSize`",
        ),
        (
            "apiAllowOrigin: x",
            "apiAllowOrigins",
            json!(["x"]),
            "use `apiAllowOrigins`",
        ),
        (
            "metricsAllowOrigin: x",
            "metricsAllowOrigins",
            json!(["x"]),
            "use `metricsAllowOrigins`",
        ),
        (
            "pprofAllowOrigin: x",
            "pprofAllowOrigins",
            json!(["x"]),
            "use `pprofAllowOrigins`",
        ),
        (
            "playbackAllowOrigin: x",
            "playbackAllowOrigins",
            json!(["x"]),
            "use `playbackAllowOrigins`",
        ),
        ("rtspDisable: yes", "rtsp", json!(false), "use `rtsp`"),
        (
            "protocols: [tcp]",
            "rtspTransports",
            json!(["tcp"]),
            "use `rtspTransports`",
        ),
        (
            "encryption: optional",
            "rtspEncryption",
            json!("optional"),
            "use `rtspEncryption`",
        ),
        ("serverKey: k", "rtspServerKey", json!("k"), "use `rtspServerKey`"),
        ("serverCert: c", "rtspServerCert", json!("c"), "use `rtspServerCert`"),
        (
            "authMethods: [digest]",
            "rtspAuthMethods",
            json!(["digest"]),
            "use `rtspAuthMethods`",
        ),
        (
            "rtspUDPReadBufferSize: 5",
            "udpReadBufferSize",
            json!(5),
            "use `udpReadBufferSize`",
        ),
        ("rtmpDisable: yes", "rtmp", json!(false), "use `rtmp`"),
        ("hlsDisable: no", "hls", json!(true), "use `hls`"),
        (
            "hlsAllowOrigin: x",
            "hlsAllowOrigins",
            json!(["x"]),
            "use `hlsAllowOrigins`",
        ),
        ("webrtcDisable: yes", "webrtc", json!(false), "use `webrtc`"),
        (
            "webrtcAllowOrigin: x",
            "webrtcAllowOrigins",
            json!(["x"]),
            "use `webrtcAllowOrigins`",
        ),
        (
            "webrtcICEUDPMuxAddress: :1",
            "webrtcLocalUDPAddress",
            json!(":1"),
            "use `webrtcLocalUDPAddress`",
        ),
        (
            "webrtcICETCPMuxAddress: :1",
            "webrtcLocalTCPAddress",
            json!(":1"),
            "use `webrtcLocalTCPAddress`",
        ),
        (
            "webrtcICEHostNAT1To1IPs: [h]",
            "webrtcAdditionalHosts",
            json!(["h"]),
            "use `webrtcAdditionalHosts`",
        ),
        (
            "webrtcICEServers: ['turn:u:p:h:1', 'stun:h:2']",
            "webrtcICEServers2",
            json!([
                {"url": "turn:h:1", "username": "u", "password": "<redacted>", "clientOnly": false},
                {"url": "stun:h:2", "username": "", "password": "", "clientOnly": false}
            ]),
            "use `webrtcICEServers2`",
        ),
        (
            "moqHTTPS2Address: :1",
            "moqHTTP2Address",
            json!(":1"),
            "use `moqHTTP2Address`",
        ),
        (
            "moqHTTPS3Address: :1",
            "moqHTTP3Address",
            json!(":1"),
            "use `moqHTTP3Address`",
        ),
        (
            "authJWTInHTTPQuery: yes",
            "api",
            json!(false),
            "it has no effect; send the token in the Authorization header",
        ),
    ] {
        let (warning, config) = deprecated(text);
        let old = text.split(':').next().unwrap();
        assert_eq!(warning, format!("`{old}` (line 1) is deprecated: {advice}"));
        assert_eq!(config.global_json()[key], value, "{text}");
    }
}

#[test]
fn old_recording_keys_move_to_path_defaults() {
    let config = accepted(
        "record: yes\nrecordPath: ./%path/%s\nrecordFormat: mpegts\nrecordPartDuration: 2s\nrecordSegmentDuration: 2h\nrecordDeleteAfter: 3h\npaths: {a: }\n",
    );
    let conf = config.paths.get("a").unwrap().json();
    for (key, value) in [
        ("record", json!(true)),
        ("recordPath", json!("./%path/%s")),
        ("recordFormat", json!("mpegts")),
        ("recordPartDuration", json!("2s")),
        ("recordSegmentDuration", json!("2h0m0s")),
        ("recordDeleteAfter", json!("3h0m0s")),
    ] {
        assert_eq!(conf[key], value, "{key}");
    }
    assert_eq!(
        config.warnings[0],
        "`record` (line 1) is deprecated: use `record` below pathDefaults"
    );
}

#[test]
fn an_old_http_address_asks_for_the_method_it_meant() {
    check_refused(
        "externalAuthenticationURL: http://h/\n",
        &[
            "line 1, column 1: authMethod: the authentication method `http` is not built yet; use `internal` or an auth plugin",
        ],
    );
}

#[test]
fn old_path_keys_mean_their_successors() {
    for (text, key, value, advice) in [
        (
            "disablePublisherOverride: yes",
            "overridePublisher",
            json!(false),
            "use `overridePublisher`",
        ),
        (
            "sourceProtocol: tcp",
            "rtspTransport",
            json!("tcp"),
            "use `rtspTransport`",
        ),
        (
            "sourceAnyPortEnable: yes",
            "rtspAnyPort",
            json!(true),
            "use `rtspAnyPort`",
        ),
        (
            "rpiCameraProfile: main",
            "rpiCameraH264Profile",
            json!("main"),
            "use `rpiCameraH264Profile`",
        ),
        (
            "rpiCameraLevel: '4.0'",
            "rpiCameraH264Level",
            json!("4.0"),
            "use `rpiCameraH264Level`",
        ),
        (
            "rpiCameraHardwareH264Profile: main",
            "rpiCameraH264Profile",
            json!("main"),
            "use `rpiCameraH264Profile`",
        ),
        (
            "rpiCameraHardwareH264Level: '4.0'",
            "rpiCameraH264Level",
            json!("4.0"),
            "use `rpiCameraH264Level`",
        ),
        (
            "rpiCameraSoftwareH264Profile: main",
            "rpiCameraH264Profile",
            json!("main"),
            "use `rpiCameraH264Profile`",
        ),
        (
            "rpiCameraSoftwareH264Level: '4.0'",
            "rpiCameraH264Level",
            json!("4.0"),
            "use `rpiCameraH264Level`",
        ),
        (
            "rpiCameraJPEGQuality: 3",
            "rpiCameraMJPEGQuality",
            json!(3),
            "use `rpiCameraMJPEGQuality`",
        ),
        (
            "runOnReady: x y",
            "runOnAvailable",
            json!("x y"),
            "use `runOnAvailable`",
        ),
        (
            "runOnReadyRestart: yes",
            "runOnAvailableRestart",
            json!(true),
            "use `runOnAvailableRestart`",
        ),
        (
            "runOnNotReady: x",
            "runOnUnavailable",
            json!("x"),
            "use `runOnUnavailable`",
        ),
        (
            "rtspUDPReadBufferSize: 1",
            "maxReaders",
            json!(0),
            "it has no effect; set the global udpReadBufferSize",
        ),
        (
            "mpegtsUDPReadBufferSize: 1",
            "maxReaders",
            json!(0),
            "it has no effect; set the global udpReadBufferSize",
        ),
        (
            "rtpUDPReadBufferSize: 1",
            "maxReaders",
            json!(0),
            "it has no effect; set the global udpReadBufferSize",
        ),
    ] {
        let (warning, config) = deprecated(&format!("paths: {{a: {{{text}}}}}"));
        let old = text.split(':').next().unwrap();
        assert_eq!(warning, format!("`{old}` (paths.a, line 1) is deprecated: {advice}"));
        assert_eq!(config.paths.get("a").unwrap().json()[key], value, "{text}");
    }
    for old in ["fallback: /b", "playback: yes"] {
        let (warning, _) = deprecated(&format!("pathDefaults: {{{old}}}"));
        assert!(
            warning.contains("(pathDefaults, line 1) is deprecated: it has no effect; "),
            "{warning}"
        );
    }
}

#[test]
fn an_old_key_in_many_places_is_one_warning() {
    let (warning, config) = deprecated("paths:\n  a: {runOnReady: x}\n  b: {runOnReady: x}\n  c: {runOnReady: }\n");
    assert_eq!(
        warning,
        "`runOnReady` (in 2 places, the first: paths.a, line 2) is deprecated: use `runOnAvailable`"
    );
    assert_eq!(
        config
            .warnings
            .iter()
            .filter(|line| line.contains("deprecated"))
            .count(),
        1
    );
}

#[test]
fn a_live_key_beside_its_old_name_counts() {
    let config = accepted("rtspDisable: yes\nrtsp: yes\npaths: {a: {runOnReady: old, runOnAvailable: new}}\n");
    assert!(config.global.rtsp);
    assert_eq!(config.paths.get("a").unwrap().conf.run_on_available, "new");
}

#[test]
fn a_wrong_value_under_an_old_name_is_told_by_that_name() {
    check_refused(
        "protocols: [tpc]",
        &["line 1, column 13: protocols.0: expected one of udp, multicast, tcp, found `tpc`, did you mean `tcp`?"],
    );
    check_refused(
        "rtspDisable: perhaps",
        &["line 1, column 14: rtspDisable: expected yes or no, found `perhaps`"],
    );
}

#[test]
fn old_credentials_of_paths_become_users_that_others_cannot_pass_by() {
    let config = accepted(
        "paths:\n  cam1: {publishUser: p, publishPass: q, publishIPs: [10.0.0.0/8], readUser: r, readPass: s}\n  all_others:\n",
    );
    let may = |user: &str, pass: &str, ip: &str, action: Action, path: &str| {
        config.global.auth_internal_users.iter().any(|known| {
            (known.is_anybody() || known.user.matches(user) && known.pass.0.matches(pass))
                && (known.ips.is_empty()
                    || known
                        .ips
                        .iter()
                        .any(|net| net.contains(&ip.parse::<std::net::IpAddr>().unwrap())))
                && known
                    .permissions
                    .iter()
                    .any(|permission| permission.action == action && permission.path.covers(path))
        })
    };
    assert!(may("p", "q", "10.1.1.1", Action::Publish, "cam1"));
    assert!(!may("p", "q", "11.1.1.1", Action::Publish, "cam1"));
    assert!(!may("p", "wrong", "10.1.1.1", Action::Publish, "cam1"));
    assert!(
        !may("", "", "10.1.1.1", Action::Publish, "cam1"),
        "all_others is not a way around"
    );
    assert!(may("r", "s", "1.1.1.1", Action::Read, "cam1") && !may("p", "q", "10.1.1.1", Action::Read, "cam1"));
    assert!(may("", "", "1.1.1.1", Action::Publish, "other") && may("", "", "1.1.1.1", Action::Read, "other"));
    assert!(may("", "", "127.0.0.1", Action::Api, "") && !may("", "", "1.1.1.1", Action::Api, ""));
}

#[test]
fn old_credentials_and_users_exclude_each_other() {
    check_refused(
        "authInternalUsers: []\npaths:\n  a:\n    readUser: x\n",
        &[
            "line 4, column 5: readUser: credentials of paths and authInternalUsers exclude each other; move them to authInternalUsers",
        ],
    );
    let spelled_out = format!(
        "{}\npaths: {{a: {{readUser: x}}}}\n",
        SHIPPED.split("\npaths:").next().unwrap()
    );
    assert!(
        accepted(&spelled_out)
            .global
            .auth_internal_users
            .iter()
            .any(|user| user.user.matches("x"))
    );
}

#[test]
fn the_api_shows_values_as_mediamtx_does() {
    let config = accepted(
        "hlsCDNSecret: s\nplugins: {a: {file: x, config: {key: secret}}}\nauthInternalUsers: [{user: u, pass: p, ips: [::1]}]\npaths: {a: {srtReadPassphrase: longenough1, source: 'rtsp://u:p@camera/1?token=t'}}\n",
    );
    let global = config.global_json();
    for (key, value) in [
        ("readTimeout", json!("10s")),
        ("hlsMuxerCloseAfter", json!("1m0s")),
        ("hlsSegmentMaxSize", json!("50M")),
        ("logDestinations", json!(["stdout"])),
        ("rtspTransports", json!(["udp", "multicast", "tcp"])),
        ("rtspEncryption", json!("no")),
        ("webrtcAdditionalHosts", json!([])),
        ("hlsCDNSecret", json!("<redacted>")),
        (
            "authInternalUsers",
            json!([{"user": "u", "pass": "<redacted>", "ips": ["::1/128"], "permissions": []}]),
        ),
    ] {
        assert_eq!(global[key], value, "{key}");
    }
    assert_eq!(global["plugins"]["a"]["config"], "<redacted>");
    let path = config.paths.get("a").unwrap().json();
    for (key, value) in [
        ("name", json!("a")),
        ("recordDeleteAfter", json!("1d")),
        ("recordPreRoll", json!("")),
        ("srtReadPassphrase", json!("<redacted>")),
        ("srtPublishPassphrase", json!("")),
        ("rpiCameraAWBGains", json!([0.0, 0.0])),
        ("forward", json!([])),
    ] {
        assert_eq!(path[key], value, "{key}");
    }
    assert!(global.get("paths").is_none() && global.get("pathDefaults").is_none());
}

#[test]
fn what_the_api_shows_can_be_sent_back_and_changes_nothing() {
    let config = accepted(
        "hlsCDNSecret: s\nplugins: {a: {file: x, config: {key: k}}}\nauthInternalUsers: [{user: u, pass: p}, {user: v, pass: q}]\npathDefaults: {maxReaders: 2}\npaths: {a: {srtReadPassphrase: longenough1, source: 'rtsp://u:p@camera/1?token=t', forward: [{dest: 'rtmp://h/live/one'}, {dest: 'rtmp://h/live/two', destFingerprint: '00000000000000000000000000000000000000000000000000000000000000ff'}, {dest: 'rtmp://i/live/three'}]}}\n",
    );
    let same = config.edit(Edit::Global, &config.global_json()).unwrap();
    assert!(same.global == config.global);
    let mut conf = config.paths.get("a").unwrap().json();
    conf.as_object_mut().unwrap().remove("name");
    assert_eq!(conf["source"], "rtsp://<redacted>@camera/1?token=<redacted>");
    assert_eq!(conf["forward"][1]["dest"], "rtmp://h/live/<redacted>");
    let same = config.edit(Edit::ReplacePath("a"), &conf).unwrap();
    assert!(same.paths.get("a").unwrap().conf == config.paths.get("a").unwrap().conf);
    conf["forward"].as_array_mut().unwrap().remove(1);
    let one = config.edit(Edit::ReplacePath("a"), &conf).unwrap();
    let left = &one.paths.get("a").unwrap().conf.forward;
    let left: Vec<&str> = left.iter().map(|forward| forward.dest.as_str()).collect();
    assert_eq!(left, ["rtmp://h/live/one", "rtmp://i/live/three"]);
}

#[test]
fn masked_secrets_follow_their_user_when_the_list_changes() {
    let config = accepted("authInternalUsers: [{user: u, pass: p}, {user: v, pass: q}]\n");
    let users = json!({"authInternalUsers": [{"user": "v", "pass": "<redacted>"}, {"user": "w", "pass": "new"}]});
    let users = config.edit(Edit::Global, &users).unwrap().global.auth_internal_users;
    assert!(users[0].pass.0.matches("q") && users[1].pass.0.matches("new") && users.len() == 2);
}

#[test]
fn the_api_changes_settings_and_paths() {
    let config = accepted("paths: {a: {maxReaders: 1, readerStart: live}}\n");
    let changed = config
        .edit(Edit::Global, &json!({"readTimeout": "20s", "api": true}))
        .unwrap();
    assert!(changed.global.api && changed.global.read_timeout.as_secs() == 20);
    let changed = config.edit(Edit::PatchPath("a"), &json!({"maxReaders": 3})).unwrap();
    let conf = changed.paths.get("a").unwrap().conf.clone();
    assert_eq!((conf.max_readers, conf.reader_start), (3, ReaderStart::Live));
    let changed = config.edit(Edit::ReplacePath("a"), &json!({"maxReaders": 3})).unwrap();
    assert_eq!(changed.paths.get("a").unwrap().conf.reader_start, ReaderStart::Keyframe);
    let changed = config.edit(Edit::PathDefaults, &json!({"maxReaders": 9})).unwrap();
    assert_eq!(
        changed
            .edit(Edit::AddPath("b"), &json!({}))
            .unwrap()
            .paths
            .get("b")
            .unwrap()
            .conf
            .max_readers,
        9
    );
    assert!(
        config
            .edit(Edit::DeletePath("a"), &Json::Null)
            .unwrap()
            .paths
            .entries()
            .is_empty()
    );
}

#[test]
fn wrong_changes_are_refused_and_leave_all_as_it_is() {
    let config = accepted("paths: {a: }\n");
    for (edit, body, message) in [
        (Edit::Global, json!({"nope": 1}), "nope: unknown key"),
        (
            Edit::Global,
            json!({"api": "yes"}),
            "api: expected yes or no, found the text \"yes\", did you mean `yes`?",
        ),
        (Edit::Global, json!({"paths": {}}), "`paths` is not a global setting"),
        (Edit::Global, json!([]), "the body must be a JSON object"),
        (Edit::AddPath("a"), json!({}), "path already exists"),
        (
            Edit::AddPath("../b"),
            json!({}),
            "paths.../b: invalid path name: it has a dot segment",
        ),
        (Edit::PatchPath("b"), json!({}), "path not found"),
        (Edit::DeletePath("b"), json!({}), "path not found"),
        (
            Edit::PatchPath("a"),
            json!({"runOnInit": "x"}),
            "runOnInit: commands are not set through the API unless allowCommandsFromApi is set in the file",
        ),
    ] {
        let problems = config.edit(edit, &body).err().unwrap();
        assert_eq!(problems.to_string(), message);
    }
    assert!(
        accepted("allowCommandsFromApi: yes\npaths: {a: }")
            .edit(Edit::PatchPath("a"), &json!({"runOnInit": "x"}))
            .is_ok()
    );
}
