//! The examples of the RFC, the grammar, and a checker against a user who answers.

use super::*;
use crate::rtsp::{Error, Headers, Method, Request};
use std::time::{Duration, Instant};

/// RFC 7616 section 3.9.1: one question, answered with both hashes.
fn rfc_example(algorithm: &str, response: &str) -> Credentials {
    let header = format!(
        "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", algorithm={algorithm}, \
         nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
         cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{response}\", \
         opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
    );
    let Ok(Authorization::Digest(digest)) = Authorization::parse(&header) else {
        panic!("{header}")
    };
    Credentials::with_digest(Digest {
        method: "GET".to_owned(),
        ..digest
    })
}

#[test]
fn the_rfcs_examples_prove_their_password() {
    for (algorithm, response) in [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        (
            "SHA-256",
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
    ] {
        assert!(rfc_example(algorithm, response).matches("Mufasa", "Circle of Life"));
        assert!(!rfc_example(algorithm, response).matches("Mufasa", "Circle of life"));
        assert!(!rfc_example(algorithm, response).matches("Scar", "Circle of Life"));
        assert!(!rfc_example(algorithm, "").matches("Mufasa", "Circle of Life"));
    }
}

#[test]
fn passwords_match_whole_and_tokens_never_do() {
    let joe = Credentials::with_password("joe", Secret::new("secret"));
    assert!(joe.matches("joe", "secret"));
    for (user, secret) in [
        ("joe", "secre"),
        ("joe", "secrets"),
        ("joe", ""),
        ("jo", "secret"),
        ("", ""),
    ] {
        assert!(!joe.matches(user, secret));
    }
    assert!(Credentials::with_password("", Secret::new("")).matches("", ""));
    assert!(!Credentials::with_token(Secret::new("a")).matches("", "a"));
    assert!(!format!("{joe:?}").contains("secret"));
}

#[test]
fn basic_credentials_may_lack_padding_and_hold_colons() {
    for (header, user, password) in [
        ("Basic am9lOnNlY3JldA==", "joe", "secret"),
        ("basic  am9lOnNlY3JldA", "joe", "secret"),
        ("Basic am9lOmE6Yg==", "joe", "a:b"),
        ("Basic Og==", "", ""),
    ] {
        let expected = Authorization::Basic {
            user: user.to_owned(),
            password: Secret::new(password),
        };
        assert_eq!(Authorization::parse(header), Ok(expected), "{header}");
    }
}

#[test]
fn broken_credentials_are_refused_and_unknown_schemes_passed_over() {
    for bad in [
        "",
        "Basic",
        "Basic !",
        "Basic am9l",
        "Basic /w==",
        "Digest username",
        "Digest username=\"a\"",
        "Digest username=\"a, realm=\"b\"",
        "Digest username=\"a\", username=\"a\", realm=\"\", nonce=\"\", uri=\"\", response=\"\"",
        "Digest username=\"a\", realm=\"\", nonce=\"\", uri=\"\", response=\"\", qop=auth",
        "Digest username=\"a\", realm=\"\", nonce=\"\", uri=\"\", response=\"\", qop=auth, cnonce=\"\", nc=xyz",
    ] {
        assert_eq!(Authorization::parse(bad), Err(Error::Auth), "{bad}");
    }
    assert_eq!(Authorization::parse("Negotiate abc"), Ok(Authorization::Other));
    assert_eq!(
        Authorization::parse("Digest algorithm=MD5-sess"),
        Ok(Authorization::Other)
    );
    let many: Vec<_> = (0..40).map(|number| format!("x{number}=1")).collect();
    assert_eq!(
        Authorization::parse(&format!("Digest {}", many.join(","))),
        Err(Error::Auth)
    );
}

#[test]
fn every_truncation_of_credentials_is_read_or_refused() {
    let whole = "Digest username=\"j\\\"oe\", realm=\"a, b\", nonce=\"n\", uri=\"rtsp://h/a\", response=\"r\", \
        algorithm=SHA-256, opaque=\"o\", qop=auth, nc=0000000a, cnonce=\"c\"";
    for end in 0..=whole.len() {
        if let Ok(read) = Authorization::parse(&whole[..end]) {
            assert_eq!(Authorization::parse(&read.to_string()), Ok(read), "cut at {end}");
        }
    }
}

#[test]
fn one_header_may_hold_several_challenges() {
    let header = "Digest realm=\"a, \\\"b\\\"\", nonce=\"n\", qop=\"auth-int, auth\", stale=TRUE, Basic realm=a, \
        Digest realm=\"c\", nonce=\"m\", algorithm=SHA-512-256, Negotiate x=1";
    assert_eq!(
        Challenge::parse_list(header),
        Ok(vec![
            Challenge::Digest {
                realm: "a, \"b\"".to_owned(),
                nonce: "n".to_owned(),
                algorithm: None,
                opaque: None,
                protection: true,
                stale: true
            },
            Challenge::Basic { realm: "a".to_owned() }
        ])
    );
    assert_eq!(Challenge::parse_list("realm=\"a\""), Err(Error::Auth));
}

/// A checker, its clock, and a user who answers it.
struct Exchange {
    now: Instant,
    checker: Checker,
    login: Login,
}

impl Exchange {
    #[expect(clippy::disallowed_methods, reason = "an instant can be had no other way")]
    fn new(schemes: &[Scheme]) -> Exchange {
        let now = Instant::now();
        let offers = Offers {
            realm: "wasmtx".to_owned(),
            schemes: schemes.to_vec(),
        };
        let checker = Checker::new(now, &[1; 32], "127.0.0.1", offers);
        Exchange {
            now,
            checker,
            login: Login::new("joe", Secret::new("secret")),
        }
    }

    /// Asks the user, who takes the best challenge; false when none is of use.
    fn ask(&mut self) -> bool {
        let mut headers = Headers::new();
        self.checker.challenge(self.now, true, &mut headers);
        let values: Vec<_> = headers.get_all("www-authenticate").collect();
        self.login.take(
            values
                .into_iter()
                .flat_map(|value| Challenge::parse_list(value).unwrap()),
        )
    }

    fn sign(&mut self, method: Method, url: &str) -> Request {
        let mut request = Request::new(method, url);
        let value = self.login.sign(&request.method, url, "cnonce").unwrap();
        request.headers.push("Authorization", value);
        request
    }

    fn check(&mut self, request: &Request) -> Result<&'static str, Error> {
        Ok(match self.checker.check(self.now, request)? {
            Checked::Absent => "absent",
            Checked::Present(credentials) if credentials.matches("joe", "secret") => "right",
            Checked::Present(_) => "wrong",
            Checked::Again { stale: true } => "stale",
            Checked::Again { stale: false } => "again",
        })
    }
}

const ALL: &[Scheme] = &[
    Scheme::Digest(Algorithm::Sha256),
    Scheme::Digest(Algorithm::Md5),
    Scheme::Basic,
];

#[test]
fn every_scheme_is_answered_and_checked() {
    for scheme in ALL {
        let mut exchange = Exchange::new(&[*scheme]);
        assert!(exchange.ask());
        let request = exchange.sign(Method::Describe, "rtsp://h/a");
        assert_eq!(exchange.check(&request), Ok("right"), "{scheme:?}");
        assert_eq!(
            exchange.check(&Request::new(Method::Describe, "rtsp://h/a")),
            Ok("absent")
        );
    }
}

#[test]
fn a_counted_digest_is_good_once_and_only_upwards() {
    let mut exchange = Exchange::new(ALL);
    assert!(exchange.ask());
    let first = exchange.sign(Method::Describe, "rtsp://h/a");
    let second = exchange.sign(Method::Describe, "rtsp://h/a");
    assert_eq!(exchange.check(&second), Ok("right"));
    assert_eq!(exchange.check(&second), Ok("stale"));
    assert_eq!(exchange.check(&first), Ok("stale"));
}

#[test]
fn a_nonce_lives_a_minute_and_dies_with_a_younger_one() {
    let mut exchange = Exchange::new(ALL);
    assert!(exchange.ask());
    exchange.now += NONCE_LIFE;
    let late = exchange.sign(Method::Describe, "rtsp://h/a");
    assert_eq!(exchange.check(&late), Ok("right"));
    exchange.now += Duration::from_millis(1);
    let later = exchange.sign(Method::Describe, "rtsp://h/a");
    assert_eq!(exchange.check(&later), Ok("stale"));

    let mut exchange = Exchange::new(ALL);
    assert!(exchange.ask());
    let old = exchange.sign(Method::Describe, "rtsp://h/a");
    exchange.now += Duration::from_secs(1);
    assert!(exchange.ask());
    let young = exchange.sign(Method::Describe, "rtsp://h/a");
    assert_eq!(exchange.check(&young), Ok("right"));
    assert_eq!(exchange.check(&old), Ok("stale"));
}

#[test]
fn a_digest_is_for_its_own_resource_and_connection() {
    let mut exchange = Exchange::new(ALL);
    assert!(exchange.ask());
    let request = exchange.sign(Method::Describe, "rtsp://h/a");
    let elsewhere = Request {
        url: "rtsp://h/b".to_owned(),
        ..request.clone()
    };
    assert_eq!(exchange.check(&elsewhere), Err(Error::Auth));
    let track = Request {
        url: "rtsp://h/a/trackID=0".to_owned(),
        ..request.clone()
    };
    assert_eq!(exchange.check(&track), Ok("right"), "VLC signs the stream's URL");
    let other_method = Request {
        method: Method::Announce,
        ..exchange.sign(Method::Describe, "rtsp://h/a")
    };
    assert_eq!(exchange.check(&other_method), Ok("wrong"));

    let offers = Offers {
        realm: "wasmtx".to_owned(),
        schemes: ALL.to_vec(),
    };
    let checked = |seed, address: &str| {
        let mut checker = Checker::new(exchange.now, &seed, address, offers.clone());
        matches!(checker.check(exchange.now, &request), Ok(Checked::Present(_)))
    };
    assert!(checked([1; 32], "127.0.0.1"));
    assert!(!checked([2; 32], "127.0.0.1"));
    assert!(!checked([1; 32], "127.0.0.2"));
}

#[test]
fn what_was_not_offered_is_asked_for_again() {
    let mut basic = Exchange::new(&[Scheme::Basic]);
    assert!(basic.ask());
    let request = basic.sign(Method::Describe, "rtsp://h/a");
    let mut digest = Exchange::new(&[Scheme::Digest(Algorithm::Sha256)]);
    assert_eq!(digest.check(&request), Ok("again"));
    let mut md5 = Exchange::new(&[Scheme::Digest(Algorithm::Md5)]);
    assert!(md5.ask());
    let request = md5.sign(Method::Describe, "rtsp://h/a");
    assert_eq!(digest.check(&request), Ok("again"));
}

#[test]
fn a_user_does_not_answer_the_same_question_twice_unless_the_nonce_was_stale() {
    let challenge = |stale| Challenge::Digest {
        realm: "a".to_owned(),
        nonce: "b".to_owned(),
        algorithm: None,
        opaque: None,
        protection: false,
        stale,
    };
    let mut login = Login::new("joe", Secret::new("secret"));
    assert!(login.take([challenge(false)]));
    assert!(!login.take([challenge(false)]));
    assert!(login.take([challenge(true)]));
    assert!(!login.take([]));
}
