//! From a checkpoint's directory to a world that could take a step.

mod support;

use std::fs;
use std::path::Path;

use bevy_ecs::prelude::*;
use criterion::Throughput;
use loquent::cpu::{self, Isa, Numerics};
use loquent::prelude::*;
use loquent::schedule::load;

fn main() {
    let directory = copy_of_demo();
    // Starting threads is not loading: every world gets the same ones.
    let mut workers = Some(Workers::new(0, Isa::widest()).expect("threads"));
    let mut criterion = support::criterion();
    let mut group = criterion.benchmark_group("load");
    let weights = fs::metadata(directory.path().join("model.safetensors")).expect("the weights");
    group.throughput(Throughput::Bytes(weights.len()));
    group.bench_function("demo", |bencher| {
        bencher.iter_with_large_drop(|| {
            let mut world = load(directory.path(), workers.take().expect("the last world's"));
            workers = world.remove_resource();
            world
        });
    });
    group.finish();
}

fn load(directory: &Path, workers: Workers) -> World {
    let mut checkpoint = Checkpoint::open(directory).expect("a valid checkpoint");
    let config = checkpoint.config.clone();
    let mut world = World::new();
    install(&mut world);
    cpu::add_systems(&mut world, workers);
    load::spawn_model(&mut world, &config, &mut checkpoint).expect("all tensors");
    cpu::pack(&mut world, Numerics::Fast).expect("memory");
    world
}

/// The files of `assets/demo`, where temporary files are: on the same kind of storage wherever the repository lies.
fn copy_of_demo() -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
    for entry in fs::read_dir(demo).expect("assets/demo") {
        let file = entry.expect("assets/demo").path();
        fs::copy(&file, copy.path().join(file.file_name().expect("a file"))).expect("room for the demo");
    }
    copy
}
