//! What waits for object stores from the last run: its torn ends are cut off before it is uploaded, since nothing in a
//! store is ever cut. That needs no index, and so no store that answers.

use wasmtx_media::recording::Format;

use super::{Archive, probe};
use crate::storage::{self, Directory, Place};

impl Archive {
    /// Lets go what is left in the spools of all entries.
    pub(super) fn mend_spools(&self) {
        if !self.is_alone() {
            return;
        }
        for rule in self.rules.load().distinct() {
            if !matches!(rule.place, Place::Objects(_)) {
                continue;
            }
            match self.directory(&rule) {
                Ok(directory) => directory.iter().for_each(mend),
                Err(error) => tracing::warn!(place = %rule.place, "its spool cannot be looked at: {error}"),
            }
        }
    }
}

fn mend(directory: &Directory) {
    for file in directory.leftovers() {
        match cut_back(directory, &file) {
            Ok(0) | Err(storage::Error::NotFound) => {}
            Ok(bytes) => tracing::warn!(
                file,
                bytes,
                "cut back a recording that was interrupted, before its upload"
            ),
            Err(error) => tracing::warn!(file, "its end cannot be checked before its upload: {error}"),
        }
    }
    directory.leftovers_recovered();
}

/// The bytes that were cut off. What holds nothing whole is left to the recovery of its path.
fn cut_back(directory: &Directory, file: &str) -> Result<u64, storage::Error> {
    let Some((_, format)) = Format::split(file) else {
        return Ok(0);
    };
    // Somebody began a new one of that name.
    if directory.is_open(file) {
        return Ok(0);
    }
    let reader = directory.open(file)?;
    let size = reader.len()?;
    let probe::End::Whole(whole) = probe::end(&reader, format, size)? else {
        return Ok(0);
    };
    if whole >= size {
        return Ok(0);
    }
    directory.truncate(file, whole)?;
    Ok(size - whole)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::storage::{Directories, Options};

    const FMP4: &[u8] = include_bytes!("../../../media/testdata/mp4/h264-aac-fragments.mp4");

    #[test]
    fn torn_ends_in_a_spool_are_cut_while_the_store_is_away() {
        let state = std::env::temp_dir().join(format!("wasmtx-spools-{}", std::process::id()));
        let server = || {
            // Nobody listens there.
            let away = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_ALLOW_HTTP", "true")];
            let keys = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
            let all = away.into_iter().chain(keys);
            let all = all.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let directories = Directories::with_environment(state.clone(), all);
            let place = Place::parse("s3://bucket/cameras").unwrap();
            let directory = directories.open(&place, Options::recordings()).unwrap();
            (directories, directory)
        };
        let files: [(&str, &[u8]); 3] = [("torn.mp4", b"half a"), ("whole.mp4", b""), ("notes.txt", b"!")];
        {
            let (_directories, directory) = server();
            for (name, end) in files {
                let mut file = directory.create(name).unwrap();
                file.append(&[FMP4.into(), end.into()]).unwrap();
                file.finish().unwrap();
            }
        }
        let (_directories, directory) = server();
        assert_eq!(directory.leftovers().len(), 3);
        mend(&directory);
        let size = |name| directory.entry(name).unwrap().size - FMP4.len() as u64;
        assert_eq!(files.map(|(name, _)| size(name)), [0, 0, 1]);
        assert!(directory.leftovers().is_empty());
        fs::remove_dir_all(state).unwrap();
    }
}
