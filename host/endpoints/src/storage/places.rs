//! Where a directory is, and which are open.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::runtime::{self, Handle, Runtime};

use super::{
    Directory, Error, Files, Options,
    objects::{Address, Objects, Waiting},
    tree::{Rules, Tree},
};

/// Where files are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Below a directory of this machine.
    Directory(PathBuf),
    /// In an object store: `s3://bucket/prefix`.
    Objects(String),
}

impl Place {
    /// A place as mediamtx.yml writes it.
    ///
    /// # Errors
    /// What is wrong with the address of an object store, in one sentence.
    pub fn parse(text: &str) -> Result<Place, String> {
        if Address::is_one(text) {
            Address::parse(text)?;
            return Ok(Place::Objects(text.to_owned()));
        }
        Ok(Place::Directory(text.into()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Directory(path) => path.display().fmt(f),
            Place::Objects(address) => f.write_str(address),
        }
    }
}

/// Why a directory cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The disk says no; also on systems without `openat2` (Linux before 5.6).
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The address of an object store, or its settings in the environment.
    #[error("{0}")]
    Objects(String),
}

impl From<Error> for OpenError {
    fn from(error: Error) -> OpenError {
        OpenError::Io(match error {
            Error::Io(error) => error,
            error => io::Error::other(error),
        })
    }
}

/// The places that are open, so that everybody who means the same one knows of the others' files and shares its room.
/// A server has one.
#[derive(Debug)]
pub struct Directories {
    trees: Mutex<Vec<Weak<Tree>>>,
    /// Open for good: what waits in a spool is uploaded, whether somebody still writes there or not.
    objects: Mutex<Vec<Arc<Objects>>>,
    background: Background,
    state: PathBuf,
    environment: Vec<(String, String)>,
}

/// The variables that say how object stores are reached begin so.
const VARIABLES: &str = "AWS_";

impl Directories {
    /// What waits for object stores is kept below the state directory; how they are reached is taken from the
    /// environment, from the usual variables (`AWS_ACCESS_KEY_ID` and so on).
    pub fn new(state_directory: PathBuf) -> Directories {
        let variables = std::env::vars_os();
        let text = variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Directories::with_environment(state_directory, text.filter(|(name, _)| name.starts_with(VARIABLES)))
    }

    /// The same with variables of one's own.
    pub fn with_environment(
        state_directory: PathBuf,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Directories {
        Directories {
            trees: Mutex::default(),
            objects: Mutex::default(),
            background: Background::default(),
            state: state_directory,
            environment: environment.into_iter().collect(),
        }
    }

    /// Opens a place; a directory is made when it is missing. With a quota, what is there already counts. Nothing waits
    /// for an object store: one that is away may come back.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn open(&self, place: &Place, options: Options) -> Result<Directory, OpenError> {
        let rules = Rules::new(&options);
        let files = match place {
            Place::Directory(path) => Files::Local(self.tree(path, &rules)?),
            Place::Objects(url) => Files::Objects(self.objects(url, &rules)?),
        };
        let directory = Directory { files, rules };
        if options.quota.is_some() {
            directory.tree().count()?;
        }
        Ok(directory)
    }

    /// What each object store is behind with. Looks into the spools: not for who may not wait.
    pub fn waiting(&self) -> Vec<Waiting> {
        let open = self.objects.lock().clone();
        open.iter().filter_map(|objects| objects.waiting().ok()).collect()
    }

    fn tree(&self, path: &Path, rules: &Rules) -> io::Result<Arc<Tree>> {
        let mut trees = self.trees.lock();
        trees.retain(|tree| tree.strong_count() > 0);
        if let Some(known) = trees.iter().filter_map(Weak::upgrade).find(|tree| tree.is_at(path)) {
            return Ok(known);
        }
        let tree = Arc::new(Tree::new(path, rules)?);
        trees.push(Arc::downgrade(&tree));
        Ok(tree)
    }

    fn objects(&self, url: &str, rules: &Rules) -> Result<Arc<Objects>, OpenError> {
        let address = Address::parse(url).map_err(OpenError::Objects)?;
        let mut open = self.objects.lock();
        if let Some(known) = open.iter().find(|objects| objects.is_at(&address)) {
            return Ok(known.clone());
        }
        let runtime = self.background.handle()?;
        let objects = Objects::new(address, &self.state, &self.environment, rules, &runtime)?;
        let objects = Arc::new(objects);
        open.push(objects.clone());
        Ok(objects)
    }
}

/// A thread for object stores: theirs is not the time of the media, and whoever waits for one may be anywhere.
#[derive(Debug, Default)]
struct Background(Mutex<Option<Runtime>>);

impl Background {
    fn handle(&self) -> io::Result<Handle> {
        let mut runtime = self.0.lock();
        if let Some(runtime) = &*runtime {
            return Ok(runtime.handle().clone());
        }
        let mut builder = runtime::Builder::new_multi_thread();
        let started = builder.worker_threads(1).thread_name("objects").enable_all().build()?;
        Ok(runtime.insert(started).handle().clone())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.get_mut().take() {
            // Uploads go on where they are stopped, with the next server.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_directory_unless_it_says_otherwise() {
        let place = |text| Place::parse(text);
        assert_eq!(place("./recordings").unwrap(), Place::Directory("./recordings".into()));
        assert_eq!(
            place("s3://bucket/x").unwrap(),
            Place::Objects("s3://bucket/x".to_owned())
        );
        assert!(place("s3://").is_err());
    }
}
