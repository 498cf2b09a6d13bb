//! What reaches the disk, when, and in how many pieces; and what becomes of a file whose disk says no.

use std::sync::Arc;

use super::*;
use crate::{
    host::storage::{
        granted::Room,
        testing::{Disk, Empty, Sheet},
    },
    services::{Place, StorageGrant},
};

fn granted(room: usize) -> Granted {
    let grant = StorageGrant::private(Place::Directory("data".into()), 0);
    Granted::new(grant, Arc::new(Empty), Arc::new(Room::of(room)))
}

/// A disk with so much room, and a file on it.
fn disk(room: usize) -> (Arc<Disk>, Writing, Granted) {
    let (disk, granted) = (Arc::new(Disk::default()), granted(usize::MAX));
    *disk.room.lock() = room;
    let writing = Writing::new("file".to_owned(), Box::new(Sheet(disk.clone())), &granted);
    (disk, writing, granted)
}

/// The same, as the first file of an instance.
fn files(room: usize) -> (Arc<Disk>, Files, Granted, Resource<File>) {
    let (disk, writing, granted) = disk(room);
    let mut files = Files::default();
    let place = files.put(writing);
    (disk, files, granted, Resource::new_own(place))
}

#[tokio::test]
async fn a_part_of_many_megabytes_is_one_write_and_one_commit() {
    let (disk, mut files, granted, file) = files(usize::MAX);
    let frame = Bytes::from(vec![7; 50 << 10]);
    for n in 1..=1_000 {
        assert_eq!(files.get(&file).unwrap().append(frame.clone()).unwrap(), n * (50 << 10));
        assert!(!files.are_full());
    }
    let writing = files.get(&file).unwrap();
    let len = writing.write(&granted, Then::Commit).await.unwrap();
    assert_eq!(
        (len, *disk.writes.lock(), *disk.commits.lock()),
        (1_000 * (50 << 10), 1, 1)
    );
    assert_eq!(disk.content.lock().len() as u64, len);
}

#[tokio::test]
async fn pieces_are_written_in_order() {
    let (disk, mut writing, granted) = disk(usize::MAX);
    for n in 0..100u8 {
        writing.append(Bytes::copy_from_slice(&[n; 10])).unwrap();
    }
    assert_eq!(writing.write(&granted, Then::Nothing).await.unwrap(), 1_000);
    assert_eq!((*disk.writes.lock(), *disk.commits.lock()), (1, 0));
    let content: Vec<u8> = (0..100).flat_map(|n| [n; 10]).collect();
    assert_eq!(*disk.content.lock(), content);
}

#[test]
fn what_waits_in_memory_is_bounded_by_bytes_and_by_pieces_of_all_files_together() {
    let (_disk, mut files, granted, first) = files(0);
    let second = Writing::new("second".to_owned(), Box::new(Sheet(Arc::default())), &granted);
    let second = Resource::new_own(files.put(second));
    let half = Bytes::from(vec![0; PENDING_BYTES / 2]);
    files.get(&first).unwrap().append(half.clone()).unwrap();
    assert!(!files.are_full());
    files.get(&second).unwrap().append(half).unwrap();
    assert!(files.are_full());

    let (_disk, mut files, _, file) = self::files(0);
    for _ in 0..PENDING_PIECES {
        assert!(!files.are_full());
        files.get(&file).unwrap().append(Bytes::from_static(b"x")).unwrap();
    }
    assert!(files.are_full());
}

#[test]
fn where_the_server_has_no_room_small_pieces_are_written() {
    let granted = granted(SHORT_BYTES);
    let mut writing = Writing::new("file".to_owned(), Box::new(Sheet(Arc::default())), &granted);
    writing.append(Bytes::from(vec![0; SHORT_BYTES])).unwrap();
    assert!(!writing.is_short(&granted));
    let mut other = Writing::new("other".to_owned(), Box::new(Sheet(Arc::default())), &granted);
    other.append(Bytes::from_static(b"x")).unwrap();
    assert!(writing.is_short(&granted));
    assert!(!other.is_short(&granted), "one byte is not worth it");
}

#[tokio::test]
async fn a_file_that_is_never_committed_is_written_soon_and_one_that_is_waits_for_that() {
    let (disk, mut files, granted, file) = files(usize::MAX);
    assert_eq!(files.due(), None);
    files.get(&file).unwrap().append(Bytes::from_static(b"a")).unwrap();
    let due = files.due().unwrap();
    assert!(due <= Instant::now() + PENDING_TIME);
    files.settle(&granted, Some(due - Duration::from_millis(1))).await;
    assert_eq!(*disk.writes.lock(), 0, "not yet");
    files.settle(&granted, Some(due)).await;
    assert_eq!((*disk.writes.lock(), files.due()), (1, None));

    files.get(&file).unwrap().write(&granted, Then::Commit).await.unwrap();
    files.get(&file).unwrap().append(Bytes::from_static(b"b")).unwrap();
    assert!(files.due().unwrap() > Instant::now() + 2 * PENDING_TIME);
    files.settle(&granted, None).await;
    assert_eq!(*disk.content.lock(), b"ab", "all of it, when somebody wants to see it");
}

#[tokio::test]
async fn what_the_disk_says_is_answered_to_the_next_call_and_to_all_after_it() {
    let (disk, mut writing, granted) = disk(15);
    for _ in 0..2 {
        writing.append(Bytes::from_static(&[7; 10])).unwrap();
    }
    assert!(matches!(
        writing.write(&granted, Then::Nothing).await,
        Err(StorageError::Full)
    ));
    assert!(matches!(
        writing.append(Bytes::from_static(b"x")),
        Err(StorageError::Full)
    ));
    let committed = writing.write(&granted, Then::Commit).await;
    assert!(matches!(committed, Err(StorageError::Full)));
    assert!(disk.content.lock().is_empty());
}

#[tokio::test]
async fn a_file_whose_last_part_was_refused_can_be_finished_without_it() {
    let (disk, mut files, granted, file) = files(15);
    for fits in [true, false] {
        let writing = files.get(&file).unwrap();
        writing.append(Bytes::from_static(&[7; 10])).unwrap();
        assert_eq!(writing.write(&granted, Then::Commit).await.is_ok(), fits);
    }
    assert_eq!(files.finish(&file, &granted).await.unwrap(), 10);
    assert_eq!(disk.content.lock().len(), 10);
    let again = files.finish(&file, &granted).await;
    assert!(matches!(again, Err(StorageError::NotFound)), "once");
    let more = files.get(&file).unwrap().append(Bytes::from_static(b"x"));
    assert!(more.is_err(), "it takes no more");
}

#[tokio::test]
async fn a_file_that_has_more_than_was_committed_or_whose_commit_failed_is_not_finished_after_a_failure() {
    // Half of a part is there.
    let (disk, mut files, granted, file) = files(15);
    let writing = files.get(&file).unwrap();
    writing.append(Bytes::from_static(&[7; 10])).unwrap();
    writing.write(&granted, Then::Nothing).await.unwrap();
    writing.append(Bytes::from_static(&[7; 10])).unwrap();
    writing.write(&granted, Then::Commit).await.unwrap_err();
    assert!(matches!(files.finish(&file, &granted).await, Err(StorageError::Full)));
    assert_eq!(disk.content.lock().len(), 10);

    let (disk, mut files, granted, file) = self::files(usize::MAX);
    *disk.is_broken.lock() = true;
    let writing = files.get(&file).unwrap();
    writing.append(Bytes::from_static(b"lost")).unwrap();
    writing.write(&granted, Then::Commit).await.unwrap_err();
    *disk.is_broken.lock() = false;
    assert!(
        matches!(files.finish(&file, &granted).await, Err(StorageError::Io)),
        "what a disk says after it failed means nothing"
    );
}

#[test]
fn the_files_of_an_instance_that_ends_have_everything_that_was_appended() {
    // Without a runtime it is written here and now.
    let (disk, mut files, _, file) = files(usize::MAX);
    files
        .get(&file)
        .unwrap()
        .append(Bytes::from_static(b"the end"))
        .unwrap();
    drop(files);
    assert_eq!(*disk.content.lock(), b"the end");
}

#[tokio::test]
async fn a_file_that_is_let_go_has_everything_once_files_are_settled() {
    let (disk, mut files, granted, file) = files(usize::MAX);
    files
        .get(&file)
        .unwrap()
        .append(Bytes::from_static(b"the end"))
        .unwrap();
    files.let_go(file.rep());
    assert!(files.get(&file).is_err() && files.due().is_some());
    files.settle(&granted, None).await;
    assert_eq!(*disk.content.lock(), b"the end");
}

#[test]
fn places_of_files_are_used_again_and_bounded() {
    let granted = granted(0);
    let writing = || Writing::new("file".to_owned(), Box::new(Sheet(Arc::default())), &granted);
    let mut files = Files::default();
    for n in 0..FILES {
        assert!(files.has_room());
        assert_eq!(files.put(writing()) as usize, n);
    }
    assert!(!files.has_room());
    for place in [3, 3, u32::MAX] {
        files.let_go(place);
    }
    assert!(files.has_room());
    assert_eq!(files.put(writing()), 3);
}
