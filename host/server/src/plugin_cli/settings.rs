//! What the registry would say about the component at hand: from options, or from a mediamtx.yml that names it.
//!
//! Options are turned into a configuration and read like one, so that a word means here what it means there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value as Json, json};
use wasmtx_sandbox::{PluginSpec, Use};

use super::component::Component;
use crate::{
    config::{self, Config, plugin::Location},
    wiring,
};

/// What a plugin's entry may be granted, as `--grant` spells it, and what it means.
pub(super) const GRANTS: [(&str, &str); 5] = [
    ("kv", "its own small key-value store"),
    ("http", "hosts or URL prefixes that it may call"),
    ("storage", "the directory that it may keep files below"),
    ("control", "ask for keyframes, end sessions"),
    ("credentials", "see passwords, tokens and the secrets of URLs"),
];

/// A plugin as it would be loaded, and the places where it would run.
pub(super) struct Settings {
    /// The entry of the registry.
    pub(super) spec: PluginSpec,
    /// Each different use of it; one without settings of its own when nothing uses it.
    pub(super) uses: Vec<Use>,
    /// Where this comes from, for people; none when nothing was said.
    pub(super) origin: Option<String>,
    /// The grants that the entry has, as [`GRANTS`] calls them.
    pub(super) granted: Vec<String>,
}

/// The options.
pub(super) fn arguments(command: Command) -> Command {
    command
        .arg(Arg::new("config").long("config").value_name("JSON|FILE").help(
            "The plugin's `config` as JSON or as a .json file, or a mediamtx.yml whose registry names the component",
        ))
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("NAME")
                .help("The entry of mediamtx.yml, when its `file` is not the one given here"),
        )
        .arg(
            Arg::new("grant")
                .long("grant")
                .value_name("GRANT")
                .action(ArgAction::Append)
                .value_delimiter(',')
                .help("What it may use: kv, credentials, control, http=URL, storage=DIRECTORY; may be repeated"),
        )
}

/// Puts together what the options say.
pub(super) fn read(matches: &ArgMatches, component: &Component) -> anyhow::Result<Settings> {
    let grants = matches.get_many::<String>("grant").unwrap_or_default();
    let grants = grants.map(String::as_str).collect::<Vec<_>>();
    let name = matches.get_one::<String>("name").map(String::as_str);
    let config = matches.get_one::<String>("config").map(String::as_str);
    let file = config.filter(|text| !text.trim_start().starts_with('{'));
    if let Some(file) = file
        && !file.ends_with(".json")
    {
        if !grants.is_empty() {
            bail!("--grant does not go with a mediamtx.yml: change `grant` there");
        }
        let path = matches.try_get_one::<String>("path").ok().flatten();
        return from_file(Path::new(file), name, path.map(String::as_str), component);
    }
    if name.is_some() {
        bail!("--name is for --config mediamtx.yml");
    }
    let (text, origin) = match (config, file) {
        (_, Some(file)) => {
            let text = fs::read_to_string(file).with_context(|| format!("--config {file}: it cannot be read"))?;
            (text, Some(file.to_owned()))
        }
        (Some(text), None) => (text.to_owned(), Some("--config".to_owned())),
        (None, None) => ("{}".to_owned(), None),
    };
    let shown = origin.as_deref().unwrap_or("--config");
    let config: Json = serde_json::from_str(&text).with_context(|| format!("{shown}: it is not JSON"))?;
    from_options(component, &config, &grants, origin)
}

fn from_options(
    component: &Component,
    config: &Json,
    grants: &[&str],
    origin: Option<String>,
) -> anyhow::Result<Settings> {
    let name = &component.name;
    let entry = json!({ "file": component.file, "config": config, "grant": grant(grants)? });
    let document = json!({ "plugins": { name: entry } });
    let config = config::parse(&document.to_string(), &[])
        .map_err(|problems| anyhow!("the options make no entry of a registry: {problems}"))?;
    let uses = vec![Use {
        plugin: name.clone(),
        ..Use::default()
    }];
    settings(&config, name, component, uses, origin)
}

/// `--grant` as the value of `grant` in mediamtx.yml.
fn grant(grants: &[&str]) -> anyhow::Result<Json> {
    let mut entry = Map::new();
    for grant in grants {
        match grant.split_once('=') {
            Some(("http", url)) => {
                let list = entry.entry("http").or_insert_with(|| json!([]));
                if let Json::Array(list) = list {
                    list.push(url.into());
                }
            }
            Some((name, value)) => {
                entry.insert(name.to_owned(), value.into());
            }
            None if matches!(*grant, "http" | "storage") => bail!("--grant {grant} needs a value: {grant}=…"),
            None => {
                entry.insert((*grant).to_owned(), true.into());
            }
        }
    }
    Ok(Json::Object(entry))
}

/// `path` names the use that is meant; without it all are.
fn from_file(file: &Path, name: Option<&str>, path: Option<&str>, component: &Component) -> anyhow::Result<Settings> {
    let config = config::load(Some(file), &config::environment()).map_err(|problems| anyhow!("{problems}"))?;
    let shown = file.display();
    let name = match name {
        Some(name) if config.global.plugins.contains_key(name) => name.to_owned(),
        Some(name) => bail!("{shown} has no plugin {name:?}; it has {}", names(&config)),
        None => named_by(&config, component).with_context(|| {
            let has = names(&config);
            format!(
                "no plugin of {shown} has the `file` {}; name one with --name: {has}",
                component.file
            )
        })?,
    };
    let chains: Vec<_> = match path {
        Some(path) => {
            let (entry, _) = config
                .paths
                .find(path)
                .with_context(|| format!("{shown} has no path {path:?}"))?;
            vec![&entry.conf.plugins]
        }
        None => {
            let entries = config.paths.entries().iter().map(|entry| &entry.conf.plugins);
            std::iter::once(&config.path_defaults.plugins).chain(entries).collect()
        }
    };
    let mut uses: Vec<Use> = Vec::new();
    for used in chains.into_iter().flat_map(wiring::uses) {
        if used.plugin == name && !uses.contains(&used) {
            uses.push(used);
        }
    }
    if uses.is_empty() {
        uses.push(Use {
            plugin: name.clone(),
            ..Use::default()
        });
    }
    let origin = format!("{shown}: plugins.{name}");
    settings(&config, &name, component, uses, Some(origin))
}

fn settings(
    config: &Config,
    name: &str,
    component: &Component,
    uses: Vec<Use>,
    origin: Option<String>,
) -> anyhow::Result<Settings> {
    let spec = wiring::specs(config).into_iter().find(|spec| spec.name == name);
    let spec = spec.with_context(|| format!("there is no plugin {name:?}"))?;
    let entry = config.global.plugins.get(name).map(|entry| entry.grant.given());
    let granted = entry.unwrap_or_default().into_iter().map(str::to_owned).collect();
    Ok(Settings {
        spec: PluginSpec {
            source: component.source.clone(),
            ..spec
        },
        uses,
        origin,
        granted,
    })
}

/// The entry whose `file` is the component.
fn named_by(config: &Config, component: &Component) -> Option<String> {
    let wanted = fs::canonicalize(&component.file).ok();
    let is_it = |location: &Location, name: &str| match location {
        Location::File(file) => wanted.is_some() && fs::canonicalize::<&PathBuf>(file).ok() == wanted,
        Location::Builtin(bundled) => component.file.strip_prefix("builtin:") == Some(bundled),
        Location::Bundled => component.file.strip_prefix("builtin:") == Some(name),
        // No file that could be given here.
        Location::Remote(_) => false,
    };
    let mut plugins = config.global.plugins.iter();
    plugins
        .find(|(name, plugin)| is_it(&plugin.file, name))
        .map(|(name, _)| name.clone())
}

fn names(config: &Config) -> String {
    let names: Vec<_> = config.global.plugins.keys().map(String::as_str).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_written_as_in_the_file() {
        let grants = [
            "kv",
            "http=https://a.example/",
            "http=https://b.example/",
            "storage=./files",
        ];
        assert_eq!(
            grant(&grants).unwrap(),
            json!({ "kv": true, "http": ["https://a.example/", "https://b.example/"], "storage": "./files" })
        );
        for missing in ["http", "storage"] {
            assert!(grant(&[missing]).is_err(), "{missing} needs a value");
        }
    }
}
