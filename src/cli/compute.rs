//! What computes, and how.

use anyhow::bail;
use loquent::prelude::*;

use super::cache_type::Kept;
use super::draft::DraftArgs;
use super::model;

/// The part of the command line that says what a model is run on.
#[derive(clap::Args)]
pub(super) struct ComputeArgs {
    /// What computes: auto, cpu, gpu, or gpu:NAME with a part of an adapter's name
    #[arg(long, value_name = "BACKEND", default_value = "auto")]
    backend: Backend,
    /// Threads [default: one per core]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Tokens of context, prompt and new ones together; 0 is the model's [default: 0]
    #[arg(short, long, value_name = "N")]
    ctx_size: Option<u32>,
    /// Keep activations in f32, whatever the weights are stored as
    #[arg(long)]
    exact: bool,
    /// What keys and values are kept as [default: f16, or f32 where activations are]
    #[arg(long, value_enum, value_name = "TYPE")]
    cache_type: Option<Kept>,
}

impl ComputeArgs {
    /// Makes the context as long as asked for.
    pub(super) fn limit_context(&self, config: &mut ModelConfig) -> anyhow::Result<()> {
        if let Some(context) = self.ctx_size.filter(|&context| context > 0).map(|context| context as usize) {
            let most = config.max_position_embeddings;
            if context > most {
                bail!("--ctx-size is {context}: expected 0 to {most}, the model's max_position_embeddings");
            }
            config.max_position_embeddings = context;
        }
        Ok(())
    }

    /// Loads another beside it, which is computed on the CPU.
    pub(super) fn load_on_cpu(&self, checkpoint: Checkpoint) -> anyhow::Result<LoadedModel> {
        model::load(checkpoint, self.options(&Backend::Cpu))
    }

    /// Loads an opened checkpoint, with what it takes to guess ahead.
    pub(super) fn load(&self, checkpoint: Checkpoint, draft: &DraftArgs) -> anyhow::Result<LoadedModel> {
        model::load(checkpoint, self.options(&self.backend).mtp(draft.wants_mtp()))
    }

    fn options(&self, backend: &Backend) -> LoadOptions {
        model::options(backend, self.threads, model::numerics(self.exact), self.cache_type)
    }
}
