//! Those that decide who comes in.

use crate::harness::{Publisher, Reader, Server, made_up};

const PASSWORD: &str = "authInternalUsers:\n- user: ada\n  pass: engine\n  permissions: [{ action: publish }, { action: read }]\n\
                        - user: any\n  permissions: [{ action: publish }, { action: api }, { action: metrics }]\n";

/// Why nobody comes in.
#[track_caller]
fn refusal(server: &Server, path: &str, login: Option<(&str, &str)>) -> String {
    let reader = Reader::open(server.address("rtspAddress"), path, login);
    reader.err().unwrap_or_else(|| panic!("{path} is open"))
}

#[test]
fn ip_rules_decide_by_address_action_and_path_and_leave_the_rest_to_passwords() {
    let server = Server::start(&format!(
        "{PASSWORD}authFallback: internal\nplugins:\n  addresses:\n    file: builtin:ip-rules\n    config:\n      rules:\n      \
         - {{ from: [127.0.0.0/8], actions: [read], paths: [shut], then: deny }}\n      \
         - {{ from: ['::1', 127.0.0.1], actions: [read], paths: [~^open], then: allow }}\n      \
         - {{ from: [192.0.2.0/24], then: allow }}\n\
         pathDefaults:\n  plugins: [addresses]\npaths:\n  all_others:\n"
    ));
    let frames = made_up(1, 1, 100);
    let mut publishers = ["shut", "open1", "other"].map(|path| Publisher::vp8(&server, path));
    publishers.iter_mut().for_each(|publisher| publisher.send_all(&frames));

    Reader::new(&server, "open1").until(0, 1);
    let denied = refusal(&server, "shut", Some(("ada", "engine")));
    assert!(denied.contains("403"), "{denied}");
    let asked = refusal(&server, "other", None);
    assert!(asked.contains("401"), "{asked}");
    let reader = Reader::open(server.address("rtspAddress"), "other", Some(("ada", "engine")));
    reader.expect("the password counts").until(0, 1);
    assert_eq!(
        server.metric("wasmtx_plugin_series", &["plugin=\"addresses\"", "name=\"denied\""]),
        1.0
    );
}

#[test]
fn rate_limit_lets_so_many_logins_through_and_counts_each_path_apart() {
    let server = Server::start(&format!(
        "{PASSWORD}authFallback: internal\nplugins:\n  calm:\n    file: builtin:rate-limit\n    config:\n      limits:\n      \
         - {{ count: 2, seconds: 3600, by: [address, path], actions: [read], only: logins }}\n    \
         grant: {{ kv: yes }}\npathDefaults:\n  plugins: [calm]\npaths:\n  all_others:\n"
    ));
    let frames = made_up(1, 1, 100);
    let mut publishers = ["cam1", "cam2"].map(|path| Publisher::vp8(&server, path));
    publishers.iter_mut().for_each(|publisher| publisher.send_all(&frames));

    let login = Some(("ada", "engine"));
    for path in ["cam1", "cam2"] {
        // Those that show nothing are no logins.
        for _ in 0..5 {
            let asked = refusal(&server, path, None);
            assert!(asked.contains("401"), "{asked}");
        }
        for _ in 0..2 {
            let reader = Reader::open(server.address("rtspAddress"), path, login);
            reader.expect("not too many yet").until(0, 1);
        }
        let refused = refusal(&server, path, login);
        assert!(!refused.contains("401"), "{refused}");
    }
    assert_eq!(
        server.metric("wasmtx_plugin_series", &["plugin=\"calm\"", "name=\"denied\""]),
        2.0
    );
    server.logged(&["rate-limited"]);
}
