//! Bindings for C and Go: the contract's types and functions in the words of the language.

use std::{fs, path::Path};

use anyhow::Context;
use wit_bindgen_core::{Files, WorldGenerator};

use super::component::World;

/// A generated file: its name, with folders, and its bytes.
pub(super) type File = (String, Vec<u8>);

/// Lets a generator speak.
pub(super) fn generate(mut generator: Box<dyn WorldGenerator>, world: &World) -> anyhow::Result<Vec<File>> {
    let mut files = Files::default();
    // The generator numbers types anew in the resolve that it is given.
    generator.generate(&mut world.resolve.clone(), world.id, &mut files)?;
    Ok(files
        .iter()
        .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
        .collect())
}

/// Writes them below a directory. What would not change is not touched, so that nothing is compiled again because of it.
pub(super) fn write(directory: &Path, files: &[File]) -> anyhow::Result<()> {
    for (name, bytes) in files {
        let file = directory.join(name);
        if fs::read(&file).is_ok_and(|old| old == *bytes) {
            continue;
        }
        let folder = file.parent().unwrap_or(directory);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&file, bytes))
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(())
}

/// The contract and a world as a directory, for tools that read WIT themselves.
pub(super) fn write_wit(directory: &Path, contract: &str, world: &str) -> anyhow::Result<()> {
    let files = [
        ("world.wit".to_owned(), world.as_bytes().to_vec()),
        ("deps/plugin/plugin.wit".to_owned(), contract.as_bytes().to_vec()),
    ];
    write(directory, &files)
}
