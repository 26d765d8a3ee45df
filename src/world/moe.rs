//! The feed-forward half of layers with experts: a router picks a few for each token, whose results are added up, each
//! times what the router gives it.

use bevy_ecs::prelude::*;

use super::mlp::Mlp;
use super::role::MatrixRole;
use super::storage::{MapTensors, Shape, Shapes, Storage};
use crate::checkpoint::{ModelConfig, MoeConfig};

/// A router and its experts.
#[derive(Component)]
pub struct Moe<S: Storage> {
    /// The router, `[num_experts, hidden_size]`.
    pub gate: S::Matrix,
    /// Of these, each token goes through a few.
    pub experts: Vec<Mlp<S>>,
    /// Every token goes through this one.
    pub shared: Option<SharedExpert<S>>,
}

/// An expert that every token goes through, times a share of its own.
pub struct SharedExpert<S: Storage> {
    /// What gives the share, through a sigmoid, `[1, hidden_size]`.
    pub gate: S::Matrix,
    /// The expert.
    pub mlp: Mlp<S>,
}

impl Moe<Shapes> {
    /// What `config` promises of a layer with experts.
    #[must_use]
    pub fn shapes(config: &ModelConfig, moe: &MoeConfig) -> Self {
        let hidden = config.hidden_size;
        let routes = |rows: usize| Shape::new([rows, hidden], MatrixRole::Routes);
        let mlp = |width: usize| Mlp::of_width(hidden, width);
        Self {
            gate: routes(moe.num_experts),
            experts: (0..moe.num_experts).map(|_| mlp(moe.intermediate_size)).collect(),
            shared: moe.shared_expert_intermediate_size.map(|width| SharedExpert { gate: routes(1), mlp: mlp(width) }),
        }
    }
}

impl<S: Storage> Moe<S> {
    /// Turns every tensor into another storage's; `layer` prefixes their names, e.g. `layers.0`.
    ///
    /// # Errors
    /// The first error of `tensors`.
    pub fn map<T: Storage, M: MapTensors<S, T>>(&self, layer: &str, tensors: &mut M) -> Result<Moe<T>, M::Error> {
        let gate = tensors.matrix(&format!("{layer}.mlp.gate.weight"), &self.gate)?;
        let shared = match &self.shared {
            Some(SharedExpert { gate, mlp }) => Some(SharedExpert {
                gate: tensors.matrix(&format!("{layer}.mlp.shared_expert_gate.weight"), gate)?,
                mlp: mlp.map(&format!("{layer}.mlp.shared_expert"), tensors)?,
            }),
            None => None,
        };
        let experts = self.experts.iter().enumerate().map(|(expert, mlp)| {
            mlp.map_with(&format!("{layer}.mlp.experts.{expert}"), |name, matrix| tensors.expert(name, matrix))
        });
        Ok(Moe { gate, experts: experts.collect::<Result<_, _>>()?, shared })
    }
}
