//! Plugins that come from elsewhere: what is to be loaded, by configuration and lock, and having it here before it is.

use std::collections::BTreeMap;

use anyhow::anyhow;
use futures_util::{StreamExt, stream};
use wasmtx_endpoints::fetch::{Digest, Fetched, Fetcher, Origin, Wanted};

use crate::config::{
    Config, Problems,
    plugin::{LOCK, Location, Locked},
};

/// Plugins that are fetched at once.
const AT_ONCE: usize = 4;
/// What helps against most of what is wrong here.
const AGAIN: &str = "`wasmtx plugin lock` writes it anew";

/// The plugins that come from elsewhere, as they are written: for finding out what they are.
pub(crate) fn remote(config: &Config) -> Vec<(&str, Wanted)> {
    let plugins = config.global.plugins.iter();
    let remote = plugins.filter_map(|(name, plugin)| match &plugin.file {
        Location::Remote(origin) => Some((
            name.as_str(),
            Wanted {
                origin: origin.clone(),
                sha256: plugin.sha256.sha256().map(Digest),
                key: plugin.public_key.0,
            },
        )),
        _ => None,
    });
    remote.collect()
}

/// The same with the digests of the lock: what is to be loaded.
///
/// # Errors
/// Plugins that the configuration and the lock say different things about, and those without a digest.
pub fn pinned(config: &Config) -> Result<Vec<(&str, Wanted)>, Problems> {
    let mut pinned = remote(config);
    let mut complaints = Vec::new();
    for (name, wanted) in &mut pinned {
        if let Err((key, message)) = pin(wanted, config.lock.plugins.get(*name)) {
            complaints.push((["plugins", *name, key], message));
        }
    }
    match complaints.is_empty() {
        true => Ok(pinned),
        false => Err(config.problems(complaints)),
    }
}

/// Adds what the lock knows; else the key that is wrong, and why.
fn pin(wanted: &mut Wanted, locked: Option<&Locked>) -> Result<(), (&'static str, String)> {
    if let Some(locked) = locked {
        let source = wanted.origin.to_string();
        if locked.source != source {
            let message = format!("{LOCK} is about {}, not about {source}; {AGAIN}", locked.source);
            return Err(("file", message));
        }
        let resolved = locked.resolved.parse::<Origin>().ok();
        let known = locked.sha256.sha256().map(Digest);
        let (Some(resolved), Some(known)) = (resolved, known) else {
            return Err(("file", format!("{LOCK} does not say what it is; {AGAIN}")));
        };
        if wanted.sha256.is_some_and(|sha256| sha256 != known) {
            return Err(("sha256", format!("{LOCK} says {known}; {AGAIN}")));
        }
        let named = wanted.origin.digest();
        if named.is_some() && named != resolved.digest() {
            return Err(("file", format!("{LOCK} says {resolved}; {AGAIN}")));
        }
        (wanted.origin, wanted.sha256) = (resolved, Some(known));
    }
    let missing = match (&wanted.origin, wanted.sha256, wanted.origin.digest()) {
        (Origin::Web(_), None, _) => "a URL needs the `sha256` of what is behind it; `wasmtx plugin lock` finds it out",
        (Origin::Registry(_), _, None) => {
            "a tag can mean something else tomorrow: write its digest (@sha256:…), or run `wasmtx plugin lock`"
        }
        _ => return Ok(()),
    };
    Err(("file", missing.to_owned()))
}

/// Fetches what is not in the store yet. Each plugin has a minute.
///
/// # Errors
/// Every plugin that cannot be had, a line each; what came is kept for the next try.
pub(crate) async fn fetch(mut config: Config) -> anyhow::Result<Config> {
    let pinned = pinned(&config)?;
    let fetcher = Fetcher::new(&config.global.state_directory);
    let fetched = pinned.iter().map(|(name, wanted)| {
        let fetcher = &fetcher;
        async move { ((*name).to_owned(), fetcher.fetch(wanted).await) }
    });
    // In the order of the file, so that a second try says the same.
    let mut fetched = stream::iter(fetched).buffered(AT_ONCE);
    let (mut here, mut missing): (BTreeMap<String, Fetched>, _) = (BTreeMap::new(), Vec::new());
    while let Some((name, result)) = fetched.next().await {
        match result {
            Ok(fetched) => drop(here.insert(name, fetched)),
            Err(error) => missing.push(format!("plugins.{name}.file: {error}")),
        }
    }
    drop(fetched);
    if !missing.is_empty() {
        return Err(anyhow!(missing.join("\n")));
    }
    config.fetched = here;
    Ok(config)
}
