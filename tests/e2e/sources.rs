//! Plugins that come from elsewhere: a real OCI registry, pushed to by a client, pulled from by the server.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol, Config, ImageLayer},
    manifest::OciImageManifest,
    secrets::RegistryAuth,
};

use crate::harness::{Folder, Server, Tool, binary, plugin, until};

/// The reference implementation of a registry, on a port that the system chooses.
struct Registry {
    address: String,
    running: Tool,
    _folder: Folder,
}

impl Registry {
    fn start() -> Registry {
        let folder = Folder::new();
        let configuration = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n",
            folder.file("registry").display()
        );
        let configuration = folder.write("registry.yml", configuration);
        let running = Tool::start("docker-registry", ["serve".into(), configuration]);
        let address = until("the registry listens", || {
            let said = running.said();
            let (_, rest) = said.split_once("listening on ")?;
            let end = rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':'))?;
            Some(rest[..end].to_owned())
        });
        Registry {
            address,
            running,
            _folder: folder,
        }
    }

    fn reference(&self, tag: &str) -> String {
        format!("oci://{}/team/first:{tag}", self.address)
    }

    /// Pushes a component as tools for components do; answers the digest of its manifest.
    fn push(&self, component: &[u8], tag: &str, annotations: &[(&str, &str)]) -> String {
        // The client asks for a provider, although it speaks plain HTTP here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new(ClientConfig {
            protocol: ClientProtocol::Http,
            ..ClientConfig::default()
        });
        let reference: Reference = self.reference(tag)["oci://".len()..].parse().expect("a reference");
        let layers = [ImageLayer::new(component.to_vec(), "application/wasm".into(), None)];
        let config = Config::new(&b"{}"[..], "application/vnd.wasm.config.v0+json".into(), None);
        let annotations = annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let annotations: BTreeMap<_, _> = annotations.collect();
        let manifest = OciImageManifest::build(&layers, &config, Some(annotations));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let auth = RegistryAuth::Anonymous;
            let pushed = client.push(&reference, &layers, config, &auth, Some(manifest)).await;
            pushed.expect("the registry takes it");
            client
                .fetch_manifest_digest(&reference, &auth)
                .await
                .expect("it has it")
        })
    }
}

/// A folder with a configuration that names one plugin, and where the server keeps what it fetched.
struct Place {
    state: Folder,
    lock: String,
    entry: String,
    /// A file with the authorities that count; without it the system's do.
    authorities: Option<String>,
}

impl Place {
    fn new(entry: &str) -> Place {
        Place {
            state: Folder::new(),
            lock: String::new(),
            entry: entry.to_owned(),
            authorities: None,
        }
    }

    /// Another machine with the same configuration and lock.
    fn elsewhere(&self) -> Place {
        Place {
            lock: self.lock.clone(),
            authorities: self.authorities.clone(),
            ..Place::new(&self.entry)
        }
    }

    fn yaml(&self) -> String {
        format!(
            "plugins:\n  first:\n    {}\npaths:\n  cam1:\n    plugins: [first]\n",
            self.entry
        )
    }

    fn folder(&self) -> Folder {
        let folder = Folder::new();
        if !self.lock.is_empty() {
            folder.write("plugins.lock", &self.lock);
        }
        folder
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        let state = ("MTX_STATEDIRECTORY", text(self.state.path()));
        let authorities = self.authorities.as_deref().map(|file| ("SSL_CERT_FILE", file));
        [state].into_iter().chain(authorities).collect()
    }

    fn start(&self) -> Server {
        Server::start_in(self.folder(), &self.yaml(), &self.environment())
    }

    /// Runs the program with these arguments and the configuration; whether it was well, and what it said.
    fn run(&mut self, arguments: &[&str]) -> (bool, String) {
        let folder = self.folder();
        folder.write("mediamtx.yml", self.yaml());
        let mut command = Command::new(binary());
        command.args(arguments).arg("mediamtx.yml").current_dir(folder.path());
        let output = command.envs(self.environment()).output().expect("the program starts");
        self.lock = folder.read("plugins.lock");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Expects that the program says no, with these words.
    #[track_caller]
    fn refused(&mut self, arguments: &[&str], expected: &str) {
        let (well, said) = self.run(arguments);
        assert!(!well && said.contains(expected), "{expected} is not in\n{said}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

fn openssl(folder: &Folder, arguments: &[&str]) {
    let mut command = Command::new("openssl");
    let output = command
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .expect("openssl starts");
    assert!(output.status.success(), "{output:?}");
}

fn component() -> Vec<u8> {
    fs::read(plugin("keyframes-only")).expect("a component")
}

/// The same with a custom section at its end: another component.
fn other_component() -> Vec<u8> {
    [&component()[..], &[0, 3, 1, b'v', 2]].concat()
}

#[track_caller]
fn loaded(server: &Server) -> String {
    let plugin = server.api("plugins/list")["items"][0].clone();
    plugin["version"]
        .as_str()
        .unwrap_or_else(|| panic!("{plugin}"))
        .to_owned()
}

#[test]
fn a_plugin_of_a_registry_is_locked_pulled_and_kept() {
    let registry = Registry::start();
    let digest = registry.push(&component(), "1.0", &[]);
    let mut place = Place::new(&format!("file: {}", registry.reference("1.0")));
    // A tag alone is no plugin.
    place.refused(&["check"], "plugins.first.file: a tag can mean something else tomorrow");
    place.refused(&[], "wasmtx plugin lock");

    let (well, said) = place.run(&["plugin", "lock"]);
    assert!(well && said.contains("first: new") && said.contains(&digest), "{said}");
    assert!(place.run(&["check"]).0);
    let version = loaded(&place.start());

    // What the tag says now is something else; what is loaded is not.
    registry.push(&other_component(), "1.0", &[]);
    assert_eq!(loaded(&place.start()), version);
    let elsewhere = place.elsewhere();
    assert_eq!(loaded(&elsewhere.start()), version);

    // Without a registry.
    drop(registry.running);
    assert_eq!(loaded(&place.start()), version);
    place.elsewhere().refused(&[], "plugins.first.file: ");
}

#[test]
fn a_lock_that_was_changed_is_not_followed() {
    let registry = Registry::start();
    registry.push(&component(), "1.0", &[]);
    let mut place = Place::new(&format!("file: {}", registry.reference("1.0")));
    assert!(place.run(&["plugin", "lock"]).0);
    let other = registry.push(&other_component(), "2.0", &[]);
    // Another manifest, with the component's digest left as it was.
    let at = place.lock.find("@sha256:").expect("a digest") + 1;
    place.lock.replace_range(at..at + other.len(), &other);
    place.refused(&[], "its SHA-256 is");
    place.entry = format!("file: {}", registry.reference("2.0"));
    place.refused(&["check"], "plugins.lock is about");
    let (well, said) = place.run(&["plugin", "lock"]);
    assert!(well && said.contains("first: changed"), "{said}");
    loaded(&place.start());
}

#[test]
fn a_reload_that_cannot_have_its_plugin_changes_nothing() {
    let registry = Registry::start();
    let digest = registry.push(&component(), "1.0", &[]);
    let source = registry.reference("1.0");
    let place = Place::new(&format!("file: {source}@{digest}"));
    let server = place.start();
    let version = loaded(&server);
    let missing = format!("sha256:{}", "0".repeat(64));
    server
        .folder()
        .write("mediamtx.yml", place.yaml().replace(&digest, &missing));
    server.logged(&["plugins.first.file: "]);
    server.logged(&["the configuration in force stays"]);
    assert_eq!(loaded(&server), version);
    let other = registry.push(&other_component(), "1.0", &[]);
    server
        .folder()
        .write("mediamtx.yml", place.yaml().replace(&digest, &other));
    server.logged(&["configuration reloaded"]);
    assert_ne!(loaded(&server), version);
}

#[test]
fn a_signature_that_is_asked_for_has_to_be_there() {
    let folder = Folder::new();
    folder.write("first.wasm", component());
    openssl(&folder, &["genpkey", "-algorithm", "ed25519", "-out", "key.pem"]);
    openssl(
        &folder,
        &[
            "pkey", "-in", "key.pem", "-pubout", "-outform", "DER", "-out", "key.der",
        ],
    );
    let sign = [
        "pkeyutl",
        "-sign",
        "-inkey",
        "key.pem",
        "-rawin",
        "-in",
        "first.wasm",
        "-out",
        "first.sig",
    ];
    openssl(&folder, &sign);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    // The key is the last 32 bytes of its DER form (RFC 8410).
    let public = fs::read(folder.file("key.der")).expect("a key");
    let public = hex(&public[public.len() - 32..]);
    let signature = hex(&fs::read(folder.file("first.sig")).expect("a signature"));

    let registry = Registry::start();
    let plain = registry.push(&component(), "plain", &[]);
    let signed = registry.push(&component(), "signed", &[("io.wasmtx.signature", &signature)]);
    let entry =
        |tag: &str, digest: &str| format!("file: {}@{digest}\n    publicKey: {public}", registry.reference(tag));
    let mut place = Place::new(&entry("plain", &plain));
    place.refused(&[], "plugins.first.file: it is not signed");
    place.entry = entry("signed", &signed);
    loaded(&place.start());
    // A copy that is here already does not count without a signature.
    place.entry = entry("plain", &plain);
    place.refused(&[], "it is not signed");
}

#[test]
fn a_plugin_behind_https_needs_an_authority_that_counts() {
    let folder = Folder::new();
    folder.write("first.wasm", component());
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let request = |more: &[&str]| openssl(&folder, &[&["req"], &key[..], more].concat());
    request(&["-x509", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=authority"]);
    let name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    request(&[&["-keyout", "key", "-out", "csr"], &name[..]].concat());
    let issue = [
        "x509",
        "-req",
        "-in",
        "csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
    ];
    openssl(
        &folder,
        &[&issue[..], &["-copy_extensions", "copy", "-out", "crt"]].concat(),
    );

    // Serves the files of its own folder.
    let site = |name: &str| text(&folder.file(name)).to_owned();
    let serving = [
        "s_server",
        "-accept",
        "127.0.0.1:0",
        "-WWW",
        "-cert",
        &site("crt"),
        "-key",
        &site("key"),
    ];
    let server = Tool::start("openssl", serving);
    fs::copy(folder.file("first.wasm"), server.file("first.wasm")).expect("a copy");
    let port = until("openssl listens", || {
        let said = server.said();
        let (_, rest) = said.split_once("ACCEPT 127.0.0.1:")?;
        rest.split_once('\n').map(|(port, _)| port.to_owned())
    });
    let mut place = Place::new(&format!("file: https://localhost:{port}/first.wasm"));
    place.refused(&["plugin", "lock"], "TLS");
    place.authorities = Some(site("ca.crt"));
    let (well, said) = place.run(&["plugin", "lock"]);
    assert!(well, "{said}");
    let version = loaded(&place.elsewhere().start());
    drop(server);
    assert_eq!(loaded(&place.start()), version);
}
