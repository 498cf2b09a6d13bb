//! The tokens in `testdata/` were signed by OpenSSL 3: `openssl dgst -sha256 -sign`, for Ed25519 `openssl pkeyutl -sign -rawin`, the signature of P-256
//! taken out of its DER. All say the same: ada may read `~^cam` until [`END`].

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use wasmtx_plugin::http::{self, Response};
use wasmtx_plugin::testing::{answer_http, configure, request, set_clock, take_log, take_requests, tick};
use wasmtx_plugin::{Action, json};

use super::*;

const NOW: u64 = 1_764_000_000;
const END: u64 = NOW + 3_600;
const SECRET: &str = "a secret that only this test knows";

const PAIRS: [(&str, &str, &str, &str); 3] = [
    (
        "RS256",
        include_str!("testdata/rs.pem"),
        include_str!("testdata/rs.jwk"),
        include_str!("testdata/rs.jwt"),
    ),
    (
        "ES256",
        include_str!("testdata/es.pem"),
        include_str!("testdata/es.jwk"),
        include_str!("testdata/es.jwt"),
    ),
    (
        "EdDSA",
        include_str!("testdata/ed.pem"),
        include_str!("testdata/ed.jwk"),
        include_str!("testdata/ed.jwt"),
    ),
];

fn base64(text: &str) -> String {
    Base64UrlUnpadded::encode_string(text.as_bytes())
}

fn sign(secret: &str, header: Value, claims: Value) -> String {
    let text = format!("{}.{}", base64(&header.to_string()), base64(&claims.to_string()));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    format!(
        "{text}.{}",
        Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes())
    )
}

/// A token with these claims, and leave to read everything.
fn with(mut claims: Value) -> String {
    let map = claims.as_object_mut().unwrap();
    map.entry("mediamtx_permissions")
        .or_insert(json!([{ "action": "read" }]));
    sign(SECRET, json!({ "alg": "HS256" }), claims)
}

/// With the secret, and what else is said.
fn plugin(more: Value) -> Jwt {
    let mut config = json!({ "algorithms": ["HS256"], "keys": [{ "secret": SECRET }] });
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    configure(&config.to_string()).unwrap()
}

fn ask(plugin: &mut Jwt, token: &str, action: Action, path: &str) -> Decision {
    let mut request = request(action, path);
    request.token = Some(token.into());
    plugin.check(request)
}

fn read(plugin: &mut Jwt, token: &str) -> Decision {
    ask(plugin, token, Action::Read, "cam1")
}

fn wrong() -> Decision {
    Denial::Credentials.into()
}

fn ada(left: u64) -> Decision {
    Permit::default()
        .identity("ada")
        .lasts(Duration::from_secs(left))
        .into()
}

#[test]
fn what_openssl_signed_is_believed_with_the_key_as_pem_and_as_jwk() {
    set_clock(Duration::from_secs(NOW));
    for (algorithm, pem, jwk, token) in PAIRS {
        let jwk: Value = serde_json::from_str(jwk).unwrap();
        for key in [json!({ "pem": pem }), json!({ "jwk": jwk })] {
            let config = json!({
                "algorithms": [algorithm], "keys": [key], "issuer": "https://id.example.com", "audience": "cameras",
            });
            let mut plugin: Jwt = configure(&config.to_string()).unwrap();
            assert_eq!(read(&mut plugin, token), ada(3_600), "{algorithm}");
            assert_eq!(ask(&mut plugin, token, Action::Read, "hall"), Denial::NotAllowed.into());
            assert_eq!(
                ask(&mut plugin, token, Action::Publish, "cam1"),
                Denial::NotAllowed.into()
            );

            // A bit in the middle of each part; at the very end there may be bits that mean nothing.
            let mut start = 0;
            for part in token.split('.') {
                let mut forged = token.to_owned().into_bytes();
                let middle = start + part.len() / 2;
                forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
                start += part.len() + 1;
                assert_eq!(
                    read(&mut plugin, &String::from_utf8(forged).unwrap()),
                    wrong(),
                    "{algorithm}"
                );
            }
        }
    }
}

#[test]
fn the_token_has_no_say_in_how_it_is_checked() {
    set_clock(Duration::from_secs(NOW));
    let claims = || json!({ "sub": "ada", "exp": END, "mediamtx_permissions": [{ "action": "read" }] });
    let [(_, rsa, ..), _, _] = PAIRS;
    let config = json!({ "algorithms": ["RS256", "HS256"], "keys": [{ "pem": rsa }, { "secret": SECRET }] });
    let mut plugin: Jwt = configure(&config.to_string()).unwrap();
    assert_eq!(
        read(&mut plugin, &sign(SECRET, json!({ "alg": "HS256" }), claims())),
        ada(3_600)
    );
    // Signed with the public key, as if it were a secret.
    for public in [rsa, rsa.trim()] {
        assert_eq!(
            read(&mut plugin, &sign(public, json!({ "alg": "HS256" }), claims())),
            wrong()
        );
    }
    for alg in ["none", "None", "", "HS512", "hs256", "RS256", "ES256"] {
        assert_eq!(
            read(&mut plugin, &sign(SECRET, json!({ "alg": alg }), claims())),
            wrong(),
            "{alg}"
        );
    }
    let unsigned = format!("{}.{}.", base64(r#"{"alg":"none"}"#), base64(&claims().to_string()));
    assert_eq!(read(&mut plugin, &unsigned), wrong());
    // Keys that the token brings along, and extensions.
    for header in [
        json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": "AA" }, "kid": "../../dev/null" }),
        json!({ "alg": "HS256", "jku": "https://evil.example.com" }),
    ] {
        assert_eq!(
            read(
                &mut plugin,
                &sign("another secret that is long enough", header, claims())
            ),
            wrong()
        );
    }
    let extended = sign(
        SECRET,
        json!({ "alg": "HS256", "crit": ["b64"], "b64": false }),
        claims(),
    );
    assert_eq!(read(&mut plugin, &extended), wrong());
    assert!(take_requests().is_empty());
}

#[test]
fn a_key_with_a_name_is_for_tokens_that_call_it_so() {
    set_clock(Duration::from_secs(NOW));
    let named = |kid: Value| {
        sign(
            SECRET,
            json!({ "alg": "HS256", "kid": kid }),
            json!({ "exp": END, "mediamtx_permissions": [{ "action": "read" }] }),
        )
    };
    let mut plugin = plugin(
        json!({ "keys": [{ "secret": SECRET, "kid": "a" }, { "secret": "one that signed none of these tokens", "kid": "b" }] }),
    );
    assert!(matches!(read(&mut plugin, &named(json!("a"))), Decision::Allow(_)));
    assert!(
        matches!(read(&mut plugin, &with(json!({ "exp": END }))), Decision::Allow(_)),
        "without a name all are tried"
    );
    for kid in [json!("b"), json!("c"), json!("' OR 1=1 --"), json!(["a"]), json!(7)] {
        assert_eq!(read(&mut plugin, &named(kid.clone())), wrong(), "{kid}");
    }
}

#[test]
fn a_token_is_good_within_its_time_and_the_leeway() {
    let mut plugin = plugin(json!({ "leeway": 5 }));
    let token = with(json!({ "sub": "ada", "nbf": NOW, "exp": END }));
    for (now, expected) in [
        (NOW - 6, wrong()),
        (NOW - 5, ada(3_610)),
        (NOW, ada(3_605)),
        (END + 4, ada(1)),
        (END + 5, wrong()),
    ] {
        set_clock(Duration::from_secs(now));
        assert_eq!(read(&mut plugin, &token), expected, "{now}");
    }
}

#[test]
fn times_that_are_none_are_not_believed() {
    set_clock(Duration::from_secs(NOW));
    let mut plugin = plugin(json!({}));
    for exp in [
        json!("1764003600"),
        json!(-1),
        json!(1e300),
        json!(null),
        json!([END]),
        json!(true),
    ] {
        assert_eq!(read(&mut plugin, &with(json!({ "exp": exp }))), wrong(), "{exp}");
    }
    assert_eq!(read(&mut plugin, &with(json!({ "exp": END, "nbf": "now" }))), wrong());
    let fraction = with(json!({ "sub": "ada", "exp": NOW as f64 + 0.5 }));
    assert_eq!(
        read(&mut plugin, &fraction),
        ada(1),
        "a session lives a whole second at least"
    );
}

#[test]
fn a_token_expires_unless_it_need_not() {
    set_clock(Duration::from_secs(NOW));
    let for_ever = with(json!({ "sub": "ada" }));
    assert_eq!(read(&mut plugin(json!({})), &for_ever), wrong());
    let expected = Permit::default().identity("ada").into();
    assert_eq!(
        read(&mut plugin(json!({ "requireExpiry": false })), &for_ever),
        expected
    );
}

#[test]
fn issuer_and_audience_must_be_the_expected_ones() {
    set_clock(Duration::from_secs(NOW));
    let mut plugin = plugin(json!({ "issuer": "a", "audience": "cameras" }));
    let mut check = |claims: Value, good: bool| {
        let decision = read(&mut plugin, &with(claims.clone()));
        assert_eq!(matches!(decision, Decision::Allow(_)), good, "{claims}");
    };
    check(json!({ "exp": END, "iss": "a", "aud": "cameras" }), true);
    check(json!({ "exp": END, "iss": "a", "aud": ["doors", "cameras"] }), true);
    check(json!({ "exp": END, "iss": "b", "aud": "cameras" }), false);
    check(json!({ "exp": END, "aud": "cameras" }), false);
    check(json!({ "exp": END, "iss": ["a"], "aud": "cameras" }), false);
    check(json!({ "exp": END, "iss": "a", "aud": "camera" }), false);
    check(json!({ "exp": END, "iss": "a", "aud": [] }), false);
    check(json!({ "exp": END, "iss": "a" }), false);
}

#[test]
fn a_token_permits_what_its_claim_lists() {
    set_clock(Duration::from_secs(NOW));
    let mut plugin = plugin(json!({ "claim": "may" }));
    let mut check = |may: Value, action, path: &str, good: bool| {
        let token = sign(SECRET, json!({ "alg": "HS256" }), json!({ "exp": END, "may": may }));
        let decision = ask(&mut plugin, &token, action, path);
        let expected = if good {
            Permit::default().lasts(Duration::from_secs(3_600)).into()
        } else {
            Denial::NotAllowed.into()
        };
        assert_eq!(decision, expected, "{may} {} {path}", action.name());
    };
    let list = json!([{ "action": "publish", "path": "cam1" }, { "action": "read", "path": "~^(cam|hall)" }, { "action": "api" }, { "action": "pprof" }]);
    for list in [list.clone(), json!(list.to_string())] {
        check(list.clone(), Action::Publish, "cam1", true);
        check(list.clone(), Action::Publish, "cam11", false);
        check(list.clone(), Action::Read, "hall/left", true);
        check(list.clone(), Action::Playback, "cam1", false);
        check(list.clone(), Action::Api, "", true);
        check(list.clone(), Action::Profile, "", true);
        check(list.clone(), Action::Metrics, "", false);
    }
    check(json!([{ "action": "api", "path": "cam1" }]), Action::Api, "", true);
    for nonsense in [
        json!(null),
        json!({}),
        json!([]),
        json!("["),
        json!("\"read\""),
        json!([null, 7, "read", {}]),
        json!({ "action": "read" }),
        json!([{ "action": ["read"] }]),
        json!([{ "action": "read", "path": 7 }]),
        json!([{ "action": "read", "path": "~(" }]),
        json!([{ "path": "" }]),
    ] {
        check(nonsense, Action::Read, "cam1", false);
    }
}

#[test]
fn nonsense_is_no_token() {
    set_clock(Duration::from_secs(NOW));
    let mut plugin = plugin(json!({}));
    let good = with(json!({ "exp": END }));
    for end in 0..good.len() {
        assert_eq!(read(&mut plugin, &good[..end]), wrong(), "{}", &good[..end]);
    }
    for text in ["..", "...", "a.b.c", "=.=.=", "é.é.é"] {
        assert_eq!(read(&mut plugin, text), wrong(), "{text}");
    }
    assert_eq!(read(&mut plugin, &format!("{good}=")), wrong());
    let long = with(json!({ "exp": END, "x": "x".repeat(token::LONGEST) }));
    assert_eq!(read(&mut plugin, &long), wrong());
    let deep = format!("{}.{}.AA", base64(r#"{"alg":"HS256"}"#), base64(&"[".repeat(3_000)));
    assert_eq!(read(&mut plugin, &deep), wrong());
    assert!(
        take_log()
            .iter()
            .any(|(_, line)| line.contains("192.0.2.7") && line.contains("longer than 8 KiB"))
    );
}

#[test]
fn a_token_comes_as_bearer_in_the_query_or_as_password() {
    set_clock(Duration::from_secs(NOW));
    let mut plugin = plugin(json!({}));
    let token = with(json!({ "exp": END }));
    let mut check = |change: &dyn Fn(&mut Request), good: bool| {
        let mut request = request(Action::Read, "cam1");
        change(&mut request);
        assert_eq!(matches!(plugin.check(request), Decision::Allow(_)), good);
    };
    check(&|request| request.token = Some(token.clone()), true);
    check(&|request| request.password = Some(token.clone()), true);
    for name in ["jwt", "token"] {
        check(
            &|request| request.client.query = format!("?view=2&{name}={token}"),
            true,
        );
    }
    check(&|request| request.client.query = format!("key={token}"), false);
}

#[test]
fn who_shows_no_token_is_left_to_others_unless_it_is_required() {
    let password = || Request {
        password: Some("engine".into()),
        ..request(Action::Read, "cam1")
    };
    let mut lenient = plugin(json!({}));
    assert_eq!(lenient.check(request(Action::Read, "cam1")), Decision::Abstain);
    assert_eq!(lenient.check(password()), Decision::Abstain);
    let mut strict = plugin(json!({ "required": true }));
    assert_eq!(strict.check(request(Action::Read, "cam1")), wrong());
    assert_eq!(strict.check(password()), wrong());
}

/// A plugin whose keys are published.
fn published() -> Jwt {
    let config = json!({ "algorithms": ["RS256", "ES256", "EdDSA"], "jwks": "https://id.example.com/keys", "refresh": 600, "requireExpiry": false });
    configure(&config.to_string()).unwrap()
}

fn keys(names: &[usize]) -> Result<Response, http::Error> {
    let keys: Vec<Value> = names
        .iter()
        .map(|name| serde_json::from_str(PAIRS[*name].2).unwrap())
        .collect();
    let others = [
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
        json!(7),
        json!({ "kty": "EC", "crv": "P-521" }),
    ];
    let all = keys.into_iter().chain(others).collect::<Vec<_>>();
    Ok(Response {
        body: json!({ "keys": all }).to_string().into_bytes(),
        ..Response::new(200)
    })
}

#[test]
fn published_keys_are_fetched_once_and_renewed_by_the_tick() {
    set_clock(Duration::from_secs(NOW));
    let mut plugin = published();
    assert_eq!(plugin.tick_every(), Some(Duration::from_secs(60)));
    assert!(take_requests().is_empty(), "making one asks nobody");
    answer_http(|_| keys(&[0, 1]));
    for (_, _, _, token) in &PAIRS[..2] {
        assert_eq!(read(&mut plugin, token), ada(3_600));
    }
    assert_eq!(take_requests().len(), 1);
    answer_http(|_| keys(&[1, 2]));
    set_clock(Duration::from_secs(NOW + 599));
    tick(&mut plugin);
    assert!(take_requests().is_empty());
    set_clock(Duration::from_secs(NOW + 600));
    tick(&mut plugin);
    assert_eq!(take_requests().len(), 1);
    assert_eq!(read(&mut plugin, PAIRS[2].3), ada(3_000));
    assert_eq!(read(&mut plugin, PAIRS[0].3), wrong(), "a key that was withdrawn");
}

#[test]
fn a_key_that_is_new_is_looked_for_but_not_at_everybodys_whim() {
    set_clock(Duration::from_secs(NOW));
    let mut plugin = published();
    answer_http(|_| keys(&[0]));
    assert_eq!(read(&mut plugin, PAIRS[0].3), ada(3_600));
    answer_http(|_| keys(&[0, 1]));
    assert_eq!(read(&mut plugin, PAIRS[1].3), wrong(), "asked a moment ago");
    set_clock(Duration::from_secs(NOW + 10));
    assert_eq!(read(&mut plugin, PAIRS[1].3), ada(3_590));
    for _ in 0..100 {
        assert_eq!(read(&mut plugin, PAIRS[2].3), wrong());
    }
    assert_eq!(take_requests().len(), 2);
}

#[test]
fn the_last_good_keys_are_kept_for_a_day() {
    set_clock(Duration::from_secs(NOW));
    let mut plugin = published();
    answer_http(|_| keys(&[0, 1, 2]));
    let token = PAIRS[0].3;
    assert_eq!(read(&mut plugin, token), ada(3_600));
    let bad: [fn() -> Result<Response, http::Error>; 6] = [
        || Err(http::Error::Timeout),
        || Ok(Response::new(500)),
        || {
            Ok(Response {
                body: b"<html>".to_vec(),
                ..Response::new(200)
            })
        },
        || {
            Ok(Response {
                body: br#"{"keys":[]}"#.to_vec(),
                ..Response::new(200)
            })
        },
        || keys(&[]),
        || {
            keys(&[0]).map(|mut response| {
                response.body.extend([b' '; 128 << 10]);
                response
            })
        },
    ];
    for (number, answer) in bad.into_iter().enumerate() {
        answer_http(move |_| answer());
        set_clock(Duration::from_secs(NOW + 600 + 60 * number as u64));
        tick(&mut plugin);
        assert!(matches!(read(&mut plugin, token), Decision::Allow(_)));
    }
    assert_eq!(
        take_log()
            .iter()
            .filter(|(_, line)| line.contains("gives no keys"))
            .count(),
        6
    );
    set_clock(Duration::from_secs(NOW + 24 * 3_600));
    assert_eq!(read(&mut plugin, token), Denial::Later.into());
}

#[test]
fn without_keys_nobody_comes_in() {
    set_clock(Duration::from_secs(NOW));
    let mut plugin = published();
    answer_http(|_| Err(http::Error::NotGranted));
    for _ in 0..3 {
        assert_eq!(read(&mut plugin, PAIRS[0].3), Denial::Later.into());
    }
    assert_eq!(take_requests().len(), 1);
    assert!(take_log().iter().any(|(_, line)| line.contains("grant: { http")));
    answer_http(|_| keys(&[0]));
    set_clock(Duration::from_secs(NOW + 10));
    assert_eq!(read(&mut plugin, PAIRS[0].3), ada(3_590));
}

#[test]
fn a_configuration_that_protects_nothing_is_refused_where_it_does_not() {
    for local in ["http://localhost:8080/keys", "http://127.0.0.1/keys"] {
        assert!(configure::<Jwt>(&json!({ "algorithms": ["RS256"], "jwks": local }).to_string()).is_ok());
    }
    let [rsa, es, ed] = PAIRS.map(|(_, pem, ..)| pem);
    for (config, pointer) in [
        (json!({}), ""),
        (
            json!({ "algorithms": [], "keys": [{ "secret": SECRET }] }),
            "/algorithms",
        ),
        (
            json!({ "algorithms": ["none"], "keys": [{ "secret": SECRET }] }),
            "/algorithms/0",
        ),
        (json!({ "algorithms": ["HS256"] }), "/keys"),
        (
            json!({ "algorithms": ["HS256"], "keys": [{ "secret": "short" }] }),
            "/keys/0",
        ),
        (
            json!({ "algorithms": ["HS256"], "keys": [{ "secret": SECRET }, { "pem": rsa }] }),
            "/keys/1",
        ),
        (json!({ "algorithms": ["RS256"], "keys": [{ "pem": es }] }), "/keys/0"),
        (
            json!({ "algorithms": ["RS256"], "keys": [{ "pem": include_str!("testdata/short.pem") }] }),
            "/keys/0",
        ),
        (
            json!({ "algorithms": ["EdDSA"], "keys": [{ "pem": ed, "secret": SECRET }] }),
            "/keys/0",
        ),
        (
            json!({ "algorithms": ["EdDSA"], "keys": [{ "pem": "-----BEGIN PUBLIC KEY-----" }] }),
            "/keys/0",
        ),
        (json!({ "algorithms": ["HS256"], "keys": [{}] }), "/keys/0"),
        (
            json!({ "algorithms": ["ES256"], "keys": [{ "jwk": { "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" } }] }),
            "/keys/0",
        ),
        (
            json!({ "algorithms": ["ES256"], "keys": [{ "jwk": { "kty": "EC" } }] }),
            "/keys/0",
        ),
        (
            json!({ "algorithms": ["HS256"], "keys": [{ "jwk": { "kty": "oct" } }] }),
            "/keys/0",
        ),
        (
            json!({ "algorithms": ["RS256"], "jwks": "http://id.example.com/keys" }),
            "/jwks",
        ),
        (
            json!({ "algorithms": ["RS256"], "jwks": "http://localhost.example.com/keys" }),
            "/jwks",
        ),
        (json!({ "algorithms": ["RS256"], "jwks": "id.example.com" }), "/jwks"),
        (
            json!({ "algorithms": ["RS256"], "jwks": "https://id.example.com", "refresh": 0 }),
            "/refresh",
        ),
        (
            json!({ "algorithms": ["HS256"], "keys": [{ "secret": SECRET }], "claim": "" }),
            "/claim",
        ),
        (
            json!({ "algorithms": ["HS256"], "keys": [{ "secret": SECRET }], "aud": "x" }),
            "/aud",
        ),
    ] {
        match configure::<Jwt>(&config.to_string()) {
            Err(Error::Config(error)) => assert_eq!(error.pointer, pointer, "{config}: {}", error.message),
            other => panic!("{config} was judged {:?}", other.err()),
        }
    }
}
