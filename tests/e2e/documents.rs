//! What the documents say is there: paths, links, commands, and settings that the server takes.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process,
};

use crate::harness::{Folder, binary};

/// The rooms of the house, as ARCHITECTURE.md has to name them.
const ROOMS: [&str; 6] = [
    "host/media",
    "host/protocol",
    "host/hub",
    "host/sandbox",
    "host/endpoints",
    "host/server",
];

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("the root of the sources").to_owned()
}

#[track_caller]
fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Every file below a folder whose name ends so; what was built is left out.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the sources").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no file ends in {ending}");
    found
}

/// The words in backticks, outside of blocks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let mut block = false;
    let lines = text.lines().filter(move |line| {
        block ^= line.trim_start().starts_with("```");
        !block
    });
    lines.flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The blocks in one language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let open = format!("```{language}\n");
    let parts = text.split(&open).skip(1);
    parts.filter_map(|part| Some(part.split_once("\n```")?.0)).collect()
}

/// Where the links of a page lead.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(')')?.0))
}

/// The name under which a heading can be linked to.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Checks a configuration from the root of the sources, where those of the examples are at home.
#[track_caller]
fn assert_accepted(file: &Path, what: &str) {
    let output = process::Command::new(binary())
        .args(["check".as_ref(), file])
        .current_dir(root())
        .output()
        .expect("the server starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}");
}

#[test]
fn every_path_that_the_architecture_names_is_there() {
    let text = read(&root().join("ARCHITECTURE.md"));
    let named: BTreeSet<&str> = quoted(&text)
        .filter(|word| word.contains('/') || [".md", ".yml", ".toml"].iter().any(|ending| word.ends_with(ending)))
        .filter(|word| !word.contains([' ', '*', ':']) && !word.starts_with('/'))
        .collect();
    for room in ROOMS {
        assert!(named.contains(room), "{room} is not named");
    }
    let missing: Vec<_> = named.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "named and not there: {missing:?}");
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = Vec::new();
    for page in files(&root(), ".md") {
        let text = read(&page);
        for link in links(&text) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let target = if file.is_empty() {
                page.clone()
            } else {
                page.with_file_name(file)
            };
            let leads = target.exists()
                && (heading.is_empty()
                    || read(&target)
                        .lines()
                        .any(|line| line.starts_with('#') && anchor(line) == heading));
            if !leads {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_make_target_that_is_named_is_there() {
    let makefile = read(&root().join("Makefile"));
    for page in files(&root(), ".md") {
        let text = read(&page);
        for line in quoted(&text).filter_map(|word| word.strip_prefix("make ")) {
            let target = line.split(' ').find(|word| !word.contains('=')).unwrap_or("help");
            let rule = format!("\n{target}:");
            assert!(makefile.contains(&rule), "{}: make {line}", page.display());
        }
    }
}

#[test]
fn the_shipped_configuration_is_accepted() {
    assert_accepted(&root().join("mediamtx.yml"), "mediamtx.yml");
}

#[test]
fn the_configurations_of_the_examples_are_accepted() {
    for file in files(&root().join("examples"), "mediamtx.yml") {
        assert_accepted(&file, &file.display().to_string());
    }
}

#[test]
fn the_configurations_in_the_documents_are_accepted() {
    let folder = Folder::new();
    let mut count = 0;
    for page in files(&root(), ".md") {
        for block in blocks(&read(&page), "yaml") {
            let file = folder.write("mediamtx.yml", block);
            assert_accepted(&file, &format!("{}\n{block}\n", page.display()));
            count += 1;
        }
    }
    assert!(count > 0, "no document shows a configuration");
}
