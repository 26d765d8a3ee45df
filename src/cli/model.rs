//! Opens a checkpoint, or the demo in the binary, and makes a world of it.

use std::path::Path;

use bevy_ecs::prelude::*;
#[cfg(feature = "demo")]
use bytes::Bytes;
use indicatif::ProgressBar;
use loquent::checkpoint::Tensor;
use loquent::cpu::{self, Cpu, Isa, Numerics, Workers};
use loquent::prelude::*;
use loquent::schedule::load;
use loquent::world::storage::{MapTensors, Mapped, Shapes};

use super::progress;

#[cfg(feature = "demo")]
static DEMO: include_dir::Dir<'_> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/assets/demo-q4");

/// Opens the checkpoint in `directory`, or the demo where none is given.
pub(super) fn open(directory: Option<&Path>) -> anyhow::Result<Checkpoint> {
    match directory {
        Some(directory) => Ok(Checkpoint::open(directory)?),
        #[cfg(feature = "demo")]
        None => {
            let name = |file: &include_dir::File<'static>| file.path().to_str().expect("names in ASCII");
            let files: Vec<_> = DEMO.files().map(|file| (name(file), Bytes::from_static(file.contents()))).collect();
            Ok(Checkpoint::from_files("demo", &files)?)
        }
        #[cfg(not(feature = "demo"))]
        None => {
            anyhow::bail!("no model: this binary was built without the demo; name a checkpoint's directory with -m")
        }
    }
}

/// What `--exact` asks for.
pub(super) fn numerics(exact: bool) -> Numerics {
    if exact { Numerics::Exact } else { Numerics::Fast }
}

/// What results call it.
pub(super) fn numerics_name(numerics: Numerics) -> &'static str {
    match numerics {
        Numerics::Fast => "fast",
        Numerics::Exact => "exact",
    }
}

/// A world with a model in it.
pub(super) struct Loaded {
    pub(super) world: World,
    /// The bytes of weights that decoding a token reads: all, but for an embedding that is not the head as well.
    pub(super) bytes_per_token: usize,
    /// How it computes in fact: without weights of four bits, there is nothing to make fast.
    pub(super) numerics: Numerics,
}

/// Loads the model of `config`, its tensors from `source`, onto `threads` threads of the CPU.
pub(super) fn spawn<M>(
    config: &ModelConfig,
    source: &mut M,
    threads: Option<usize>,
    numerics: Numerics,
) -> anyhow::Result<Loaded>
where
    M: MapTensors<Shapes, Mapped>,
    M::Error: std::error::Error + Send + Sync + 'static,
{
    let mut world = World::new();
    install(&mut world);
    cpu::add_systems(&mut world, Workers::new(threads.unwrap_or(0), Isa::widest())?);
    let mut shown =
        Shown { source, bar: progress::spinner("loading"), tied: config.tie_word_embeddings, bytes_per_token: 0 };
    load::spawn_model(&mut world, config, &mut shown)?;
    shown.bar.finish_and_clear();
    let bytes_per_token = shown.bytes_per_token;
    let packed = cpu::pack(&mut world, numerics)?;
    load::check_mixers::<Cpu>(&mut world)?;
    let numerics = if packed > 0 { Numerics::Fast } else { Numerics::Exact };
    Ok(Loaded { world, bytes_per_token, numerics })
}

/// A source whose progress is shown.
struct Shown<'a, M> {
    source: &'a mut M,
    bar: ProgressBar,
    tied: bool,
    bytes_per_token: usize,
}

impl<M: MapTensors<Shapes, Mapped>> MapTensors<Shapes, Mapped> for Shown<'_, M> {
    type Error = M::Error;

    fn matrix(&mut self, name: &str, shape: &Vec<usize>) -> Result<Tensor, M::Error> {
        self.bar.set_message(format!("loading {name}"));
        let tensor = self.source.matrix(name, shape)?;
        if self.tied || name != "embed_tokens.weight" {
            self.bytes_per_token += tensor.bytes().len();
        }
        Ok(tensor)
    }

    fn vector(&mut self, name: &str, shape: &Vec<usize>) -> Result<Tensor, M::Error> {
        let tensor = self.source.vector(name, shape)?;
        self.bytes_per_token += tensor.bytes().len();
        Ok(tensor)
    }
}
