//! Compiled code, kept under the state directory so that a start does not compile.
//!
//! A compiled component is machine code: loading one is trusting it, and the loader notices truncation but not a flipped
//! bit. So every file begins with an HMAC-SHA-256 under a key that only the server's user can read, over the digest of
//! the component, the compiler's settings and the code; it is checked on the very bytes that are then loaded, never on
//! a file that could change in between. Whatever does not match is compiled again.
#![allow(
    unsafe_code,
    reason = "loading machine code is unsafe by nature; the MAC is what makes it sound"
)]

use std::{
    fs::{self, DirBuilder, OpenOptions},
    hash::{Hash, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, component::Component};

use crate::limits::CODE_BYTES;

/// SHA-256 of a component's bytes: what a version of a plugin is.
pub(crate) type Digest = [u8; 32];

const MAC_LEN: usize = 32;
/// A compiled component and its MAC.
const FILE_BYTES: u64 = (CODE_BYTES + MAC_LEN) as u64;

/// A compiled component, serialized: machine code that is run without another look.
pub(crate) struct Compiled(Vec<u8>);

impl Compiled {
    /// What the compiler of this very program made, here or in its child process, and nobody has touched since.
    pub(crate) fn by_our_compiler(code: Vec<u8>) -> Compiled {
        Compiled(code)
    }

    /// The component.
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        load(engine, &self.0)
    }
}

fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` is unchanged output of `Engine::precompile_component` of this program. Either it comes from the
    // compiler directly (`Compiled`), or from a file whose MAC, made in `Cache::store` with a key that only this user
    // can read, was checked on the same memory that is loaded here (`Cache::load`). The engine itself refuses code of
    // another version of wasmtime, or for other settings.
    unsafe { Component::deserialize(engine, code) }
}

/// The digest of a component.
pub(crate) fn digest(component: &[u8]) -> Digest {
    Sha256::digest(component).into()
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The directory of compiled components with its key.
pub(crate) struct Cache {
    directory: PathBuf,
    key: [u8; 32],
    /// Of the compiler's version and settings: other settings make other files.
    settings: Digest,
}

impl Cache {
    /// Opens the cache below the state directory, making directory and key when they are missing.
    pub(crate) fn open(state: &Path, engine: &Engine) -> io::Result<Cache> {
        let directory = state.join("compiled");
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let mut settings = Settings(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut settings);
        Ok(Cache {
            key: key(&state.join("compiled.key"))?,
            directory,
            settings: settings.0.finalize().into(),
        })
    }

    /// The compiled form of the component with this digest, when it is here and ours.
    pub(crate) fn load(&self, engine: &Engine, component: &Digest) -> Option<Component> {
        let file = self.file(component);
        if !fs::metadata(&file).is_ok_and(|about| about.is_file() && about.len() <= FILE_BYTES) {
            return None;
        }
        let bytes = fs::read(&file).ok()?;
        if !self.is_ours(component, &bytes) {
            tracing::warn!(file = %file.display(), "compiled plugin was changed by somebody else: compiling it again");
            return None;
        }
        load(engine, &bytes[MAC_LEN..]).ok()
    }

    /// Whether the whole content of a file, MAC and code, was written by [`store`](Self::store) for this component.
    fn is_ours(&self, component: &Digest, file: &[u8]) -> bool {
        file.split_at_checked(MAC_LEN)
            .is_some_and(|(mac, code)| self.mac(component, code).verify_slice(mac).is_ok())
    }

    /// Keeps the compiled form. Written aside and renamed, so that a crash leaves the old file or none.
    pub(crate) fn store(&self, component: &Digest, Compiled(code): &Compiled) -> io::Result<()> {
        let mac = self.mac(component, code).finalize().into_bytes();
        let file = self.file(component);
        static PARTS: AtomicU64 = AtomicU64::new(0);
        let part = PARTS.fetch_add(1, Relaxed);
        let aside = file.with_extension(format!("{}-{part}.part", std::process::id()));
        let mut out = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)?;
        out.write_all(&mac)?;
        out.write_all(code)?;
        out.sync_all()?;
        fs::rename(&aside, &file)
    }

    fn file(&self, component: &Digest) -> PathBuf {
        self.directory
            .join(format!("{}-{}.cwasm", hex(component), hex(&self.settings[..8])))
    }

    fn mac(&self, component: &Digest, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(component);
        mac.update(&self.settings);
        mac.update(code);
        mac
    }
}

/// Reads the key, or makes it. `create_new` decides when two servers start at once.
fn key(file: &Path) -> io::Result<[u8; 32]> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(mut out) => {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(io::Error::other)?;
            out.write_all(&key)?;
            out.sync_all()?;
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let unusable = |why| {
                let words = format!("{} {why}: remove it", file.display());
                io::Error::new(io::ErrorKind::InvalidData, words)
            };
            // Whoever knows the key can make this server run any machine code.
            if fs::metadata(file)?.mode() & 0o077 != 0 {
                return Err(unusable("is open to other users"));
            }
            fs::read(file)?.try_into().map_err(|_| unusable("is damaged"))
        }
        Err(error) => Err(error),
    }
}

/// Feeds what a type says to a hasher into SHA-256: the standard hashers are 64 bits and may change between releases.
struct Settings(Sha256);

impl Hasher for Settings {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{engine::Clocked, testing::Directory};

    #[test]
    fn what_was_stored_is_loaded_and_whatever_was_changed_is_not() {
        let state = Directory::new();
        let clocked = Clocked::new().unwrap();
        let bytes = wat::parse_str("(component (core module (func (export \"f\"))))").unwrap();
        let compiled = Compiled(clocked.engine.precompile_component(&bytes).unwrap());
        let cache = Cache::open(state.path(), &clocked.engine).unwrap();
        let name = digest(&bytes);
        assert!(cache.load(&clocked.engine, &name).is_none(), "nothing is there yet");
        cache.store(&name, &compiled).unwrap();
        assert!(cache.load(&clocked.engine, &name).is_some());
        let again = Cache::open(state.path(), &clocked.engine).unwrap();
        assert!(again.load(&clocked.engine, &name).is_some(), "the key is kept");

        let file = cache.file(&name);
        let whole = fs::read(&file).unwrap();
        let mut changed = whole.clone();
        for position in 0..whole.len() {
            changed[position] ^= 1 << (position % 8);
            assert!(!cache.is_ours(&name, &changed), "byte {position} was changed");
            changed[position] = whole[position];
        }
        assert!(cache.is_ours(&name, &changed));
        // The same through the file system.
        changed[whole.len() / 2] ^= 0x10;
        fs::write(&file, &changed).unwrap();
        assert!(cache.load(&clocked.engine, &name).is_none());
        for len in (0..whole.len())
            .step_by(97)
            .chain([1, MAC_LEN - 1, MAC_LEN, whole.len() - 1])
        {
            fs::write(&file, &whole[..len]).unwrap();
            assert!(cache.load(&clocked.engine, &name).is_none(), "cut to {len}");
        }
        fs::write(cache.file(&[7; 32]), &whole).unwrap();
        assert!(
            cache.load(&clocked.engine, &[7; 32]).is_none(),
            "code of one component under another's name"
        );

        let settings = Cache {
            settings: [0; 32],
            ..Cache::open(state.path(), &clocked.engine).unwrap()
        };
        fs::write(settings.file(&name), &whole).unwrap();
        assert!(
            settings.load(&clocked.engine, &name).is_none(),
            "code of another version of the compiler"
        );
    }

    #[test]
    fn only_the_user_can_read_key_and_code() {
        let state = Directory::new();
        let clocked = Clocked::new().unwrap();
        let cache = Cache::open(state.path(), &clocked.engine).unwrap();
        cache.store(&[1; 32], &Compiled(b"code".to_vec())).unwrap();
        for file in [state.path().join("compiled.key"), cache.file(&[1; 32])] {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(
            fs::metadata(state.path().join("compiled"))
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o700
        );
    }

    #[test]
    fn a_key_that_is_damaged_or_open_to_others_is_an_error_with_the_remedy() {
        let clocked = Clocked::new().unwrap();
        for (content, mode, why) in [(&b"short"[..], 0o600, "damaged"), (&[7; 32], 0o640, "other users")] {
            let state = Directory::new();
            let key = state.path().join("compiled.key");
            fs::write(&key, content).unwrap();
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            let error = Cache::open(state.path(), &clocked.engine).err().unwrap().to_string();
            assert!(error.contains(why) && error.ends_with("remove it"), "{error}");
        }
    }
}
