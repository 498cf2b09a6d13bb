//! The configuration as a whole: what is accepted, what is refused and with which words.

mod environment;
mod grants;
mod hostile;
mod mapping;
mod shipped;
mod sources;
mod values;

use super::*;

/// A configuration that is accepted.
fn accepted(text: &str) -> Config {
    parse(text, &[]).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

/// The complaints about a text, one per line.
fn complaints(text: &str) -> String {
    match parse(text, &[]) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(problems) => problems.to_string(),
    }
}

/// Checks that a text is refused with exactly these lines.
fn check_refused(text: &str, expected: &[&str]) {
    assert_eq!(complaints(text), expected.join("\n"), "\n{text}");
}

fn warnings(text: &str) -> Vec<String> {
    accepted(text).warnings
}

#[test]
fn nothing_at_all_is_the_defaults() {
    for text in [
        "",
        "\n",
        "# only a comment\n",
        "---\n",
        "paths:\n",
        "pathDefaults:\npaths: {}\nplugins:\nlimits:\n",
    ] {
        let config = accepted(text);
        assert!(
            config.global == Global::default() && config.path_defaults == PathConf::default(),
            "{text:?}"
        );
        assert!(config.paths.entries().is_empty());
    }
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_right_one() {
    check_refused(
        "rtspAdress: :554",
        &["line 1, column 1: rtspAdress: unknown key, did you mean `rtspAddress`?"],
    );
    check_refused(
        "logLevel: info\npaths:\n  cam1:\n    sorce: rtsp://host/a\n",
        &["line 4, column 5: paths.cam1.sorce: unknown key, did you mean `source`?"],
    );
    check_refused(
        "authInternalUsers:\n- user: a\n  permisions: []\n",
        &["line 3, column 3: authInternalUsers.0.permisions: unknown key, did you mean `permissions`?"],
    );
    check_refused("bananas: 1", &["line 1, column 1: bananas: unknown key"]);
    check_refused(
        "\"a\\nb\\e[2J\": 1",
        &["line 1, column 1: a\\nb\\u{1b}[2J: unknown key"],
    );
}

#[test]
fn a_path_key_at_the_top_says_where_it_belongs() {
    let place = "this is a key of a path: put it below pathDefaults or an entry of paths";
    check_refused("source: publisher", &[&format!("line 1, column 1: source: {place}")]);
}

#[test]
fn all_problems_are_listed_in_the_order_of_the_file() {
    check_refused(
        "rtsp: maybe\nlogLevel: inof\nreadTimeout: 0s\npaths:\n  a/../b:\n  cam:\n    sourceOnDemand: yes\n    x1y2: 3\n",
        &[
            "line 1, column 7: rtsp: expected yes or no, found `maybe`",
            "line 2, column 11: logLevel: expected one of error, warn, info, debug, found `inof`, did you mean `info`?",
            "line 3, column 1: readTimeout: it must be longer than zero",
            "line 5, column 3: paths.a/../b: invalid path name: it has a dot segment",
            "line 7, column 5: paths.cam.sourceOnDemand: nothing is pulled on a path whose source is `publisher`",
            "line 8, column 5: paths.cam.x1y2: unknown key",
        ],
    );
}

#[test]
fn a_hopeless_file_is_cut_short() {
    let text: String = (0..250).map(|i| format!("nonsense{i}: 1\n")).collect();
    let complaints = complaints(&text);
    assert_eq!(complaints.lines().count(), 101);
    assert!(complaints.ends_with("… and 150 more"), "{complaints}");
}

#[test]
fn yaml_that_is_none_names_line_and_column() {
    for (text, line) in [
        ("limits:\n\tconnections: 1\n", "line 2,"),
        ("rtsp: [yes\npaths: x\n", "line 2,"),
        ("rtsp: 'yes\n", "line 1,"),
        ("a: *nowhere\n", "line 1,"),
    ] {
        assert!(complaints(text).starts_with(line), "{text:?}: {}", complaints(text));
    }
}

#[test]
fn a_key_twice_is_refused_where_it_stands_again() {
    check_refused(
        "rtsp: yes\nrtmp: no\nrtsp: no\n",
        &["line 3, column 1: rtsp: the key stands here twice, first in line 1"],
    );
    check_refused(
        "paths:\n  cam1:\n  cam1:\n    source: publisher\n",
        &["line 3, column 3: paths.cam1: the key stands here twice, first in line 2"],
    );
}

#[test]
fn merge_keys_fill_in_what_is_not_said() {
    let config = accepted(
        "paths:\n  a: &base {maxReaders: 3, overridePublisher: no}\n  b:\n    <<: *base\n    maxReaders: 5\n  c: {<<: [*base, {maxReaders: 9, readerStart: live}]}\n",
    );
    let conf = |name: &str| config.paths.get(name).unwrap().conf.clone();
    assert_eq!((conf("b").max_readers, conf("b").override_publisher), (5, false));
    assert_eq!((conf("c").max_readers, conf("c").reader_start), (3, ReaderStart::Live));
    check_refused(
        "paths:\n  a: {<<: 3}\n",
        &["line 2, column 11: `<<` takes a map, or a list of maps"],
    );
}

#[test]
fn paths_start_from_path_defaults() {
    let config = accepted("pathDefaults:\n  maxReaders: 7\n  readerStart: live\npaths:\n  a:\n  b: {maxReaders: 1}\n");
    let conf = |name: &str| config.paths.get(name).unwrap().conf.clone();
    assert_eq!((conf("a").max_readers, conf("a").reader_start), (7, ReaderStart::Live));
    assert_eq!((conf("b").max_readers, conf("b").reader_start), (1, ReaderStart::Live));
}

#[test]
fn names_come_before_expressions_and_all_others_last() {
    let config = accepted("paths:\n  all_others:\n  ~^b(.*)$:\n  ~^a(.)(.)$:\n  zoo:\n  axx:\n");
    let order: Vec<&str> = config.paths.entries().iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(order, ["axx", "zoo", "~^a(.)(.)$", "~^b(.*)$", "all_others"]);
    for (path, entry, groups) in [
        ("axx", "axx", &[][..]),
        ("axy", "~^a(.)(.)$", &["x", "y"]),
        ("bar", "~^b(.*)$", &["ar"]),
        ("other/one", "all_others", &[]),
    ] {
        let (found, got) = config.paths.find(path).unwrap();
        assert_eq!(
            (
                found.name.as_str(),
                got.iter().map(String::as_str).collect::<Vec<_>>().as_slice()
            ),
            (entry, groups)
        );
    }
    assert!(accepted("paths: {a: }").paths.find("b").is_none());
}

#[test]
fn two_entries_for_all_others_are_one_too_many() {
    for (first, second) in [("all", "all_others"), ("all_others", "~^.*$"), ("~^.*$", "all")] {
        check_refused(
            &format!("paths:\n  {first}:\n  {second}:\n"),
            &[&format!(
                "line 3, column 3: paths.{second}: `{first}` stands for the same paths: one of them is enough"
            )],
        );
    }
}

#[test]
fn path_names_and_expressions_are_checked() {
    for name in ["/a", "a/", "a//b", "a b", "-x", "..", "ä", "a/b/c/d/e/f/g/h/i"] {
        assert!(
            complaints(&format!("paths:\n  '{name}':\n")).contains("invalid path name"),
            "{name}"
        );
    }
    let message = complaints("paths:\n  ~^(a$:\n");
    assert_eq!(
        message,
        "line 2, column 3: paths.~^(a$: not a regular expression: unclosed group"
    );
}

#[test]
fn open_doors_are_named_in_one_warning() {
    let open = |text: &str| {
        warnings(text)
            .into_iter()
            .filter(|line| line.starts_with("anybody"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        open(""),
        ["anybody may publish, read without a password, from any address (set authInternalUsers)"]
    );
    let text = "api: yes\nauthInternalUsers:\n- user: any\n  permissions: [{action: api}]\n";
    assert_eq!(
        open(text),
        ["anybody may api without a password, from any address (authInternalUsers, line 2)"]
    );
    let closed =
        "authInternalUsers:\n- {user: any, ips: [10.0.0.0/8], permissions: [{action: read}]}\n- {user: a, pass: b}\n";
    assert!(open(closed).is_empty());
}

#[test]
fn what_is_not_built_is_named_in_one_warning_when_it_would_do_something() {
    let idle = |text: &str| {
        warnings(text)
            .into_iter()
            .filter(|line| line.starts_with("not built"))
            .collect::<Vec<_>>()
    };
    assert!(idle("").is_empty());
    assert!(idle("hls: no\nhlsAddress: :1\nrecord: no\nsrtAddress: :8890\nrunOnConnect:\n").is_empty());
    assert_eq!(
        idle(
            "hls: yes\nsrtAddress: :1\ndumpPackets: yes\nplugins: {a: {file: x.wasm, run: thread, grant: {kv: yes}}}\n"
        ),
        ["not built yet, so without effect: hls, srtAddress, dumpPackets, plugins.a.run"]
    );
    assert_eq!(
        idle(
            "pathDefaults: {runOnRead: x}\npaths: {a: {rtspAnyPort: yes}, b: {rtspAnyPort: yes}, c: {source: 'srt://h:1'}}\n"
        ),
        [
            "not built yet, so without effect: pathDefaults.runOnRead, paths.a.rtspAnyPort (and in 1 more paths), paths.c.source (srt)"
        ]
    );
    assert_eq!(
        idle("paths: {a: {forward: [{dest: 'rtmp://h/a/k'}, {dest: 'srt://h:1'}, {dest: 'whip://h/x'}]}}\n"),
        ["not built yet, so without effect: paths.a.forward (srt), paths.a.forward (whip)"]
    );
}

#[test]
fn protocols_that_are_on_by_default_and_not_served_are_listed_apart() {
    assert_eq!(accepted("").unserved, ["HLS", "WebRTC", "SRT", "MoQ"]);
    assert_eq!(
        accepted("rtmp: no\nhls: no\nsrt: no\nmoq: no\nflv: no\n").unserved,
        ["WebRTC"]
    );
}

#[test]
fn an_authentication_method_that_is_missing_is_refused_not_ignored() {
    let message = "authMethod: the authentication method `http` is not built yet; use `internal` or an auth plugin";
    check_refused("authMethod: http\n", &[&format!("line 1, column 1: {message}")]);
}
