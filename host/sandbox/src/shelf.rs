//! What plugins keep in `kv` over a restart: a file per plugin below the state directory, written behind.
//!
//! ```text
//!   magic (8) | entry | entry | … | SHA-256 of all before (32)
//!   entry: ends, in microseconds since 1970, or all ones (8) | key length (4) | value length (4) | key | value
//! ```
//!
//! Numbers are big-endian. A change is on the disk half a second later, and with [`Shelf::flush`]; a file is written aside and
//! renamed, so a crash leaves the old one or the new one. Ends are moments of the wall clock: a value does not live longer
//! because the server was off.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::{
    Error,
    host::kv::{Store, Values},
    limits::{KV_BYTES, KV_KEYS},
};

const MAGIC: [u8; 8] = *b"wasmtxk1";
const DIGEST: usize = 32;
/// Of an entry, without key and value.
const HEAD: usize = 16;
/// The end of what does not end.
const NEVER: u64 = u64::MAX;
/// The largest file that any quota allows.
const FILE_BYTES: usize = MAGIC.len() + KV_KEYS * HEAD + KV_BYTES + DIGEST;
/// From a change until it is written, with all that changed meanwhile.
const DELAY: Duration = Duration::from_millis(500);

/// The stores of a registry, and the thread that writes those that are kept.
pub(crate) struct Shelf {
    directory: Option<PathBuf>,
    /// By plugin. A plugin that is taken out and put in again while a stream still runs it has one store.
    stores: Mutex<BTreeMap<String, Arc<Store>>>,
    jobs: mpsc::Sender<Job>,
    writer: Option<JoinHandle<()>>,
}

enum Job {
    Write(Arc<Store>),
    Flush(mpsc::SyncSender<()>),
    Stop,
}

/// Where a store is kept; nowhere at first.
#[derive(Default)]
pub(crate) struct Keeping {
    kept: OnceLock<Kept>,
    /// The present version was granted it.
    on: AtomicBool,
    /// It waits in the writer's queue, which holds it once at most.
    waiting: AtomicBool,
}

struct Kept {
    file: PathBuf,
    jobs: mpsc::Sender<Job>,
}

impl Keeping {
    /// Has the store written soon.
    pub(crate) fn changed(&self, store: &Arc<Store>) {
        if !self.on.load(Ordering::Relaxed) || self.waiting.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(kept) = self.kept.get() {
            // The registry is gone, and the server with it.
            let _ = kept.jobs.send(Job::Write(store.clone()));
        }
    }
}

impl Shelf {
    /// The thread ends when this is dropped, after it has written what there is.
    pub(crate) fn new(state: Option<&Path>) -> Result<Shelf, Error> {
        let (jobs, queue) = mpsc::channel();
        let writer = thread::Builder::new()
            .name("wasmtx-kv".into())
            .spawn(move || write_behind(&queue))
            .map_err(Error::Thread)?;
        Ok(Shelf {
            directory: state.map(|state| state.join("kv")),
            stores: Mutex::default(),
            jobs,
            writer: Some(writer),
        })
    }

    /// The store of a plugin.
    pub(crate) fn store(&self, plugin: &str) -> Arc<Store> {
        let mut stores = self.stores.lock();
        // Those of plugins that are gone, once they are written.
        stores.retain(|name, store| name == plugin || Arc::strong_count(store) > 1);
        stores.entry(plugin.to_owned()).or_default().clone()
    }

    /// Keeps a plugin's store from now on, or no longer. What was kept before comes back.
    ///
    /// # Errors
    /// Why it cannot be kept, in one sentence.
    pub(crate) fn keep(&self, plugin: &str, keep: bool) -> Result<(), String> {
        let store = self.store(plugin);
        if keep && store.keeping.kept.get().is_none() {
            let file = self.file(plugin)?;
            revive(&file, &mut store.values.lock()).map_err(|error| format!("{}: {error}", file.display()))?;
            let jobs = self.jobs.clone();
            store.keeping.kept.get_or_init(|| Kept { file, jobs });
        }
        store.keeping.on.store(keep, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until everything that changed is on the disk.
    pub(crate) fn flush(&self) {
        let (done, flushed) = mpsc::sync_channel(1);
        if self.jobs.send(Job::Flush(done)).is_ok() {
            // An error is that of a thread that is gone.
            let _ = flushed.recv();
        }
    }

    fn file(&self, plugin: &str) -> Result<PathBuf, String> {
        let Some(directory) = &self.directory else {
            return Err("values cannot be kept without a state directory".to_owned());
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if plugin.starts_with('.') || !plugin.chars().all(fits) {
            return Err(format!("{plugin} is no name for a file"));
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| format!("{}: {error}", directory.display()))?;
        Ok(directory.join(plugin))
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        let _ = self.jobs.send(Job::Stop);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn write_behind(queue: &mpsc::Receiver<Job>) {
    let (mut changed, mut due) = (Vec::new(), None::<Instant>);
    loop {
        let job = match due {
            None => queue.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            Some(due) => queue.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        if let Ok(Job::Write(store)) = job {
            due.get_or_insert_with(|| Instant::now() + DELAY);
            changed.push(store);
            continue;
        }
        changed.drain(..).for_each(|store| write(&store));
        due = None;
        match job {
            Ok(Job::Flush(done)) => drop(done.send(())),
            Ok(Job::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
            Ok(Job::Write(_)) | Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

fn write(store: &Store) {
    let Some(kept) = store.keeping.kept.get() else { return };
    // First: what changes from now on is written again.
    store.keeping.waiting.store(false, Ordering::Release);
    let bytes = encode(&store.values.lock(), Instant::now(), SystemTime::now());
    if let Err(error) = replace(&kept.file, &bytes) {
        tracing::warn!(file = %kept.file.display(), %error, "the values of a plugin are not kept");
    }
}

/// All of the new content, or all of the old.
fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = beside(file, "part");
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(&aside, file)?;
    // The new name, too, survives a power cut.
    file.parent()
        .map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// A file that no plugin's can be: their names do not begin with a dot.
fn beside(file: &Path, what: &str) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.{what}"))
}

/// Reads what was kept. A file that is not whole is put aside: a plugin that begins anew is better than one that does not run.
fn revive(file: &Path, values: &mut Values) -> io::Result<()> {
    let mut bytes = Vec::new();
    match File::open(file) {
        Ok(opened) => opened.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let Some(entries) = decode(&bytes) else {
        let aside = beside(file, "damaged");
        tracing::warn!(
            file = %file.display(),
            aside = %aside.display(),
            "the kept values of a plugin are damaged: it begins without them"
        );
        return fs::rename(file, aside);
    };
    let (now, today) = (Instant::now(), micros(SystemTime::now()));
    for (key, value, ends) in entries {
        let left = (ends != NEVER).then(|| Duration::from_micros(ends.saturating_sub(today)));
        if left != Some(Duration::ZERO) {
            values.revive(key, value, left, now);
        }
    }
    Ok(())
}

fn encode(values: &Values, now: Instant, today: SystemTime) -> Vec<u8> {
    let today = micros(today);
    let mut out = MAGIC.to_vec();
    for (key, value, left) in values.living(now) {
        let ends = left.map_or(NEVER, |left| {
            today.saturating_add(u64::try_from(left.as_micros()).unwrap_or(NEVER))
        });
        out.extend_from_slice(&ends.to_be_bytes());
        for len in [key.len(), value.len()] {
            out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        }
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(value);
    }
    let digest = Sha256::digest(&out);
    out.extend_from_slice(&digest);
    out
}

type Entry = (String, Vec<u8>, u64);

/// The entries of a file that is whole.
fn decode(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
    if Sha256::digest(content)[..] != *digest {
        return None;
    }
    let mut rest = content.strip_prefix(&MAGIC)?;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (ends, after) = rest.split_first_chunk()?;
        let (key_len, after) = after.split_first_chunk()?;
        let (value_len, after) = after.split_first_chunk()?;
        let (key, after) = after.split_at_checked(u32::from_be_bytes(*key_len) as usize)?;
        let (value, after) = after.split_at_checked(u32::from_be_bytes(*value_len) as usize)?;
        let key = String::from_utf8(key.to_vec()).ok()?;
        entries.push((key, value.to_vec(), u64::from_be_bytes(*ends)));
        rest = after;
    }
    Some(entries)
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::testing::Directory;

    fn put(store: &Arc<Store>, key: &str, value: &[u8], left: Option<Duration>) {
        let mut values = store.values.lock();
        values.revive(key.into(), value.to_vec(), left, Instant::now());
        drop(values);
        store.keeping.changed(store);
    }

    fn keys(store: &Store) -> Vec<String> {
        let values = store.values.lock();
        let mut keys: Vec<_> = values.living(Instant::now()).map(|(key, ..)| key.to_owned()).collect();
        keys.sort();
        keys
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart_and_what_ended_meanwhile_is_not() {
        let state = Directory::new();
        let shelf = Shelf::new(Some(state.path())).unwrap();
        shelf.keep("door", true).unwrap();
        let store = shelf.store("door");
        put(&store, "for ever", b"\x00\xff", None);
        put(&store, "a day", b"1", Some(Duration::from_secs(86_400)));
        put(&store, "over", b"2", Some(Duration::from_micros(1)));
        drop(shelf);
        let file = state.path().join("kv/door");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

        let shelf = Shelf::new(Some(state.path())).unwrap();
        shelf.keep("door", true).unwrap();
        let store = shelf.store("door");
        assert_eq!(keys(&store), ["a day", "for ever"]);
        let values = store.values.lock();
        let day = values.living(Instant::now()).find(|(key, ..)| *key == "a day").unwrap();
        assert!(day.2.unwrap() <= Duration::from_secs(86_400));
    }

    #[test]
    fn values_that_are_not_to_be_kept_are_not() {
        let state = Directory::new();
        let shelf = Shelf::new(Some(state.path())).unwrap();
        put(&shelf.store("door"), "a", b"1", None);
        shelf.flush();
        assert!(!state.path().join("kv").exists());
        // And those of a plugin that is granted it later are.
        shelf.keep("door", true).unwrap();
        put(&shelf.store("door"), "b", b"2", None);
        shelf.flush();
        assert_eq!(keys(&shelf.store("door")), ["a", "b"]);
        let kept = fs::read(state.path().join("kv/door")).unwrap();
        assert_eq!(decode(&kept).unwrap().len(), 2);
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let state = Directory::new();
        fs::create_dir(state.path().join("kv")).unwrap();
        let file = state.path().join("kv/door");
        fs::write(&file, b"something else").unwrap();
        let shelf = Shelf::new(Some(state.path())).unwrap();
        shelf.keep("door", true).unwrap();
        assert!(keys(&shelf.store("door")).is_empty());
        assert!(state.path().join("kv/.door.damaged").exists());
    }

    #[test]
    fn no_byte_of_a_file_can_change_unnoticed_and_no_length_is_believed() {
        let mut values = Values::default();
        values.revive("key".into(), b"value".to_vec(), None, Instant::now());
        let whole = encode(&values, Instant::now(), SystemTime::now());
        assert_eq!(decode(&whole).unwrap(), [("key".to_owned(), b"value".to_vec(), NEVER)]);
        for position in 0..whole.len() {
            let mut changed = whole.clone();
            changed[position] ^= 1;
            assert!(decode(&changed).is_none(), "byte {position}");
            assert!(decode(&whole[..position]).is_none(), "cut to {position}");
        }
        let mut liar = MAGIC.to_vec();
        liar.extend_from_slice(&[0xff; HEAD]);
        let digest = Sha256::digest(&liar);
        liar.extend_from_slice(&digest);
        assert!(decode(&liar).is_none());
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let state = Directory::new();
        let shelf = Shelf::new(Some(state.path())).unwrap();
        for name in ["../door", "a/b", ".door", "builtin:door"] {
            assert!(shelf.keep(name, true).is_err(), "{name}");
        }
        assert!(Shelf::new(None).unwrap().keep("door", true).is_err());
    }
}
