//! Finding and reading the file.

use super::{Config, error::Problems, parse, plugin::Lock, yaml::MAX_TEXT};
use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

/// Where the file is looked for when none is named: the first that exists counts.
const PLACES: &[&str] = &[
    "rtsp-simple-server.yml",
    "mediamtx.yml",
    "/usr/local/etc/mediamtx.yml",
    "/usr/pkg/etc/mediamtx.yml",
    "/usr/etc/mediamtx.yml",
    "/etc/mediamtx/mediamtx.yml",
];

/// Reads the configuration: from the named file, else from the usual places, else defaults; then the environment.
///
/// # Errors
/// All that is wrong with it. A file that was named and is not there is an error too.
pub fn load(file: Option<&Path>, environment: &[(String, String)]) -> Result<Config, Problems> {
    let found = match file {
        Some(file) => Some(file.to_owned()),
        None => PLACES.iter().map(PathBuf::from).find(|place| place.exists()),
    };
    let Some(file) = found else {
        return parse("", environment);
    };
    let text = read(&file).map_err(|problem| Problems::whole(problem).in_file(&file))?;
    let mut config = parse(&text, environment).map_err(|problems| problems.in_file(&file))?;
    config.lock = Lock::load(&Lock::beside(&file))?;
    config.file = Some(file);
    Ok(config)
}

fn read(file: &Path) -> Result<String, String> {
    let opened = File::open(file).map_err(|error| match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("it cannot be read: {error}"),
    })?;
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_TEXT).unwrap_or(u64::MAX).saturating_add(1);
    opened
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("it cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is not UTF-8 text")
    })
}

/// The environment variables that are text; others name no setting.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
