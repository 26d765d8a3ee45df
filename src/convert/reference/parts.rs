//! The model's parts as places in its list of tensors.

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

/// Where each part of the model is: tensors are listed in the order in which parts are mapped.
pub(super) fn listed(model: &Model) -> ModelParts<Listed> {
    let Ok(parts) = ModelParts::shapes(&model.config).map(&mut Lister { model, next: 0 });
    parts
}

struct Lister<'a> {
    model: &'a Model,
    next: usize,
}

impl Lister<'_> {
    fn next(&mut self, name: &str) -> Place {
        let place = Place(self.next);
        debug_assert_eq!(self.model.tensors[place.0].promised.name, name);
        self.next += 1;
        place
    }
}

impl MapTensors<Shapes, Listed> for Lister<'_> {
    type Error = Infallible;

    fn matrix(&mut self, name: &str, _: &Shape<MatrixRole>) -> Result<Place, Infallible> {
        Ok(self.next(name))
    }

    fn vector(&mut self, name: &str, _: &Shape<VectorRole>) -> Result<Place, Infallible> {
        Ok(self.next(name))
    }
}
