//! `jwt`, with tokens that OpenSSL signs.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value as Json, json};
use wasmtx_media::{Codec as MediaCodec, Kind};

use crate::harness::{
    Backend, Codec, Folder, Player, Publisher, Reader, Reply, Server, Transport, assert_run, made_up, run,
};

/// Who signs tokens.
struct Signer {
    algorithm: &'static str,
    folder: Folder,
}

impl Signer {
    fn new(algorithm: &'static str) -> Signer {
        let kind = match algorithm {
            "RS256" => "RSA -pkeyopt rsa_keygen_bits:2048",
            "ES256" => "EC -pkeyopt ec_paramgen_curve:P-256",
            _ => "ED25519",
        };
        let signer = Signer {
            algorithm,
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
        self.sign(json!({ "alg": self.algorithm, "kid": self.algorithm }), claims)
    }

    /// Its public key as services publish it; of RSA.
    fn jwk(&self) -> Json {
        let said = self.openssl(&format!("rsa -in {} -noout -modulus", self.file("key.pem")));
        let said = String::from_utf8_lossy(&said).into_owned();
        let digits = said.trim().trim_start_matches("Modulus=").as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hexadecimal digits");
        let modulus: Vec<u8> = digits.chunks(2).map(byte).collect();
        json!({ "kty": "RSA", "use": "sig", "kid": self.algorithm, "n": self.base64(&modulus), "e": "AQAB" })
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

/// A server that knows a key of each kind.
fn knowing(signers: &[Signer]) -> Server {
    let keys = signers
        .iter()
        .map(|signer| format!("      - {{ kid: {}, pem: \"{}\" }}\n", signer.algorithm, signer.pem()));
    server(
        &format!(
            "      algorithms: [RS256, ES256, EdDSA]\n      keys:\n{}",
            keys.collect::<String>()
        ),
        "",
    )
}

fn publish(server: &Server, path: &str, token: &str) -> Publisher {
    let url = format!("{path}?token={token}");
    Publisher::try_new(server, &url, None, Kind::Video, MediaCodec::Vp8).expect("the right token")
}

fn read(server: &Server, path: &str, token: &str) -> Result<Reader, String> {
    Reader::open(server.address("rtspAddress"), &format!("{path}?jwt={token}"), None)
}

#[test]
fn players_get_in_with_what_openssl_signed_by_each_kind_of_key() {
    let signers = ["RS256", "ES256", "EdDSA"].map(Signer::new);
    let server = knowing(&signers);
    let clip = Codec::H264.clip();
    let publishing = format!("cam1?token={}", signers[0].token("publish", "cam1", 3_600));
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, &publishing, &clip);
    server.online("cam1");
    for signer in &signers {
        let reading = format!("cam1?jwt={}", signer.token("read", "~^cam[0-9]$", 3_600));
        let got = Player::FFmpeg.read(&server, Transport::Tcp, &reading, 10).hashes();
        assert_run(&clip.hashes(), &got, 10);
    }
    // As a password.
    let token = signers[1].token("read", "cam1", 3_600);
    let reader = Reader::open(server.address("rtspAddress"), "cam1", Some(("ada", &token)));
    reader.expect("the right token").until(0, 1);
}

#[test]
fn tokens_that_are_not_right_let_nobody_in() {
    let signers = ["RS256", "ES256", "EdDSA"].map(Signer::new);
    let server = knowing(&signers);
    let _publisher = publish(&server, "cam1", &signers[0].token("publish", "cam1", 3_600));
    let [rsa, p256, _] = &signers;
    let claims = || json!({ "exp": now() + 3_600, "mediamtx_permissions": [{ "action": "read" }] });
    let good = p256.token("read", "cam1", 3_600);
    let (text, _) = good.rsplit_once('.').expect("a token");
    let wrong = [
        ("another action", rsa.token("publish", "cam1", 3_600)),
        ("another path", p256.token("read", "cam2", 3_600)),
        ("the past", p256.token("read", "cam1", -10)),
        ("another signer", Signer::new("RS256").token("read", "cam1", 3_600)),
        (
            "another kind of signature",
            rsa.sign(json!({ "alg": "ES256", "kid": "ES256" }), claims()),
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
        (
            "no end",
            rsa.sign(
                json!({ "alg": "RS256" }),
                json!({ "mediamtx_permissions": [{ "action": "read" }] }),
            ),
        ),
        ("too much of it", format!("{good}{}", "A".repeat(8 << 10))),
        ("nothing in it", String::new()),
    ];
    for (what, token) in wrong {
        let reason = read(&server, "cam1", &token).err();
        assert!(reason.is_some(), "a token with {what} lets a reader in");
    }
    read(&server, "cam1", &good).expect("the right token");
}

#[test]
fn a_session_ends_when_its_token_does() {
    let signers = [Signer::new("EdDSA")];
    let server = knowing(&signers);
    let mut publisher = publish(&server, "cam1", &signers[0].token("publish", "cam1", 3_600));
    publisher.send_all(&made_up(1, 1, 100));
    let stays = read(&server, "cam1", &signers[0].token("read", "cam1", 3_600)).expect("the right token");
    let ends = read(&server, "cam1", &signers[0].token("read", "cam1", 2)).expect("the right token");
    ends.until_end();
    publisher.send_all(&made_up(2, 1, 100)[1..]);
    stays.until(0, 2);
}

#[test]
fn keys_that_a_service_publishes_are_fetched_when_the_first_token_comes() {
    let [first, second] = [Signer::new("RS256"), Signer::new("RS256")];
    let keys = [first.jwk(), second.jwk()];
    let backend = Backend::start(move |route, _| match route {
        "/old" => Reply::Now(
            200,
            json!({ "keys": [keys[0], { "kty": "oct", "k": "AA" }] }).to_string(),
        ),
        _ => Reply::Now(200, json!({ "keys": keys }).to_string()),
    });
    let fetching = |route: &str| {
        let config = format!("      algorithms: [RS256]\n      jwks: {}\n", backend.url(route));
        server(&config, &format!(", http: ['{}']", backend.host()))
    };
    let server = fetching("/old");
    assert!(backend.requests().is_empty(), "nobody came yet");
    let mut publisher = publish(&server, "cam1", &first.token("publish", "cam1", 3_600));
    publisher.send_all(&made_up(1, 1, 100));
    assert_eq!(backend.requests().len(), 1);
    read(&server, "cam1", &first.token("read", "cam1", 3_600))
        .expect("the right token")
        .until(0, 1);
    assert!(
        read(&server, "cam1", &second.token("read", "cam1", 3_600)).is_err(),
        "a key that is not published"
    );

    // The same name for both keys: each is tried.
    let server = fetching("/both");
    let mut publisher = publish(&server, "cam1", &second.token("publish", "cam1", 3_600));
    publisher.send_all(&made_up(1, 1, 100));
    read(&server, "cam1", &first.token("read", "cam1", 3_600))
        .expect("the right token")
        .until(0, 1);
}
