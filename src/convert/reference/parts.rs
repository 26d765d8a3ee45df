//! The model's parts as places in its list of tensors.

use std::collections::BTreeMap;
use std::convert::Infallible;

use crate::convert::model::Model;
use crate::world::parts::ModelParts;
use crate::world::role::{MatrixRole, VectorRole};
use crate::world::storage::{MapTensors, Shape, Shapes, Storage};

/// A tensor's place in [`Model::tensors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) usize);

/// Tensors that are known by their places.
pub(super) struct Listed;

impl Storage for Listed {
    type Matrix = Place;
    type Vector = Place;
    type Rows = ();
    type DeltaBlock = ();
    type KvBlock = ();
}

/// Where each part of the model is.
///
/// # Panics
/// If the model has no tensor of a name that its configuration promises: it was made from that list.
pub(super) fn listed(model: &Model) -> ModelParts<Listed> {
    let names = model.tensors.iter().map(|tensor| &*tensor.promised.name);
    let Ok(parts) = ModelParts::shapes(&model.config).map(&mut Lister(names.zip(0..).collect()));
    parts
}

struct Lister<'a>(BTreeMap<&'a str, usize>);

impl MapTensors<Shapes, Listed> for Lister<'_> {
    type Error = Infallible;

    fn matrix(&mut self, name: &str, _: &Shape<MatrixRole>) -> Result<Place, Infallible> {
        Ok(Place(self.0[name]))
    }

    fn vector(&mut self, name: &str, _: &Shape<VectorRole>) -> Result<Place, Infallible> {
        Ok(Place(self.0[name]))
    }
}
