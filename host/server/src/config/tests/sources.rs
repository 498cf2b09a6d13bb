//! Where plugins come from, and what the lock says about it.

use super::*;
use crate::config::plugin::{Location, Lock};
use std::{fs, path::PathBuf};
use wasmtx_endpoints::fetch::Digest;

const ONE: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const TWO: &str = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752";

/// A folder with a configuration and a lock, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, configuration: &str, lock: &str) -> Folder {
        let folder = Folder(std::env::temp_dir().join(format!("wasmtx-sources-{}-{name}", std::process::id())));
        fs::create_dir_all(&folder.0).unwrap();
        fs::write(folder.file(), configuration).unwrap();
        fs::write(Lock::beside(&folder.file()), lock).unwrap();
        folder
    }

    fn file(&self) -> PathBuf {
        self.0.join("mediamtx.yml")
    }

    fn pinned(&self) -> Result<String, String> {
        let config = load(Some(&self.file()), &[]).map_err(|problems| problems.to_string())?;
        let pinned = crate::sources::pinned(&config).map_err(|problems| problems.to_string())?;
        let shown = pinned.iter().map(|(name, wanted)| match wanted.sha256 {
            Some(sha256) => format!("{name} {} {sha256}", wanted.origin),
            None => format!("{name} {}", wanted.origin),
        });
        Ok(shown.collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn locked(source: &str, resolved: &str, sha256: &str) -> String {
    format!("version: 1\nplugins:\n  a:\n    source: {source}\n    resolved: {resolved}\n    sha256: {sha256}\n")
}

#[track_caller]
fn check(name: &str, plugin: &str, lock: &str, expected: Result<&str, &str>) {
    let folder = Folder::new(name, &format!("plugins:\n  a:\n    {plugin}\n"), lock);
    match (folder.pinned(), expected) {
        (Ok(pinned), Ok(expected)) => assert_eq!(pinned, expected),
        (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
        (found, expected) => panic!("{found:?} instead of {expected:?}"),
    }
}

#[test]
fn a_component_can_be_elsewhere() {
    let file = |text: &str| {
        accepted(&format!("plugins: {{a: {{file: '{text}'}}}}")).global.plugins["a"]
            .file
            .clone()
    };
    assert!(matches!(file("./a.wasm"), Location::File(_)));
    assert!(matches!(file("https://plugins.example/a.wasm"), Location::Remote(_)));
    assert!(matches!(file("oci://registry.example/a:1"), Location::Remote(_)));
    for wrong in [
        "http://plugins.example/a.wasm",
        "ftp://x/a.wasm",
        "oci://a",
        "oci://registry.example/a",
    ] {
        let message = complaints(&format!("plugins:\n  a:\n    file: {wrong}\n"));
        assert!(message.starts_with("line 3, column 11: plugins.a.file: "), "{message}");
    }
}

#[test]
fn a_signature_is_for_what_is_fetched() {
    let key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let config = accepted(&format!("plugins: {{a: {{file: 'https://h/a', publicKey: {key}}}}}"));
    assert_eq!(config.global.plugins["a"].public_key.0.unwrap().to_string(), key);
    let message = complaints(&format!("plugins: {{a: {{file: a.wasm, publicKey: {key}}}}}"));
    assert!(
        message.contains("plugins.a.publicKey: signatures are for plugins that are fetched"),
        "{message}"
    );
    let message = complaints("plugins: {a: {file: 'https://h/a', publicKey: abc}}");
    assert!(
        message.contains("plugins.a.publicKey: expected an ed25519 public key"),
        "{message}"
    );
}

#[test]
fn what_is_fetched_needs_a_digest() {
    let url = "file: https://h/a.wasm";
    check(
        "url",
        url,
        "",
        Err("mediamtx.yml:3:5: plugins.a.file: a URL needs the `sha256`"),
    );
    check(
        "sha256",
        &format!("{url}\n    sha256: {ONE}"),
        "",
        Ok(&format!("a https://h/a.wasm {ONE}")),
    );
    check(
        "tag",
        "file: oci://r.example/a:1",
        "",
        Err("plugins.a.file: a tag can mean something else tomorrow"),
    );
    let by_digest = format!("oci://r.example/a@sha256:{ONE}");
    check(
        "digest",
        &format!("file: {by_digest}"),
        "",
        Ok(&format!("a {by_digest}")),
    );
}

#[test]
fn the_lock_says_what_a_name_stands_for() {
    let url = "https://h/a.wasm";
    let lock = locked(url, url, ONE);
    check(
        "locked-url",
        &format!("file: {url}"),
        &lock,
        Ok(&format!("a {url} {ONE}")),
    );
    let tag = "oci://r.example/a:1";
    let resolved = format!("{tag}@sha256:{TWO}");
    let expected = format!("a {resolved} {ONE}");
    check(
        "locked-tag",
        &format!("file: {tag}"),
        &locked(tag, &resolved, ONE),
        Ok(&expected),
    );
}

#[test]
fn a_lock_that_says_something_else_is_not_overruled() {
    let url = "https://h/a.wasm";
    let tag = "oci://r.example/a:1";
    let digest = format!("oci://r.example/a@sha256:{ONE}");
    let other = format!("oci://r.example/a@sha256:{TWO}");
    for (name, plugin, lock, expected) in [
        (
            "source",
            format!("file: {url}"),
            locked("https://h/b.wasm", url, ONE),
            "plugins.lock is about https://h/b.wasm",
        ),
        (
            "hash",
            format!("file: {url}\n    sha256: {TWO}"),
            locked(url, url, ONE),
            "plugins.a.sha256: plugins.lock says",
        ),
        (
            "manifest",
            format!("file: {digest}"),
            locked(&digest, &other, ONE),
            "plugins.a.file: plugins.lock says",
        ),
        (
            "nothing",
            format!("file: {tag}"),
            locked(tag, "''", ONE),
            "does not say what it is",
        ),
        (
            "no-hash",
            format!("file: {url}"),
            locked(url, url, "''"),
            "does not say what it is",
        ),
        (
            "no-digest",
            format!("file: {tag}"),
            locked(tag, tag, ONE),
            "a tag can mean",
        ),
        (
            "version",
            format!("file: {tag}"),
            "version: 2\n".to_owned(),
            "plugins.lock: this version of wasmtx",
        ),
        (
            "yaml",
            format!("file: {tag}"),
            "plugins: [".to_owned(),
            "plugins.lock:1:",
        ),
        (
            "key",
            format!("file: {tag}"),
            "plugin: {}\n".to_owned(),
            "plugins.lock:1:1: plugin: unknown key",
        ),
    ] {
        check(name, &plugin, &lock, Err(expected));
    }
}

#[test]
fn a_lock_is_read_as_it_was_written() {
    let digest = Digest::of(b"component");
    let found = Fetched {
        origin: format!("oci://r.example/a:1@sha256:{ONE}").parse().unwrap(),
        sha256: digest,
        file: PathBuf::new(),
    };
    let mut lock = Lock::default();
    lock.insert("a", &"oci://r.example/a:1".parse().unwrap(), &found);
    lock.insert(
        "null",
        &"https://h/?q='x'&y=%22#".trim_end_matches('#').parse().unwrap(),
        &found,
    );
    for lock in [lock, Lock::default()] {
        let folder = Folder::new("round", "", &lock.text());
        assert!(load(Some(&folder.file()), &[]).unwrap().lock == lock, "{}", lock.text());
    }
}
