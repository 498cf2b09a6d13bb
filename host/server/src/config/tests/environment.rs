//! Environment variables over the file.

use super::*;

fn with(text: &str, variables: &[(&str, &str)]) -> Result<Config, Problems> {
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    parse(text, &variables)
}

fn accepted_with(text: &str, variables: &[(&str, &str)]) -> Config {
    with(text, variables).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn variables_win_over_the_file() {
    let config = accepted_with(
        "logLevel: error\nrtspAddress: :1\n",
        &[
            ("MTX_LOGLEVEL", "debug"),
            ("MTX_READTIMEOUT", "5s"),
            ("MTX_API", "yes"),
            ("MTX_RTSPTRANSPORTS", "tcp, udp"),
        ],
    );
    assert_eq!(config.global.log_level, LogLevel::Debug);
    assert_eq!(config.global.read_timeout.as_secs(), 5);
    assert_eq!(config.global.rtsp_transports, [RtspTransport::Tcp, RtspTransport::Udp]);
    assert!(config.global.api && config.global.rtsp_address.as_str() == ":1");
}

#[test]
fn the_old_prefix_works_and_the_new_one_wins() {
    let config = accepted_with(
        "",
        &[
            ("RTSP_RTSPADDRESS", ":1"),
            ("RTSP_LOGLEVEL", "warn"),
            ("MTX_LOGLEVEL", "debug"),
        ],
    );
    assert_eq!(
        (config.global.rtsp_address.as_str(), config.global.log_level),
        (":1", LogLevel::Debug)
    );
    assert!(config.warnings.iter().all(|line| !line.contains("sets nothing")));
}

#[test]
fn levels_are_joined_by_underscores_and_items_numbered() {
    let config = accepted_with(
        "paths: {Front_Door: {maxReaders: 1}}\n",
        &[
            ("MTX_PATHDEFAULTS_READERSTART", "live"),
            ("MTX_PATHS_CAM1_SOURCE", "rtsp://h"),
            ("MTX_PATHS_FRONT_DOOR_MAXREADERS", "7"),
            ("MTX_AUTHINTERNALUSERS_0_USER", "me"),
            ("MTX_AUTHINTERNALUSERS_0_PASS", "null"),
            ("MTX_AUTHINTERNALUSERS_0_IPS", ""),
            ("MTX_AUTHINTERNALUSERS_0_PERMISSIONS_0_ACTION", "api"),
            ("MTX_AUTHINTERNALUSERS_2_USER", "third"),
            ("MTX_LIMITS_CONNECTIONS", "5"),
            ("MTX_PLUGINS_DOOR_FILE", "x.wasm"),
            ("MTX_PLUGINS_DOOR_CONFIG", "{\"a\": [1]}"),
            ("MTX_PLUGINS_DOOR_GRANT_CREDENTIALS", "yes"),
        ],
    );
    assert_eq!(config.path_defaults.reader_start, ReaderStart::Live);
    assert_eq!(config.paths.get("cam1").unwrap().conf.source.as_str(), "rtsp://h");
    assert_eq!(config.paths.get("Front_Door").unwrap().conf.max_readers, 7);
    let users = &config.global.auth_internal_users;
    assert_eq!(
        (users.len(), users[0].permissions[0].action, users[2].user.plain()),
        (3, Action::Api, Some("third"))
    );
    assert!(users[0].pass.0.matches("null") && users[1].is_anybody());
    assert_eq!(config.global.limits.connections, 5);
    let door = &config.global.plugins["door"];
    assert!(door.grant.credentials && door.config.0 == serde_json::json!({"a": [1]}));
}

#[test]
fn item_ten_comes_after_item_nine() {
    let names: Vec<String> = (0..12).map(|i| format!("MTX_WEBRTCICESERVERS2_{i}_URL")).collect();
    let variables: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "stun:h:1")).collect();
    assert_eq!(accepted_with("", &variables).global.webrtc_ice_servers2.len(), 12);
}

#[test]
fn old_keys_work_as_variables() {
    let config = accepted_with("", &[("MTX_PROTOCOLS", "tcp"), ("MTX_PATHS_A_RUNONREADY", "x")]);
    assert_eq!(config.global.rtsp_transports, [RtspTransport::Tcp]);
    assert_eq!(config.paths.get("a").unwrap().conf.run_on_available, "x");
    assert_eq!(
        config.warnings[0],
        "`protocols` (MTX_PROTOCOLS) is deprecated: use `rtspTransports`"
    );
}

#[test]
fn a_wrong_value_names_the_variable() {
    let problems = with("", &[("MTX_READTIMEOUT", "soon")]).err().unwrap().to_string();
    let expected =
        "environment variable MTX_READTIMEOUT: readTimeout: expected a duration such as 10s or 1d12h, found `soon`";
    assert_eq!(problems, expected);
    let problems = with("", &[("MTX_API", "")]).err().unwrap().to_string();
    assert!(
        problems.starts_with("environment variable MTX_API: api: expected yes or no"),
        "{problems}"
    );
}

#[test]
fn a_variable_that_sets_nothing_is_a_warning_unless_it_is_a_command_s() {
    let warnings = |name: &str| accepted_with("", &[(name, "x")]).warnings;
    assert_eq!(
        warnings("MTX_RTSPADRESS")[0],
        "the environment variable MTX_RTSPADRESS sets nothing, did you mean MTX_RTSPADDRESS?"
    );
    assert_eq!(
        warnings("MTX_BANANAS")[0],
        "the environment variable MTX_BANANAS sets nothing: no setting has that name"
    );
    for name in [
        "MTX_PATH",
        "MTX_QUERY",
        "RTSP_PORT",
        "MTX_PATHS_A_NOPE",
        "MTXLOGLEVEL",
        "PATH",
    ] {
        let config = accepted_with("", &[(name, "x")]);
        let told = config
            .warnings
            .iter()
            .filter(|line| line.contains("sets nothing"))
            .count();
        assert_eq!(told, usize::from(name.starts_with("MTX_PATHS")), "{name}");
        assert!(config.paths.entries().is_empty());
    }
}

#[test]
fn odd_variables_do_no_harm() {
    for name in [
        "MTX_",
        "MTX__",
        "MTX_PATHS",
        "MTX_PATHS_",
        "MTX_PATHS__SOURCE",
        "MTX_AUTHINTERNALUSERS_99999999999_USER",
    ] {
        assert!(
            accepted_with("", &[(name, "x")]).warnings[0].contains("sets nothing"),
            "{name}"
        );
    }
    // Something that is not a list as a list, and the other way round.
    for (name, value) in [
        ("MTX_LOGDESTINATIONS_0", "file"),
        ("MTX_LOGDESTINATIONS", "stdout,file"),
    ] {
        assert!(
            accepted_with("", &[(name, value)])
                .global
                .log_destinations
                .contains(&LogDestination::File),
            "{name}"
        );
    }
}

#[test]
fn encrypted_configurations_are_refused_while_they_cannot_be_read() {
    let problems = with("", &[("MTX_CONFKEY", "k")]).err().unwrap().to_string();
    assert!(
        problems.contains("encrypted configurations are not built yet"),
        "{problems}"
    );
}
