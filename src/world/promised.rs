//! Every tensor of a model by name: what a configuration promises, without any world.

use std::convert::Infallible;

use super::attention::Attention;
use super::delta_net::DeltaNet;
use super::layer::LayerNorms;
use super::mlp::Mlp;
use super::model::Model;
use super::storage::{MapTensors, Shapes};
use crate::checkpoint::{LayerType, ModelConfig};

/// A tensor that a configuration promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromisedTensor {
    /// Relative to the text model, e.g. `layers.0.mlp.up_proj.weight`.
    pub name: String,
    /// The dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Whether it is a weight matrix, which may be quantised, rather than a small tensor that keeps its precision.
    pub is_matrix: bool,
}

/// All tensors that `config` promises: the ends of the model, then layer after layer.
#[must_use]
pub fn promised_tensors(config: &ModelConfig) -> Vec<PromisedTensor> {
    let mut collector = Collector(Vec::new());
    let Ok(()) = collector.walk(config);
    collector.0
}

struct Collector(Vec<PromisedTensor>);

impl Collector {
    fn walk(&mut self, config: &ModelConfig) -> Result<(), Infallible> {
        let _: Model<Shapes> = Model::shapes(config).map(self)?;
        for (index, layer_type) in config.layer_types.iter().enumerate() {
            let layer = format!("layers.{index}");
            match layer_type {
                LayerType::LinearAttention => drop::<DeltaNet<Shapes>>(DeltaNet::shapes(config).map(&layer, self)?),
                LayerType::FullAttention => drop::<Attention<Shapes>>(Attention::shapes(config).map(&layer, self)?),
            }
            let _: LayerNorms<Shapes> = LayerNorms::shapes(config).map(&layer, self)?;
            let _: Mlp<Shapes> = Mlp::shapes(config).map(&layer, self)?;
        }
        Ok(())
    }

    fn add(&mut self, name: &str, shape: &[usize], is_matrix: bool) -> Vec<usize> {
        self.0.push(PromisedTensor { name: name.to_owned(), shape: shape.to_vec(), is_matrix });
        shape.to_vec()
    }
}

impl MapTensors<Shapes, Shapes> for Collector {
    type Error = Infallible;

    fn matrix(&mut self, name: &str, shape: &Vec<usize>) -> Result<Vec<usize>, Infallible> {
        Ok(self.add(name, shape, true))
    }

    fn vector(&mut self, name: &str, shape: &Vec<usize>) -> Result<Vec<usize>, Infallible> {
        Ok(self.add(name, shape, false))
    }
}
