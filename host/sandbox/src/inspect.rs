//! What a component is made of and what becomes of it here, without running it: for `wasmtx plugin inspect` and `check`.
//!
//! [`Anatomy`] is read off the bytes alone, so that a component that is refused can be looked at too; [`compile`]
//! then takes the same way as a plugin that is loaded.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use wasmparser::{ComponentName, Encoding, KnownCustom, Parser, Payload, ProducersSectionReader};

use crate::{
    Error, admission, bundled, cache,
    compile::{Compiler, Compiling},
    component::{Loader, Role},
    engine::Clocked,
    host,
    limits::{COMPONENT_BYTES, Limits},
};

/// The contract that this version of wasmtx speaks.
pub const CONTRACT: &str = "wasmtx:plugin@0.1.0";
/// Entries kept of each list: what is longer is refused by the admission check anyway.
const ENTRIES: usize = 256;
/// Bytes of a linear memory's page.
const PAGE: u64 = 64 << 10;

/// The parts of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Anatomy {
    /// Bytes of the file.
    pub size: usize,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// What the component calls itself, if it has a name.
    pub name: Option<String>,
    /// What it imports, as it is written there (`wasmtx:plugin/log@0.1.0`).
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
    /// Core modules inside.
    pub modules: u32,
    /// Functions of all core modules.
    pub functions: u32,
    /// Bytes of code of the largest of them.
    pub largest_function: usize,
    /// Memories of all core modules.
    pub memories: Vec<Memory>,
    /// Custom sections of the component and its modules: name and bytes.
    pub sections: Vec<(String, usize)>,
    /// Languages and tools that made it, with their versions, as they say.
    pub made_by: Vec<(String, String)>,
}

/// A linear memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes at the start.
    pub initial: u64,
    /// Bytes that it may grow to, when the module says so itself.
    pub maximum: Option<u64>,
}

/// What compiling made of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compiled {
    /// What it can be asked to do.
    pub roles: Vec<Role>,
    /// Bytes of the compiled file, as the cache keeps it.
    pub code: usize,
    /// How long checking, compiling and linking took.
    pub time: Duration,
}

impl Anatomy {
    /// Takes a component apart.
    ///
    /// # Errors
    /// One sentence on why it is no component.
    pub fn read(bytes: &[u8]) -> Result<Anatomy, String> {
        if bytes.len() > COMPONENT_BYTES {
            return Err(format!("it has more than {COMPONENT_BYTES} bytes"));
        }
        let mut anatomy = Anatomy {
            size: bytes.len(),
            sha256: cache::hex(&cache::digest(bytes)),
            ..Anatomy::default()
        };
        let mut depth = 0usize;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(|error| refusal(bytes, &error))?;
            match payload {
                Payload::Version {
                    encoding: Encoding::Module,
                    ..
                } if depth == 0 => return Err(refusal(bytes, &"it is a core module")),
                Payload::ModuleSection { .. } => {
                    anatomy.modules = anatomy.modules.saturating_add(1);
                    depth += 1;
                }
                Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                other => anatomy.add(other, depth).map_err(|error| refusal(bytes, &error))?,
            }
        }
        Ok(anatomy)
    }

    fn add(&mut self, payload: Payload<'_>, depth: usize) -> wasmparser::Result<()> {
        match payload {
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    keep(&mut self.imports, import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    keep(&mut self.exports, export?.name.name.to_owned());
                }
            }
            Payload::FunctionSection(section) => self.functions = self.functions.saturating_add(section.count()),
            Payload::CodeSectionEntry(body) => self.largest_function = self.largest_function.max(body.range().len()),
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    let bytes = |pages: u64| pages.saturating_mul(PAGE);
                    let (initial, maximum) = (bytes(memory.initial), memory.maximum.map(bytes));
                    keep(&mut self.memories, Memory { initial, maximum });
                }
            }
            Payload::CustomSection(section) => {
                keep(&mut self.sections, (section.name().to_owned(), section.data().len()));
                match section.as_known() {
                    KnownCustom::Producers(producers) => self.add_makers(producers),
                    KnownCustom::ComponentName(names) if depth == 0 => {
                        for name in names {
                            if let Ok(ComponentName::Component { name, .. }) = name {
                                self.name = Some(name.to_owned());
                            }
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What is written there is only for people to read: nonsense is left out.
    fn add_makers(&mut self, producers: ProducersSectionReader<'_>) {
        for field in producers.into_iter().flatten() {
            for value in field.values.into_iter().flatten() {
                let maker = (value.name.to_owned(), value.version.to_owned());
                if !self.made_by.contains(&maker) {
                    keep(&mut self.made_by, maker);
                }
            }
        }
    }

    /// The host's interfaces that it imports, without package and version, and those that nobody offers here.
    pub fn wants(&self) -> (Vec<&str>, Vec<&str>) {
        let mut wanted = Vec::new();
        let mut unknown = Vec::new();
        for import in &self.imports {
            match crate::component::interface(import) {
                Some(name) if host::INTERFACES.contains(&name) => wanted.push(name),
                _ => unknown.push(&**import),
            }
        }
        (wanted, unknown)
    }
}

/// Admits, compiles and links a component as the server would, and throws the result away.
///
/// # Errors
/// The server would refuse it too; the reason is the same.
pub fn compile(name: &str, bytes: &[u8], limits: &Limits) -> Result<Compiled, Error> {
    let clocked = Arc::new(Clocked::new()?);
    let compiler = Compiler::new(&clocked.engine, None, Compiling::Here)?;
    let loader = Loader::new(clocked, compiler).map_err(Error::Engine)?;
    let bytes: Arc<[u8]> = bytes.into();
    let begun = Instant::now();
    let code = loader.load(&bytes, limits).map_err(|reason| Error::Refused {
        plugin: name.to_owned(),
        reason,
    })?;
    let time = begun.elapsed();
    let image = code.configuring.instance_pre().component().serialize();
    Ok(Compiled {
        roles: code.roles(),
        code: image.map_err(Error::Engine)?.len(),
        time,
    })
}

/// The component of a bundled plugin.
pub fn bundled(name: &str) -> Option<&'static [u8]> {
    bundled::component(name)
}

/// The words of the admission check, which knows the usual mistakes.
fn refusal(bytes: &[u8], error: &dyn fmt::Display) -> String {
    let reason = admission::check(bytes, &Limits::default()).err();
    reason.unwrap_or_else(|| format!("it is not a whole component: {error}"))
}

fn keep<T>(list: &mut Vec<T>, entry: T) {
    if list.len() < ENTRIES {
        list.push(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundled_plugin_is_taken_apart() {
        let bytes = bundled("keyframes-only").unwrap();
        let anatomy = Anatomy::read(bytes).unwrap();
        assert_eq!(anatomy.size, bytes.len());
        assert_eq!(anatomy.sha256.len(), 64);
        assert!(anatomy.exports.contains(&"wasmtx:plugin/filter@0.1.0".to_owned()));
        assert!(anatomy.functions > 0 && anatomy.modules > 0 && !anatomy.memories.is_empty());
        let (wanted, unknown) = anatomy.wants();
        assert!(wanted.contains(&"log"), "{wanted:?}");
        assert!(unknown.is_empty(), "{unknown:?}");
        let compiled = compile("keyframes-only", bytes, &Limits::default()).unwrap();
        assert_eq!(compiled.roles, [Role::Filter]);
        assert!(compiled.code > bytes.len() / 2);
    }

    #[test]
    fn what_is_no_component_is_said_in_the_words_of_the_admission_check() {
        let module = wat::parse_str("(module)").unwrap();
        assert!(Anatomy::read(&module).unwrap_err().contains("core module"));
        for bytes in [&b""[..], b"\0asm", b"#!/bin/sh\n"] {
            let reason = Anatomy::read(bytes).unwrap_err();
            assert!(reason.contains("component"), "{bytes:?}: {reason}");
        }
    }

    #[test]
    fn imports_that_nobody_offers_are_told_apart() {
        let text = r#"(component (import "wasi:cli/environment@0.2.0" (instance)) (import "wasmtx:plugin/kv@0.1.0" (instance)))"#;
        let anatomy = Anatomy::read(&wat::parse_str(text).unwrap()).unwrap();
        assert_eq!(anatomy.wants(), (vec!["kv"], vec!["wasi:cli/environment@0.2.0"]));
    }

    #[test]
    fn every_truncation_of_a_plugin_is_an_error_or_a_part_of_it() {
        let bytes = bundled("drop-audio").unwrap();
        for end in (0..bytes.len()).step_by(bytes.len() / 500 + 1) {
            if let Ok(anatomy) = Anatomy::read(&bytes[..end]) {
                assert_eq!(anatomy.size, end);
            }
        }
    }
}
