//! Snapshots in files.

use std::fs;

use loquent::prelude::*;
use loquent::snapshot::{Contents, Snapshot, SnapshotError};

use crate::listening::world_of;
use crate::support::{fixtures, spawn};

fn snapshot() -> Snapshot {
    let mut world = world_of(&fixtures()[0]);
    let sequence = spawn(&mut world, &[1, 2, 3], 9);
    advance(&mut world, Budget::Step);
    Snapshot::take(&mut world, sequence, Contents::AsStored).expect("a snapshot")
}

#[test]
fn a_file_is_what_was_saved_and_takes_the_place_of_another() {
    let (folder, snapshot) = (tempfile::tempdir().expect("a directory"), snapshot());
    let file = folder.path().join("ann");
    fs::write(&file, "something else").expect("a file");
    for _ in 0..2 {
        snapshot.save(&file).expect("it can be written");
        assert_eq!(Snapshot::open(&file).expect("a snapshot"), snapshot);
    }
    assert_eq!(fs::read(&file).expect("a file"), snapshot.to_bytes());
    let names: Vec<_> =
        fs::read_dir(folder.path()).expect("a directory").map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["ann"], "nothing else is left");
}

#[test]
fn what_cannot_be_written_or_read_is_named() {
    let (folder, snapshot) = (tempfile::tempdir().expect("a directory"), snapshot());
    let nowhere = folder.path().join("no such directory/ann");
    for error in [snapshot.save(&nowhere).unwrap_err(), Snapshot::open(&nowhere).unwrap_err()] {
        assert!(error.to_string().starts_with(&nowhere.display().to_string()), "{error}");
    }
    // A directory is in its place, which stays, and nothing beside it.
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).expect("a directory");
    assert!(matches!(snapshot.save(&taken).unwrap_err(), SnapshotError::Io { .. }));
    assert_eq!(fs::read_dir(folder.path()).expect("a directory").count(), 1);
}

#[test]
fn a_file_that_says_to_be_longer_than_it_is_costs_nothing() {
    let (folder, snapshot) = (tempfile::tempdir().expect("a directory"), snapshot());
    let file = folder.path().join("ann");
    let mut bytes = snapshot.to_bytes();
    bytes[16..24].copy_from_slice(&(1u64 << 50).to_le_bytes());
    fs::write(&file, bytes).expect("a file");
    assert!(matches!(Snapshot::open(&file).unwrap_err(), SnapshotError::Truncated { .. }));
    fs::write(&file, []).expect("a file");
    assert!(matches!(Snapshot::open(&file).unwrap_err(), SnapshotError::NotASnapshot));
}
