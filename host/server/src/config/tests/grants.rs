//! What plugins are granted, and how it is written.

use super::*;
use crate::config::plugin::{Control, Grant, KeyValues};

fn grant(text: &str) -> Grant {
    accepted(&format!("plugins: {{a: {{file: a.wasm, grant: {text}}}}}"))
        .global
        .plugins["a"]
        .grant
        .clone()
}

fn refused(text: &str, expected: &str) {
    let message = complaints(&format!("plugins: {{a: {{file: a.wasm, grant: {text}}}}}"));
    assert!(
        message.starts_with("line 1, column ") && message.contains(expected),
        "{message}"
    );
}

#[test]
fn nothing_is_granted_by_default() {
    assert!(Grant::default().given().is_empty());
    assert!(grant("{}").given().is_empty());
    assert!(
        grant("{http: [], kv: no, storage: '', control: no, credentials: no}")
            .given()
            .is_empty()
    );
}

#[test]
fn a_grant_is_one_word_or_more() {
    assert_eq!(grant("{kv: yes}").kv, KeyValues::Yes);
    assert_eq!(grant("{kv: true}").kv, KeyValues::Yes);
    assert_eq!(grant("{kv: persist}").kv, KeyValues::Persist);
    assert_eq!(grant("{control: all}").control, Control::All);
    refused("{kv: forever}", "plugins.a.grant.kv: expected one of no, yes, persist");
    refused(
        "{control: maybe}",
        "plugins.a.grant.control: expected one of no, yes, all",
    );
    refused("{kv: [yes]}", "plugins.a.grant.kv: ");
}

#[test]
fn storage_is_a_directory_or_a_map() {
    let word = grant("{storage: ./files}").storage.0;
    let map = grant("{storage: {directory: ./files}}").storage.0;
    assert!(word == map && word.directory.0 == "./files" && word.quota.0 == 1 << 30);
    let map = grant("{storage: {directory: ./files, quota: 10G}}").storage.0;
    assert_eq!(map.quota.0, 10 << 30);
    refused(
        "{storage: {quota: 10G}}",
        "plugins.a.grant.storage: expected a directory",
    );
    refused(
        "{storage: {directory: x, quota: much}}",
        "plugins.a.grant.storage.quota: expected a size",
    );
    let objects = grant("{storage: 's3://bucket/plugin files'}").storage.0;
    assert_eq!(objects.directory.0, "s3://bucket/plugin files");
    refused(
        "{storage: 's3://key:secret@bucket'}",
        "plugins.a.grant.storage: no name of a bucket: expected s3://bucket/prefix",
    );
    refused(
        "{storage: {directory: 's3://bucket/../x'}}",
        "plugins.a.grant.storage.directory: no prefix",
    );
    refused("{storage: {folder: x}}", "plugins.a.grant.storage.folder: unknown key");
    refused("{storage: [x]}", "plugins.a.grant.storage: ");
}

#[test]
fn hosts_are_checked_where_they_stand() {
    assert_eq!(grant("{http: a.example}").http.0, ["a.example"]);
    assert_eq!(grant("{http: [a.example, 'https://b.example/api/']}").http.0.len(), 2);
    check_refused(
        "plugins:\n  a:\n    file: a.wasm\n    grant:\n      http:\n      - a.example\n      - ftp://b.example\n",
        &["line 7, column 9: plugins.a.grant.http.1: `ftp://b.example`: only http:// and https:// can be granted"],
    );
    refused("{http: ['*']}", "plugins.a.grant.http.0: `*`: every host is too much");
    refused(
        "{http: {a: b}}",
        "plugins.a.grant.http: expected a list of hosts or URLs",
    );
}
