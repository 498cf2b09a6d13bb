//! What an operator does to a plugin while the server runs: reload it, push a new component, switch it off and on.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use crate::{
    Error, Registry, Source, Status,
    registry::{Entry, read},
    version::Version,
};

impl Registry {
    /// One plugin.
    pub fn get(&self, name: &str) -> Option<Status> {
        match self.entry(name) {
            Ok(entry) => Some(entry.plugin.status(&entry.spec)),
            Err(_) => self.0.waiting.status().into_iter().find(|status| status.name == name),
        }
    }

    /// Reads a plugin's component again and lets it take over, even when it is the same: a fresh start for a plugin that
    /// failed. Blocks while compiling. Answers the version that runs now.
    ///
    /// # Errors
    /// Why the old version stays; it runs on undisturbed.
    pub fn reload(&self, name: &str) -> Result<String, Error> {
        let _changing = self.0.changing.lock();
        if let Some(loaded) = self.0.try_again(name) {
            loaded?;
            return Ok(self.entry(name)?.plugin.version.load().short());
        }
        let Entry { plugin, spec, .. } = self.entry(name)?;
        let replaced = read(&spec).and_then(|bytes| self.0.replace(&plugin, &spec, &bytes));
        if let Err(error) = &replaced {
            *plugin.error.lock() = Some(error.to_string());
        }
        replaced?;
        Ok(plugin.version.load().short())
    }

    /// Puts a new component in the place of a plugin's file and lets it take over, after everything about it was checked.
    /// Blocks while compiling. Answers the version that ran and the one that runs now.
    ///
    /// # Errors
    /// Why the old version and its file stay: the plugin has no file of its own, the component is refused, or the file
    /// cannot be written.
    pub fn push(&self, name: &str, component: Vec<u8>) -> Result<(String, String), Error> {
        let _changing = self.0.changing.lock();
        let Entry { plugin, spec, .. } = self.entry(name)?;
        let Source::File(file) = &spec.source else {
            return Err(Error::NoFile(name.to_owned()));
        };
        let old = plugin.version.load().short();
        let bytes: Arc<[u8]> = component.into();
        // On the disk first, under another name: a server that dies now starts with the old one.
        let fresh = write_beside(file, &bytes).map_err(|source| Error::Write {
            plugin: name.to_owned(),
            file: file.clone(),
            source,
        })?;
        let replaced = self.0.replace(&plugin, &spec, &bytes);
        if let Err(error) = replaced {
            // A file that is left over harms nobody.
            let _ = fs::remove_file(&fresh);
            return Err(error);
        }
        fs::rename(&fresh, file).map_err(|source| Error::Write {
            plugin: name.to_owned(),
            file: file.clone(),
            source,
        })?;
        Ok((old, plugin.version.load().short()))
    }

    /// Switches a plugin off or on, until the server stops. Off, its instances end, frames pass it by, sinks and events
    /// plugins sleep, and an auth plugin lets nobody in unless its policy says that the next one decides.
    ///
    /// # Errors
    /// No plugin has that name.
    pub fn enable(&self, name: &str, enabled: bool) -> Result<(), Error> {
        let _changing = self.0.changing.lock();
        let Entry { plugin, .. } = self.entry(name)?;
        let present = plugin.version.load_full();
        if present.enabled != enabled {
            plugin.replace(Version {
                number: self.0.numbers.fetch_add(1, Relaxed),
                enabled,
                ..(*present).clone()
            });
            self.0.aside.changed();
            let done = if enabled { "switched on" } else { "switched off" };
            tracing::info!(plugin = name, "plugin {done}");
        }
        Ok(())
    }

    fn entry(&self, name: &str) -> Result<Entry, Error> {
        let entry = self.0.plugins.lock().get(name).cloned();
        entry.ok_or_else(|| Error::Unknown(name.to_owned()))
    }
}

/// Writes a file beside another one, whole and on the disk. Its name ends in something that nobody watches.
fn write_beside(file: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".pushed");
    let fresh = file.with_file_name(name);
    let mut out = File::create(&fresh)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    Ok(fresh)
}
