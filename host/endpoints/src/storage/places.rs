//! Where a directory is, and which are open.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use super::{
    Directory, Error, Options,
    tree::{Rules, Tree},
};

/// How the address of an object store begins.
const S3: &str = "s3://";

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
        match text.strip_prefix(S3) {
            Some(_) => Err("object stores are not built in".to_owned()),
            None => Ok(Place::Directory(text.into())),
        }
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
#[derive(Debug, Default)]
pub struct Directories {
    trees: Mutex<Vec<Weak<Tree>>>,
    state: PathBuf,
}

impl Directories {
    /// What waits for object stores is kept below the state directory.
    pub fn new(state_directory: PathBuf) -> Directories {
        Directories {
            trees: Mutex::default(),
            state: state_directory,
        }
    }

    /// Opens a place; a directory is made when it is missing. With a quota, what is there already counts.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn open(&self, place: &Place, options: Options) -> Result<Directory, OpenError> {
        let rules = Rules::new(&options);
        match place {
            Place::Directory(path) => {
                let tree = self.tree(path, &rules)?;
                if options.quota.is_some() {
                    tree.count()?;
                }
                Ok(Directory { tree, rules })
            }
            Place::Objects(_) => Err(OpenError::Objects("object stores are not built in".to_owned())),
        }
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
}
