//! The file that is shipped, and its completeness.

use super::*;
use std::collections::BTreeSet;

pub(super) const SHIPPED: &str = include_str!("../../../../../mediamtx.yml");

/// The shipped file with its commented settings switched on; prose stays a comment.
pub(super) fn uncommented() -> String {
    let known: BTreeSet<&str> = Global::fields()
        .iter()
        .chain(PathConf::fields())
        .map(|field| field.key)
        .collect();
    let line = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        let key = line
            .trim_start()
            .strip_prefix("# ")
            .and_then(|rest| rest.split_once(':'))
            .map(|(key, _)| key);
        match key {
            Some(key) if known.contains(key) && key != "plugins" => {
                format!("{}{}\n", &line[..indent], line.trim_start().trim_start_matches("# "))
            }
            _ => format!("{line}\n"),
        }
    };
    SHIPPED.lines().map(line).collect()
}

#[test]
fn the_shipped_file_says_the_defaults() {
    for text in [SHIPPED, &uncommented()] {
        let config = accepted(text);
        let (global, defaults) = (Global::default(), PathConf::default());
        for (key, value) in global.to_json() {
            assert_eq!(config.global_json()[&key], value, "{key}");
        }
        for (key, value) in defaults.to_json() {
            assert_eq!(config.path_defaults_json()[&key], value, "{key}");
        }
        assert!(config.global == global && config.path_defaults == defaults);
        assert_eq!(
            config
                .paths
                .entries()
                .iter()
                .map(|entry| entry.name.as_str())
                .collect::<Vec<_>>(),
            ["all_others"]
        );
    }
}

#[test]
fn the_shipped_file_warns_of_nothing_but_its_open_doors() {
    let warnings = accepted(SHIPPED).warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("anybody may publish, read without a password"));
    assert!(SHIPPED.lines().take(6).any(|line| line.contains("WHAT IS OPEN")));
}

#[test]
fn the_shipped_file_holds_every_key() {
    let text = uncommented();
    let tree = yaml::parse(&text).unwrap();
    let missing = |fields: &[schema::Field], node: &Node, besides: &[&str]| {
        let there = |key: &str| besides.contains(&key) || node.entry(key).is_some();
        fields
            .iter()
            .map(|field| field.key)
            .filter(|key| !there(key))
            .collect::<Vec<_>>()
    };
    assert_eq!(missing(Global::fields(), &tree, &["plugins"]), [""; 0]);
    assert_eq!(
        missing(PathConf::fields(), tree.get("pathDefaults").unwrap(), &[]),
        [""; 0]
    );
    assert_eq!(missing(Limits::fields(), tree.get("limits").unwrap(), &[]), [""; 0]);
}

#[test]
fn the_example_of_a_registry_entry_holds_every_key_and_its_default() {
    let section = SHIPPED
        .split("# Plugins (wasmtx)")
        .nth(1)
        .unwrap()
        .split("#####")
        .next()
        .unwrap();
    let example: String = section
        .lines()
        .skip_while(|line| *line != "# plugins:")
        .map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or("")))
        .collect();
    let config = accepted(&example);
    let door = config.global.plugins["door"].clone();
    let expected = plugin::Plugin {
        file: door.file.clone(),
        config: door.config.clone(),
        ..plugin::Plugin::default()
    };
    assert!(door == expected && config.global.plugins.len() == 1);
    let written = yaml::parse(&example).unwrap();
    let entry = written.get("plugins").and_then(|plugins| plugins.get("door")).unwrap();
    for (fields, node) in [
        (plugin::Plugin::fields(), Some(entry)),
        (plugin::Limits::fields(), entry.get("limits")),
        (plugin::Grant::fields(), entry.get("grant")),
        (plugin::OnError::fields(), entry.get("onError")),
    ] {
        for field in fields {
            assert!(node.unwrap().entry(field.key).is_some(), "{}", field.key);
        }
    }
}

#[test]
fn no_key_is_declared_twice_or_live_and_deprecated() {
    for (fields, old) in [
        (Global::fields(), deprecated::global_keys().collect::<Vec<_>>()),
        (PathConf::fields(), deprecated::path_keys().collect()),
    ] {
        let keys: BTreeSet<&str> = fields.iter().map(|field| field.key).collect();
        assert_eq!(keys.len(), fields.len());
        assert!(old.iter().all(|old| !keys.contains(old)));
    }
}
