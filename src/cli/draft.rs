//! What guesses ahead, as the command line says it.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::bail;
use bevy_ecs::prelude::*;
use loquent::checkpoint::Tokenizer;
use loquent::prelude::*;
use loquent::world::draft::{Draft, Drafts};
use serde_json::{Value, json};

use super::compute::ComputeArgs;
use super::model;

/// The part of the command line that says where guesses come from.
#[derive(clap::Args)]
pub(super) struct DraftArgs {
    /// Guess ahead, and read guesses together; the text stays the same: lookup, mtp for the model's own head, or a smaller model
    #[arg(long, value_name = "lookup|mtp|DIR")]
    draft: Option<DraftFrom>,
}

/// Where guesses come from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum DraftFrom {
    Lookup,
    Mtp,
    Model(PathBuf),
}

impl FromStr for DraftFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "" => return Err("expected lookup, mtp, or a model".into()),
            "lookup" => Self::Lookup,
            "mtp" => Self::Mtp,
            model => Self::Model(model.into()),
        })
    }
}

impl DraftArgs {
    /// Whether the model's own head is to be loaded.
    pub(super) fn wants_mtp(&self) -> bool {
        self.draft == Some(DraftFrom::Mtp)
    }

    /// What a sequence on the one model of `world` is given, with the model that guesses loaded beside it.
    pub(super) fn install(
        &self,
        world: &mut World,
        compute: &ComputeArgs,
    ) -> anyhow::Result<Option<impl Bundle + use<>>> {
        let Some(from) = &self.draft else { return Ok(None) };
        if let ("gpu", adapter) = model::backend(world) {
            let adapter = adapter.unwrap_or_default();
            bail!("--draft is for the CPU, and {adapter} computes this model: add --backend cpu");
        }
        let model = world.query_filtered::<Entity, With<ModelState>>().single(world)?;
        let draft = match from {
            DraftFrom::Lookup => Draft::Lookup,
            DraftFrom::Mtp => Draft::Mtp,
            DraftFrom::Model(named) => {
                let checkpoint = model::open(Some(named))?;
                ensure_alike(world, model, &checkpoint).map_err(|why| anyhow::anyhow!("{}: {why}", named.display()))?;
                Draft::Model(compute.load_on_cpu(checkpoint)?.spawn(world))
            }
        };
        Ok(Some((SpeaksWith(model), draft)))
    }

    /// What came of the guesses for `sequence`, if any were asked for.
    pub(super) fn record(world: &World, sequence: Entity) -> Option<Value> {
        let drafts = world.get::<Drafts>(sequence)?;
        Some(json!({
            "drafted": drafts.drafted, "accepted": drafts.accepted, "passes": drafts.passes,
            "tokens_per_pass": drafts.tokens_per_pass(),
        }))
    }
}

/// What the record says to people.
pub(super) fn sentence(record: &Value) -> String {
    let number = |field: &str| record[field].as_f64().unwrap_or_default();
    let (accepted, drafted) = (&record["accepted"], &record["drafted"]);
    format!("{:.2} tokens a pass, {accepted} of {drafted} guesses right", number("tokens_per_pass"))
}

/// A model guesses in the other's vocabulary, or never rightly.
fn ensure_alike(world: &World, model: Entity, guesses: &Checkpoint) -> anyhow::Result<()> {
    let tokenizers = world.get::<Tokenizer>(model).zip(guesses.tokenizer.as_ref());
    if let Some((own, other)) = tokenizers {
        // One of them may have more than the other, at the end.
        let both = (0..guesses.config.vocab_size as u32).filter_map(|id| {
            let tokens = own.id_to_token(id).zip(other.id_to_token(id));
            tokens.map(|(own, other)| (id, own, other))
        });
        if let Some((id, own, other)) = both.into_iter().find(|(_, own, other)| own != other) {
            bail!("its token {id} is {other:?}: expected {own:?}, as in the model that it is to guess for");
        }
    }
    Ok(())
}
