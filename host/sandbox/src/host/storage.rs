//! `storage`: refused to every plugin until directories can be granted.

use wasmtime::component::Resource;

use super::{State, frame::Held};
use crate::bindings::plugin::{
    frame::Slice,
    storage::{Entry, Host, HostFile, StorageError},
};

/// A file of a granted directory. There is none, so no guest ever has one.
#[allow(unreachable_pub, reason = "generated code re-exports it")]
pub enum File {}

type Result<T> = std::result::Result<T, StorageError>;

impl Host for State {
    fn create(&mut self, _name: String) -> Result<Resource<File>> {
        Err(StorageError::NotGranted)
    }

    fn read(&mut self, _name: String, _offset: u64, _len: u32) -> Result<Vec<u8>> {
        Err(StorageError::NotGranted)
    }

    fn list(&mut self, _prefix: String) -> Result<Vec<Entry>> {
        Err(StorageError::NotGranted)
    }

    fn rename(&mut self, _from: String, _to: String) -> Result<()> {
        Err(StorageError::NotGranted)
    }

    fn remove(&mut self, _name: String) -> Result<()> {
        Err(StorageError::NotGranted)
    }
}

impl HostFile for State {
    fn append(&mut self, _file: Resource<File>, _data: Vec<u8>) -> Result<u64> {
        Err(StorageError::NotGranted)
    }

    fn append_held(&mut self, _file: Resource<File>, _data: Resource<Held>, _what: Option<Slice>) -> Result<u64> {
        Err(StorageError::NotGranted)
    }

    fn commit(&mut self, _file: Resource<File>) -> Result<u64> {
        Err(StorageError::NotGranted)
    }

    fn finish(&mut self, _file: Resource<File>) -> Result<u64> {
        Err(StorageError::NotGranted)
    }

    fn drop(&mut self, _file: Resource<File>) -> wasmtime::Result<()> {
        Ok(())
    }
}
