//! Power cuts: what the disk was told is played again up to every moment, with nothing kept but what was synced by
//! then, and what was acknowledged must be there.

use std::collections::BTreeMap;

use super::{
    watch::{Done, Id},
    *,
};

type Names = BTreeMap<String, Id>;

/// A disk that keeps nothing on its own account.
#[derive(Default)]
struct Disk {
    /// Names per directory: as programs see them, and as they are after a power cut.
    names: BTreeMap<Id, (Names, Names)>,
    /// Bytes per file, the same.
    files: BTreeMap<Id, (Vec<u8>, Vec<u8>)>,
}

impl Disk {
    fn play(&mut self, done: &Done) {
        match done.clone() {
            Done::Made(parent, name, id) => {
                self.names.entry(parent).or_default().0.insert(name, id);
                // An inode may be one that was used before.
                self.files.insert(id, Default::default());
                self.names.insert(id, Default::default());
            }
            Done::Wrote(id, offset, bytes) => {
                let file = &mut self.files.entry(id).or_default().0;
                let offset = usize::try_from(offset).unwrap();
                assert_eq!(file.len(), offset, "nothing is written over, and nothing left out");
                file.extend(bytes);
            }
            Done::Cut(id, length) => self
                .files
                .entry(id)
                .or_default()
                .0
                .truncate(usize::try_from(length).unwrap()),
            Done::Synced(id) => {
                if let Some((now, kept)) = self.files.get_mut(&id) {
                    kept.clone_from(now);
                }
                if let Some((now, kept)) = self.names.get_mut(&id) {
                    kept.clone_from(now);
                }
            }
            Done::Gone(parent, name) => drop(self.names.entry(parent).or_default().0.remove(&name)),
            Done::Renamed(source, from, target, to) => {
                let id = self.names.entry(source).or_default().0.remove(&from).unwrap();
                self.names.entry(target).or_default().0.insert(to, id);
            }
        }
    }

    /// A file's bytes after a power cut now.
    fn kept(&self, root: Id, name: &str) -> Option<&[u8]> {
        let step = |directory: Id, segment| self.names.get(&directory)?.1.get(segment).copied();
        let id = name.split('/').try_fold(root, step)?;
        Some(&self.files.get(&id)?.1)
    }
}

/// What was done, and what was promised after so much of it.
#[derive(Default)]
struct Story {
    log: Vec<Done>,
    promises: Vec<(usize, &'static str, u64)>,
}

impl Story {
    fn promise(&mut self, name: &'static str, length: u64) {
        self.log.extend(watch::take_log());
        self.promises.push((self.log.len(), name, length));
    }
}

#[test]
fn whatever_was_acknowledged_is_there_after_a_power_cut_at_any_moment() {
    let place = Place::new();
    let directory = place.recordings();
    let root = fs::metadata(place.inside(""))
        .map(|data| std::os::unix::fs::MetadataExt::ino(&data))
        .unwrap();
    let content: Bytes = (0..=255_u8).cycle().take(9_000).collect();
    let _ = watch::take_log();

    let mut story = Story::default();
    let names = ["cam/1/a", "cam/1/b", "other/a"];
    let mut files: Vec<_> = names
        .map(|name| {
            let file = directory.create(name).unwrap();
            story.promise(name, 0);
            (name, file, 0_usize)
        })
        .into();
    for round in 0..12_usize {
        let (name, file, at) = &mut files[round % 3];
        // Parts of all sizes, now and then without a commit between them.
        for size in [1 + round * 7, 300] {
            file.append(&[
                content.slice(*at..*at + size),
                content.slice(*at + size..*at + size + 5),
            ])
            .unwrap();
            *at += size + 5;
        }
        if round % 4 != 3 {
            let length = file.commit().unwrap();
            story.promise(name, length);
        }
    }
    // A disk that is full in the middle of a part, and goes on later.
    watch::judge({
        let mut writes = 0;
        move |call| {
            writes += usize::from(call == watch::Call::Write);
            if call == watch::Call::Write && writes > 1 {
                Err(Errno::NOSPC)
            } else {
                Ok(())
            }
        }
    });
    let (name, file, at) = &mut files[0];
    let part: Vec<Bytes> = (0..2_000).map(|n| content.slice(*at + n..*at + n + 1)).collect();
    assert!(matches!(file.append(&part), Err(Error::Full)));
    watch::trust();
    file.append(&part).unwrap();
    let length = file.commit().unwrap();
    story.promise(name, length);
    for (name, file, _) in files {
        let length = file.finish().unwrap();
        story.promise(name, length);
    }
    directory.rename("cam/1/b", "kept/b").unwrap();
    let renamed = directory.entry("kept/b").unwrap().size;
    story.promise("kept/b", renamed);

    for cut in 0..=story.log.len() {
        let mut disk = Disk::default();
        story.log[..cut].iter().for_each(|done| disk.play(done));
        for (after, name, length) in story.promises.iter().filter(|(after, ..)| *after <= cut) {
            // What was renamed is at one of its names.
            let moved = if *name == "cam/1/b" { "kept/b" } else { name };
            let kept = disk.kept(root, name).or_else(|| disk.kept(root, moved));
            let Some(kept) = kept else {
                panic!("cut after {cut}: {name} is gone, promised after {after}");
            };
            let length = usize::try_from(*length).unwrap();
            assert!(
                kept.get(..length) == Some(&content[..length]),
                "cut after {cut}: {name} has not what was promised after {after}"
            );
        }
    }
    assert!(story.log.len() > 50, "{}", story.log.len());
}
