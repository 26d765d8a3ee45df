//! Checkpoints written by transformers open, and have every tensor their configuration promises.

use std::fs;
use std::path::{Path, PathBuf};

use loquent::checkpoint::Checkpoint;

use crate::tiny_checkpoint;

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.join("config.json").is_file()).collect()
}

#[test]
fn every_tensor_of_every_fixture_can_be_taken() {
    let fixtures = fixtures();
    assert!(!fixtures.is_empty());
    for fixture in fixtures {
        let mut checkpoint = Checkpoint::open(&fixture).unwrap();
        for (name, shape) in tiny_checkpoint::shapes(&checkpoint.config) {
            let tensor = checkpoint.take(&name, &shape).unwrap();
            assert_eq!(tensor.to_f32().len(), shape.iter().product::<usize>());
        }
        assert_eq!(checkpoint.left_over().collect::<Vec<_>>(), Vec::<&str>::new(), "{}", fixture.display());
    }
}
