use std::fmt::Write as _;

use uuid::Uuid;
use wasmtx_hub::{Client, Gate as _, Proof, Protocol};

use super::*;
use crate::config::parse;

/// "password" with salt "saltsalt", small enough for a test.
const ARGON2: &str = "argon2:$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$";

#[derive(Debug, Clone, Default)]
struct Shown {
    user: Option<&'static str>,
    password: Option<&'static str>,
    digest: bool,
}

impl Proof for Shown {
    fn is_some(&self) -> bool {
        self.user.is_some()
    }
    fn user(&self) -> Option<&str> {
        self.user
    }
    fn matches(&self, user: &str, secret: &str) -> bool {
        self.user == Some(user) && self.password == Some(secret)
    }
    fn password(&self) -> Option<&str> {
        self.password.filter(|_| !self.digest)
    }
    fn token(&self) -> Option<&str> {
        None
    }
}

const NOTHING: Shown = Shown {
    user: None,
    password: None,
    digest: false,
};

fn basic(user: &'static str, password: &'static str) -> Shown {
    Shown {
        user: Some(user),
        password: Some(password),
        digest: false,
    }
}

fn digest(user: &'static str, password: &'static str) -> Shown {
    Shown {
        digest: true,
        ..basic(user, password)
    }
}

fn access(action: Action, path: &str, address: &str, proof: Shown) -> Access {
    let client = Client {
        id: Uuid::nil(),
        protocol: Protocol::Rtsp,
        address: address.parse().unwrap(),
        agent: None,
        query: String::new(),
        identity: None,
        tags: Vec::new(),
        extra: Vec::new(),
    };
    let path = PathName::new(path).ok();
    Access {
        action,
        path,
        client: Arc::new(client),
        encrypted: false,
        proof: Arc::new(proof),
    }
}

/// `user` lines: "name pass action path ip".
fn config(users: &[&str], more: &str) -> Config {
    let mut text = String::from("authInternalUsers:\n");
    for line in users {
        let [user, pass, action, path, ip] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let clean = |word: &str| {
            if word == "-" {
                String::new()
            } else {
                word.replace('\'', "''")
            }
        };
        let (user, pass, path) = (clean(user), clean(pass), clean(path));
        let ips = if ip == "-" {
            "[]".to_owned()
        } else {
            format!("['{ip}']")
        };
        let _ = writeln!(
            text,
            "- {{user: '{user}', pass: '{pass}', ips: {ips}, permissions: [{{action: {action}, path: '{path}'}}]}}"
        );
    }
    text.push_str(more);
    parse(&text, &[]).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn gate(users: &[&str]) -> Gate {
    Gate::new(&config(users, "paths: {all_others: {}}\n"), Arc::new(()))
}

async fn read(gate: &Gate, path: &str, proof: Shown) -> Decision {
    gate.check(&access(Action::Read, path, "192.0.2.1", proof)).await
}

fn allowed(identity: Option<&str>) -> Decision {
    Decision::Allow(Permit {
        identity: identity.map(str::to_owned),
        configured: true,
        ..Permit::default()
    })
}

fn denied(denial: Denial) -> Decision {
    Decision::Deny(denial)
}

fn sha256(text: &str) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    format!(
        "sha256:{}",
        base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text))
    )
}

/// A hash of `password`, made here so that no test depends on another tool's spelling.
fn argon2(password: &str) -> String {
    use argon2::{Algorithm, Argon2, Params, Version};
    use base64::Engine as _;
    let mut hash = [0; 32];
    let argon2 = Argon2::new(
        Algorithm::Argon2id,
        Version::V0x13,
        Params::new(64, 1, 1, None).unwrap(),
    );
    argon2
        .hash_password_into(password.as_bytes(), b"saltsalt", &mut hash)
        .unwrap();
    format!(
        "{ARGON2}{}",
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(hash)
    )
}

#[tokio::test]
async fn every_kind_of_credential_is_checked_by_every_proof_that_can() {
    let (sha, argon) = (sha256("secret"), argon2("secret"));
    let hashed_name = sha256("alice");
    let slow_name = argon2("alice");
    for (name, secret, by_digest) in [
        ("alice", "secret", true),
        ("alice", &*sha, false),
        ("alice", &*argon, false),
        (&*hashed_name, &*sha, false),
        (&*hashed_name, "secret", false),
        (&*slow_name, &*argon, false),
    ] {
        let gate = gate(&[&format!("{name} {secret} read - -")]);
        assert_eq!(
            read(&gate, "cam", basic("alice", "secret")).await,
            allowed(Some("alice")),
            "{name} {secret}"
        );
        for wrong in [
            basic("alice", "Secret"),
            basic("bob", "secret"),
            basic("alice", ""),
            basic("", ""),
        ] {
            let shown = format!("{wrong:?}");
            assert_eq!(
                read(&gate, "cam", wrong).await,
                denied(Denial::Credentials),
                "{name} {secret} {shown}"
            );
        }
        let expected = if by_digest {
            allowed(Some("alice"))
        } else {
            denied(Denial::Credentials)
        };
        assert_eq!(
            read(&gate, "cam", digest("alice", "secret")).await,
            expected,
            "{name} {secret}"
        );
        assert_eq!(read(&gate, "cam", NOTHING).await, denied(Denial::Credentials));
    }
}

#[tokio::test]
async fn a_user_without_a_password_takes_any() {
    let gate = gate(&["alice - read - -"]);
    assert_eq!(
        read(&gate, "cam", basic("alice", "whatever")).await,
        allowed(Some("alice"))
    );
    assert_eq!(
        read(&gate, "cam", basic("bob", "whatever")).await,
        denied(Denial::Credentials)
    );
}

#[tokio::test]
async fn the_right_password_without_the_permission_is_another_refusal_than_a_wrong_one() {
    let gate = gate(&["alice secret read cam -", "bob secret publish - -"]);
    assert_eq!(
        read(&gate, "cam", basic("alice", "secret")).await,
        allowed(Some("alice"))
    );
    assert_eq!(
        read(&gate, "other", basic("alice", "secret")).await,
        denied(Denial::NotAllowed)
    );
    assert_eq!(
        read(&gate, "cam", basic("bob", "secret")).await,
        denied(Denial::NotAllowed)
    );
    assert_eq!(
        read(&gate, "cam", basic("bob", "wrong")).await,
        denied(Denial::Credentials)
    );
}

#[tokio::test]
async fn paths_are_named_exactly_or_by_pattern() {
    let gate = gate(&["alice a read ~^cam[0-9]$ -", "bob b read a/b -"]);
    for (user, path, expected) in [
        (basic("alice", "a"), "cam1", true),
        (basic("alice", "a"), "cam12", false),
        (basic("bob", "b"), "a/b", true),
        (basic("bob", "b"), "a/b/c", false),
    ] {
        assert_eq!(
            matches!(read(&gate, path, user).await, Decision::Allow(_)),
            expected,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_user_counts_only_from_its_addresses() {
    let gate = gate(&["alice secret read - 10.0.0.0/8", "any - read - 192.168.1.0/24"]);
    let ask = async |address: &str, proof: Shown| gate.check(&access(Action::Read, "cam", address, proof)).await;
    assert_eq!(ask("10.1.2.3", basic("alice", "secret")).await, allowed(Some("alice")));
    assert_eq!(
        ask("::ffff:10.1.2.3", basic("alice", "secret")).await,
        allowed(Some("alice"))
    );
    assert_eq!(
        ask("11.1.2.3", basic("alice", "secret")).await,
        denied(Denial::Credentials)
    );
    assert_eq!(ask("192.168.1.7", NOTHING).await, allowed(None));
    assert_eq!(ask("192.168.2.7", NOTHING).await, denied(Denial::Credentials));
}

#[tokio::test]
async fn on_an_open_path_a_wrong_password_is_nobodys_business_and_a_right_one_gives_a_name() {
    let gate = gate(&["any - read - -", "alice secret publish - -"]);
    assert_eq!(read(&gate, "cam", basic("alice", "wrong")).await, allowed(None));
    assert_eq!(
        read(&gate, "cam", basic("alice", "secret")).await,
        allowed(Some("alice"))
    );
}

#[tokio::test]
async fn without_a_list_everybody_streams_and_this_machine_administers() {
    let gate = Gate::new(&parse("", &[]).unwrap(), Arc::new(()));
    for (action, address, expected) in [
        (Action::Publish, "192.0.2.1", true),
        (Action::Read, "192.0.2.1", true),
        (Action::Playback, "192.0.2.1", true),
        (Action::Api, "192.0.2.1", false),
        (Action::Api, "127.0.0.1", true),
        (Action::Metrics, "::1", true),
        (Action::Profile, "::ffff:127.0.0.1", true),
        (Action::Plugins, "127.0.0.1", false),
    ] {
        let decision = gate.check(&access(action, "cam", address, NOTHING)).await;
        assert_eq!(matches!(decision, Decision::Allow(_)), expected, "{action:?} {address}");
    }
}

/// Plugins on the path `guarded` that answer one thing.
struct Plugins(Option<Decision>);

impl PluginAuth for Plugins {
    fn covers(&self, path: &PathName) -> bool {
        path.as_str() == "guarded"
    }
    fn check<'a>(&'a self, _access: &'a Access) -> Answer<'a, Option<Decision>> {
        Box::pin(async { self.0.clone() })
    }
}

#[tokio::test]
async fn plugins_decide_before_the_users_unless_the_order_says_otherwise() {
    let users = ["any - read - -", "alice secret read - -"];
    let ask = async |more: &str, answer: Option<Decision>, path: &str, proof: Shown| {
        let gate = Gate::new(&config(&users, more), Arc::new(Plugins(answer)));
        read(&gate, path, proof).await
    };
    let refuses = Some(denied(Denial::NotAllowed));
    let plain = "paths: {all_others: {}}\n";
    assert_eq!(
        ask(plain, refuses.clone(), "guarded", basic("alice", "secret")).await,
        denied(Denial::NotAllowed)
    );
    assert_eq!(ask(plain, refuses.clone(), "other", NOTHING).await, allowed(None));
    assert_eq!(
        ask(plain, Some(allowed(Some("token"))), "guarded", NOTHING).await,
        allowed(Some("token"))
    );

    let method_first = "paths: {guarded: {authOrder: [method, plugins]}, all_others: {}}\n";
    assert_eq!(
        ask(method_first, refuses, "guarded", basic("alice", "secret")).await,
        allowed(Some("alice"))
    );
    let token = Some(allowed(Some("token")));
    assert_eq!(
        ask(method_first, token, "guarded", NOTHING).await,
        allowed(Some("token"))
    );
}

#[tokio::test]
async fn where_a_plugin_stands_the_open_user_counts_only_when_the_fallback_says_so() {
    let users = ["any - read - -", "alice secret read - -"];
    let ask = async |more: &str, proof: Shown| {
        let gate = Gate::new(&config(&users, more), Arc::new(Plugins(None)));
        read(&gate, "guarded", proof).await
    };
    let closed = "paths: {all_others: {}}\n";
    assert_eq!(ask(closed, NOTHING).await, denied(Denial::Credentials));
    assert_eq!(ask(closed, basic("alice", "secret")).await, allowed(Some("alice")));
    assert_eq!(
        ask("paths: {guarded: {authFallback: internal}}\n", NOTHING).await,
        allowed(None)
    );
}

#[tokio::test]
async fn guessing_is_blocked_per_address_and_asking_without_credentials_is_no_guess() {
    let gate = gate(&["alice secret read - -"]);
    for _ in 0..20 {
        assert_eq!(read(&gate, "cam", NOTHING).await, denied(Denial::Credentials));
    }
    for _ in 0..10 {
        assert_eq!(
            read(&gate, "cam", basic("alice", "guess")).await,
            denied(Denial::Credentials)
        );
    }
    assert_eq!(
        read(&gate, "cam", basic("alice", "secret")).await,
        denied(Denial::TooMany)
    );
    assert_eq!(read(&gate, "cam", NOTHING).await, denied(Denial::Credentials));
    let elsewhere = access(Action::Read, "cam", "192.0.2.2", basic("alice", "secret"));
    assert_eq!(gate.check(&elsewhere).await, allowed(Some("alice")));
    let counts: Vec<_> = gate.decisions().filter(|(_, count)| *count > 0).collect();
    assert_eq!(
        counts,
        [("allowed", 1), ("challenged", 21), ("failed", 10), ("too_many", 1)]
    );
}

#[tokio::test]
async fn a_user_guessed_from_many_places_can_still_log_in_from_a_known_one() {
    // Few a minute, so that a slow machine does not forgive one meanwhile.
    let config = config(
        &["alice secret read - -"],
        "limits: {loginFailures: 1}
",
    );
    let gate = Gate::new(&config, Arc::new(()));
    let ask = async |address: &str, proof: Shown| gate.check(&access(Action::Read, "cam", address, proof)).await;
    assert_eq!(ask("192.0.2.1", basic("alice", "secret")).await, allowed(Some("alice")));
    for n in 0..3 {
        ask(&format!("198.51.100.{n}"), basic("alice", "guess")).await;
    }
    assert_eq!(ask("192.0.2.1", basic("alice", "secret")).await, allowed(Some("alice")));
    assert_eq!(
        ask("192.0.2.2", basic("alice", "secret")).await,
        denied(Denial::TooMany)
    );
}

#[tokio::test]
async fn loopback_and_trusted_proxies_are_never_blocked() {
    let users = ["alice secret read - -"];
    let gate = Gate::new(&config(&users, "apiTrustedProxies: [10.0.0.0/8]\n"), Arc::new(()));
    for address in ["127.0.0.1", "10.1.1.1"] {
        for _ in 0..30 {
            gate.check(&access(Action::Read, "cam", address, basic("alice", "guess")))
                .await;
        }
        let right = access(Action::Read, "cam", address, basic("alice", "secret"));
        assert_eq!(gate.check(&right).await, allowed(Some("alice")), "{address}");
    }
}

#[tokio::test]
async fn a_login_that_was_right_before_is_still_checked_against_the_file() {
    let old = argon2("secret");
    let gate = gate(&[&format!("alice {old} read cam -")]);
    for _ in 0..2 {
        assert_eq!(
            read(&gate, "cam", basic("alice", "secret")).await,
            allowed(Some("alice"))
        );
        assert_eq!(
            read(&gate, "other", basic("alice", "secret")).await,
            denied(Denial::NotAllowed)
        );
        assert_eq!(
            read(&gate, "cam", basic("alice", "Secret")).await,
            denied(Denial::Credentials)
        );
    }
    gate.configure(&config(&[&format!("alice {} read cam -", argon2("other"))], ""));
    assert_eq!(
        read(&gate, "cam", basic("alice", "secret")).await,
        denied(Denial::Credentials)
    );
}

#[tokio::test]
async fn asking_again_is_no_login_and_is_never_blocked() {
    let gate = gate(&["alice secret read - -"]);
    let right = access(Action::Read, "cam", "192.0.2.1", basic("alice", "secret"));
    let removed = access(Action::Read, "cam", "192.0.2.1", basic("bob", "secret"));
    for _ in 0..100 {
        assert_eq!(gate.check_again(&removed).await, denied(Denial::Credentials));
    }
    assert_eq!(
        gate.check(&right).await,
        allowed(Some("alice")),
        "nobody failed to log in"
    );
    for _ in 0..100 {
        gate.check(&removed).await;
    }
    assert_eq!(gate.check(&removed).await, denied(Denial::TooMany));
    assert_eq!(gate.check_again(&right).await, allowed(Some("alice")));
}

#[tokio::test]
async fn users_change_without_a_restart() {
    let gate = gate(&["alice old read - -"]);
    assert_eq!(read(&gate, "cam", basic("alice", "old")).await, allowed(Some("alice")));
    gate.configure(&config(&["alice new read - -"], ""));
    assert_eq!(
        read(&gate, "cam", basic("alice", "old")).await,
        denied(Denial::Credentials)
    );
    assert_eq!(read(&gate, "cam", basic("alice", "new")).await, allowed(Some("alice")));
}

#[tokio::test]
async fn a_method_that_cannot_be_asked_lets_nobody_in() {
    let mut config = config(&["alice secret read - -", "any - read - -"], "");
    config.global.auth_method = AuthMethod::Http;
    let gate = Gate::new(&config, Arc::new(()));
    assert_eq!(
        read(&gate, "cam", basic("alice", "secret")).await,
        denied(Denial::Later)
    );
}
