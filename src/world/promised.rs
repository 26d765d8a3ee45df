//! Every tensor of a model by name: what a configuration promises, without any world.

use std::convert::Infallible;

use super::model::Model;
use super::mtp::Mtp;
use super::parts::{LayerParts, layer_name};
use super::role::{MatrixRole, StreamNorm, VectorRole};
use super::storage::{MapTensors, Shape, Shapes};
use crate::checkpoint::{MTP, ModelConfig};

/// A tensor that a configuration promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromisedTensor {
    /// Relative to the text model, e.g. `layers.0.mlp.up_proj.weight`.
    pub name: String,
    /// The layer it belongs to; `None` at the ends of the model, and in the head that predicts several tokens.
    pub layer: Option<usize>,
    /// The dimensions, outermost first.
    pub shape: Vec<usize>,
    /// What it means.
    pub role: TensorRole,
}

/// What a tensor is: a weight matrix, which may be quantised, or a small tensor that keeps its precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorRole {
    /// A weight matrix.
    Matrix(MatrixRole),
    /// A small tensor.
    Vector(VectorRole),
}

impl PromisedTensor {
    /// The name of the norm through which it reads the trunk's residual stream, if it does.
    #[must_use]
    pub fn stream_norm(&self) -> Option<String> {
        let norm = match self.role {
            _ if self.is_of_mtp() => None,
            TensorRole::Matrix(MatrixRole::Reads(norm)) => Some(norm),
            TensorRole::Matrix(MatrixRole::Routes) => Some(StreamNorm::Mlp),
            TensorRole::Matrix(MatrixRole::Embeds | MatrixRole::Writes | MatrixRole::Joins) | TensorRole::Vector(_) => {
                None
            }
        };
        norm.map(|norm| norm.tensor(self.layer.unwrap_or_default()))
    }

    /// Whether it is a matrix that a conversion brings to four bits.
    #[must_use]
    pub fn is_quantised(&self) -> bool {
        self.is_matrix() && self.role != TensorRole::Matrix(MatrixRole::Routes)
    }

    /// Whether it is part of the head that predicts several tokens.
    #[must_use]
    pub fn is_of_mtp(&self) -> bool {
        self.name.starts_with(MTP)
    }

    /// Whether it is a weight matrix.
    #[must_use]
    pub fn is_matrix(&self) -> bool {
        matches!(self.role, TensorRole::Matrix(_))
    }
}

/// All tensors that `config` promises: the ends of the model, then layer after layer, then the head that predicts several tokens.
#[must_use]
pub fn promised_tensors(config: &ModelConfig) -> Vec<PromisedTensor> {
    let mut collector = Collector { layer: None, found: Vec::new() };
    let Ok(()) = collector.walk(config);
    collector.found
}

struct Collector {
    layer: Option<usize>,
    found: Vec<PromisedTensor>,
}

impl Collector {
    fn walk(&mut self, config: &ModelConfig) -> Result<(), Infallible> {
        let _: Model<Shapes> = Model::shapes(config).map(self)?;
        for index in 0..config.layer_types.len() {
            self.layer = Some(index);
            let _: LayerParts<Shapes> = LayerParts::shapes(config, index).map(&layer_name(index), self)?;
        }
        self.layer = None;
        let _: Option<Mtp<Shapes>> = Mtp::shapes(config).map(|mtp| mtp.map(self)).transpose()?;
        Ok(())
    }

    fn add(&mut self, name: &str, shape: &[usize], role: TensorRole) {
        self.found.push(PromisedTensor { name: name.to_owned(), layer: self.layer, shape: shape.to_vec(), role });
    }
}

impl MapTensors<Shapes, Shapes> for Collector {
    type Error = Infallible;

    fn matrix(&mut self, name: &str, matrix: &Shape<MatrixRole>) -> Result<Shape<MatrixRole>, Infallible> {
        self.add(name, &matrix.dims, TensorRole::Matrix(matrix.role));
        Ok(matrix.clone())
    }

    fn vector(&mut self, name: &str, vector: &Shape<VectorRole>) -> Result<Shape<VectorRole>, Infallible> {
        self.add(name, &vector.dims, TensorRole::Vector(vector.role));
        Ok(vector.clone())
    }
}
