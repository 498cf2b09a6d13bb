//! Whether sound can be re-encoded here, and what of a configuration needs that.

use wasmtx_sandbox::TRANSCODING;

use crate::{
    config::{
        Config, Problems,
        plugin::{Chain, Location},
    },
    wiring,
};

/// Whether this server can re-encode.
///
/// # Errors
/// Why not, in one sentence.
pub fn ready() -> Result<(), String> {
    wiring::services().codecs.ready()
}

/// Whether what the configuration wants re-encoded can be, given what [`ready`] says. Plugins from elsewhere plan what
/// they like: what cannot be done of that is shown while a stream runs.
///
/// # Errors
/// The first chain with a bundled plugin that can do nothing here.
pub fn able(config: &Config, ready: Result<(), String>) -> Result<(), Problems> {
    let Err(reason) = ready else { return Ok(()) };
    let defaults = [(vec!["pathDefaults", "plugins"], &config.path_defaults.plugins)];
    let paths = config.paths.entries().iter();
    let paths = paths.map(|entry| (vec!["paths", &entry.name, "plugins"], &entry.conf.plugins));
    for (trail, chain) in defaults.into_iter().chain(paths) {
        if let Some(plugin) = needs_codecs(config, chain) {
            let message = format!("plugin `{plugin}` re-encodes sound: {reason}");
            return Err(config.problems(vec![(trail, message)]));
        }
    }
    Ok(())
}

/// The first plugin of a chain that is a bundled one that re-encodes.
fn needs_codecs<'a>(config: &'a Config, chain: &'a Chain) -> Option<&'a str> {
    let named = chain.0.iter().find(|used| {
        let (name, bundled_only) = used.target();
        let entry = config.global.plugins.get(name).filter(|_| !bundled_only);
        let bundled = match entry.map(|entry| &entry.file) {
            None | Some(Location::Bundled) => name,
            Some(Location::Builtin(bundled)) => bundled,
            Some(Location::File(_) | Location::Remote(_)) => return false,
        };
        TRANSCODING.contains(&bundled)
    });
    named.map(|used| used.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn judged(text: &str, ready: Result<(), String>) -> String {
        let config = parse(text, &[]).unwrap();
        able(&config, ready).map_or_else(|problems| problems.to_string(), |()| "ok".to_owned())
    }

    #[test]
    fn what_cannot_be_re_encoded_here_is_refused_in_one_line_where_it_is_asked_for() {
        let refused = |text: &str| judged(text, Err("this program was built without FFmpeg".to_owned()));
        for (text, place) in [
            ("paths:\n  cam:\n    plugins: [stats, builtin:aac]\n", "line 3"),
            ("paths:\n  cam:\n    plugins:\n      - use: aac\n", "line 3"),
            ("pathDefaults:\n  plugins: [aac]\npaths:\n  a:\n  b:\n", "line 2"),
            (
                "plugins:\n  sound:\n    file: builtin:aac\npaths:\n  cam:\n    plugins: [sound]\n",
                "line 6",
            ),
            (
                "plugins:\n  aac:\n    config: {}\npaths:\n  cam:\n    plugins: [aac]\n",
                "line 6",
            ),
        ] {
            let problems = refused(text);
            assert!(problems.contains("built without FFmpeg"), "{text}{problems}");
            assert!(problems.contains(place), "{text}{problems}");
            assert_eq!(problems.trim().lines().count(), 1, "{text}{problems}");
        }
        for text in [
            "paths:\n  cam:\n    plugins: [drop-audio]\n",
            "plugins:\n  aac:\n    file: ./mine.wasm\npaths:\n  cam:\n    plugins: [aac]\n",
        ] {
            assert_eq!(refused(text), "ok", "{text}");
        }
        assert_eq!(judged("paths:\n  cam:\n    plugins: [aac]\n", Ok(())), "ok");
    }

    #[cfg(not(feature = "ffmpeg"))]
    #[test]
    fn a_server_without_ffmpeg_says_so() {
        assert!(ready().unwrap_err().contains("without FFmpeg"));
    }
}
