//! `jwt`, with tokens that OpenSSL signs.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value as Json, json};
use wasmtx_media::{Codec as MediaCodec, Kind};

use crate::harness::{
    Backend, Codec, Folder, Player, Publisher, Reader, Reply, Server, Transport, assert_run, made_up, run, until,
};

/// Who signs tokens.
struct Signer {
    algorithm: &'static str,
    /// What its key is called.
    name: &'static str,
    folder: Folder,
}

impl Signer {
    fn new(algorithm: &'static str, name: &'static str) -> Signer {
        let kind = match algorithm {
            "RS256" => "RSA -pkeyopt rsa_keygen_bits:2048",
            "ES256" => "EC -pkeyopt ec_paramgen_curve:P-256",
            _ => "ED25519",
        };
        let signer = Signer {
            algorithm,
            name,
            folder: Folder::new(),
        };
        signer.openssl(&format!("genpkey -algorithm {kind} -out {}", signer.file("key.pem")));
        signer
    }

    fn openssl(&self, line: &str) -> Vec<u8> {
        run("openssl", line.split(' '))
    }

    fn file(&self, name: &str) -> String {
        self.folder.file(name).display().to_string()
    }

    /// The public key, as it stands in a double-quoted text of YAML.
    fn pem(&self) -> String {
        let pem = self.openssl(&format!("pkey -in {} -pubout", self.file("key.pem")));
        String::from_utf8_lossy(&pem).replace('\n', "\\n")
    }

    fn base64(&self, bytes: &[u8]) -> String {
        fs::write(self.folder.file("bytes"), bytes).expect("a file of the test");
        let text = self.openssl(&format!("base64 -A -in {}", self.file("bytes")));
        String::from_utf8_lossy(&text)
            .trim_end_matches('=')
            .replace('+', "-")
            .replace('/', "_")
    }

    fn sign(&self, header: Json, claims: Json) -> String {
        let text = format!(
            "{}.{}",
            self.base64(header.to_string().as_bytes()),
            self.base64(claims.to_string().as_bytes())
        );
        fs::write(self.folder.file("text"), &text).expect("a file of the test");
        let (key, file) = (self.file("key.pem"), self.file("text"));
        let signature = match self.algorithm {
            "EdDSA" => self.openssl(&format!("pkeyutl -sign -inkey {key} -rawin -in {file}")),
            "ES256" => raw(&self.openssl(&format!("dgst -sha256 -sign {key} {file}"))),
            _ => self.openssl(&format!("dgst -sha256 -sign {key} {file}")),
        };
        format!("{text}.{}", self.base64(&signature))
    }

    /// A token that is good for so long, for the one path; the past counts down.
    fn token(&self, action: &str, path: &str, seconds: i64) -> String {
        let claims = json!({
            "sub": "ada", "exp": now().saturating_add_signed(seconds), "mediamtx_permissions": [{ "action": action, "path": path }],
        });
        self.sign(json!({ "alg": self.algorithm, "kid": self.name }), claims)
    }

    /// Its public key as services publish it; of RSA.
    fn jwk(&self) -> Json {
        let said = self.openssl(&format!("rsa -in {} -noout -modulus", self.file("key.pem")));
        let said = String::from_utf8_lossy(&said).into_owned();
        let digits = said.trim().trim_start_matches("Modulus=").as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hexadecimal digits");
        let modulus: Vec<u8> = digits.chunks(2).map(byte).collect();
        json!({ "kty": "RSA", "use": "sig", "kid": self.name, "n": self.base64(&modulus), "e": "AQAB" })
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

/// The two numbers of a signature of P-256, out of their DER (RFC 3279 section 2.2.3), each in 32 bytes.
fn raw(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let (number, after) = rest[2..].split_at(usize::from(rest[1]));
        let significant = &number[number.len().saturating_sub(32)..];
        numbers.extend(std::iter::repeat_n(0, 32 - significant.len()));
        numbers.extend_from_slice(significant);
        rest = after;
    }
    numbers
}

fn server(config: &str, grant: &str) -> Server {
    Server::start(&format!(
        "plugins:\n  login:\n    file: builtin:jwt\n    config:\n      required: yes\n{config}    grant: {{ credentials: yes{grant} }}\n\
         pathDefaults:\n  plugins: [login]\npaths:\n  all_others:\n"
    ))
}

fn publish(server: &Server, path: &str, token: &str) -> Publisher {
    let url = format!("{path}?token={token}");
    Publisher::try_new(server, &url, None, Kind::Video, MediaCodec::Vp8).expect("the right token")
}

fn read(server: &Server, path: &str, token: &str) -> Result<Reader, String> {
    Reader::open(server.address("rtspAddress"), &format!("{path}?jwt={token}"), None)
}

#[test]
fn who_shows_what_openssl_signed_comes_in_for_as_long_as_it_says_and_nobody_else_does() {
    let signers =
        [("RS256", "rsa"), ("ES256", "p256"), ("EdDSA", "ed")].map(|(algorithm, name)| Signer::new(algorithm, name));
    let keys =
        (signers.iter()).map(|signer| format!("      - {{ kid: {}, pem: \"{}\" }}\n", signer.name, signer.pem()));
    let keys: String = keys.collect();
    let server = server(
        &format!("      algorithms: [RS256, ES256, EdDSA]\n      keys:\n{keys}"),
        "",
    );
    let [rsa, p256, ed] = &signers;

    let clip = Codec::H264.clip();
    let publishing = format!("cam1?token={}", rsa.token("publish", "cam1", 3_600));
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, &publishing, &clip);
    server.online("cam1");
    for signer in &signers {
        let reading = format!("cam1?jwt={}", signer.token("read", "~^cam[0-9]$", 3_600));
        let got = Player::FFmpeg.read(&server, Transport::Tcp, &reading, 10).hashes();
        assert_run(&clip.hashes(), &got, 10);
    }
    let good = p256.token("read", "cam1", 3_600);
    let by_password = Reader::open(server.address("rtspAddress"), "cam1", Some(("ada", &good)));
    by_password.expect("the right token").until(0, 1);

    let claims = || json!({ "exp": now() + 3_600, "mediamtx_permissions": [{ "action": "read" }] });
    let for_ever = json!({ "mediamtx_permissions": [{ "action": "read" }] });
    let (text, _) = good.rsplit_once('.').expect("a token");
    let wrong = [
        ("another action", rsa.token("publish", "cam1", 3_600)),
        ("another path", p256.token("read", "cam2", 3_600)),
        ("the past", p256.token("read", "cam1", -10)),
        (
            "another signer",
            Signer::new("RS256", "rsa").token("read", "cam1", 3_600),
        ),
        (
            "another kind of signature",
            rsa.sign(json!({ "alg": "ES256", "kid": "p256" }), claims()),
        ),
        (
            "an unknown key",
            rsa.sign(json!({ "alg": "RS256", "kid": "../../key" }), claims()),
        ),
        ("no algorithm", rsa.sign(json!({ "alg": "none" }), claims())),
        (
            "an algorithm that is not listed",
            rsa.sign(json!({ "alg": "HS256" }), claims()),
        ),
        ("no signature", format!("{text}.")),
        ("no end", rsa.sign(json!({ "alg": "RS256" }), for_ever)),
        ("too much of it", format!("{good}{}", "A".repeat(8 << 10))),
        ("nothing in it", String::new()),
    ];
    for (what, token) in wrong {
        assert!(
            read(&server, "cam1", &token).is_err(),
            "a token with {what} lets a reader in"
        );
    }

    let stays = read(&server, "cam1", &good).expect("the right token");
    let ends = read(&server, "cam1", &ed.token("read", "cam1", 2)).expect("the right token");
    ends.until_end();
    stays.until(0, stays.count(0) + 1);
}

#[test]
fn keys_that_a_service_publishes_are_fetched_for_the_first_token_and_renewed() {
    let [first, second] = ["a", "b"].map(|name| Signer::new("RS256", name));
    let keys = [first.jwk(), second.jwk()];
    let renewed = Arc::new(AtomicBool::new(false));
    let is_renewed = renewed.clone();
    let backend = Backend::start(move |_, _| {
        let keys = if is_renewed.load(SeqCst) {
            json!({ "keys": keys })
        } else {
            json!({ "keys": [keys[0], { "kty": "oct", "k": "AA" }] })
        };
        Reply::Now(200, keys.to_string())
    });
    let config = format!(
        "      algorithms: [RS256]\n      jwks: {}\n      refresh: 1\n",
        backend.url("/keys")
    );
    let server = server(&config, &format!(", http: ['{}']", backend.host()));
    assert!(backend.requests().is_empty(), "nobody came yet");
    let mut publisher = publish(&server, "cam1", &first.token("publish", "cam1", 3_600));
    publisher.send_all(&made_up(1, 1, 100));
    assert_eq!(backend.requests().len(), 1);
    read(&server, "cam1", &first.token("read", "cam1", 3_600))
        .expect("the right token")
        .until(0, 1);
    let token = second.token("read", "cam1", 3_600);
    assert!(read(&server, "cam1", &token).is_err(), "a key that is not published");
    renewed.store(true, SeqCst);
    let before = backend.requests().len();
    let frames = made_up(1, 1, 100);
    until("the keys are renewed", || {
        // Who says nothing for ten seconds is gone.
        publisher.send(&frames[0]);
        (backend.requests().len() > before).then_some(())
    });
    read(&server, "cam1", &token).expect("the key is published now");
}
