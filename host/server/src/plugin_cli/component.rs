//! The component that a subcommand is about: a file, or a bundled plugin.

use std::{
    fs::File,
    io::{Read, Result},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use clap::{Arg, ArgMatches};
use wasmtx_sandbox::{BUNDLED, Source, inspect};

const FILE: &str = "FILE";
const BUILTIN: &str = "builtin:";
/// The largest component; one byte more is read, to see that it is too large.
pub(super) const MAX_BYTES: usize = 32 << 20;
/// The name of a plugin whose file has none that would do.
const NAMELESS: &str = "plugin";

/// A component that was read.
pub(super) struct Component {
    /// As it was typed.
    pub(super) file: String,
    /// What a configuration would call it: the name of the file without its ending.
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) bytes: Vec<u8>,
}

/// The argument that names it.
pub(super) fn argument() -> Arg {
    Arg::new(FILE)
        .required(true)
        .help("The component, or builtin:NAME for a plugin that the server brings along")
}

/// Reads what the argument names.
pub(super) fn read(matches: &ArgMatches) -> anyhow::Result<Component> {
    let file = matches.get_one::<String>(FILE).cloned().unwrap_or_default();
    if let Some(name) = file.strip_prefix(BUILTIN) {
        let bytes = inspect::bundled(name)
            .ok_or_else(|| anyhow!("there is no bundled plugin {name:?}; there are {}", BUNDLED.join(", ")))?;
        return Ok(Component {
            name: name.to_owned(),
            source: Source::Bundled(name.to_owned()),
            bytes: bytes.to_vec(),
            file,
        });
    }
    let path = PathBuf::from(&file);
    let bytes = bytes_of(&path).with_context(|| format!("{file} cannot be read"))?;
    Ok(Component {
        name: name_of(&path),
        source: Source::File(path),
        bytes,
        file,
    })
}

fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn name_of(path: &Path) -> String {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(NAMELESS);
    if crate::config::plugin::valid_name(stem) {
        stem.to_owned()
    } else {
        NAMELESS.to_owned()
    }
}

impl Component {
    /// An error that says why the server would not load it, and what to do about it.
    pub(super) fn refused(&self, reason: &str) -> anyhow::Error {
        anyhow!("{} is refused: {reason}", self.file)
    }
}
