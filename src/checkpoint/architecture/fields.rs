//! Fields that all families have, and what they may hold.

#![forbid(unsafe_code)]

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{Fields, describe};

/// A hundred times the largest published dimension, and small enough that products of two and three cannot overflow.
pub(super) const DIMENSION: RangeInclusive<usize> = 1..=1 << 20;
/// Token ids are 32 bits wide.
pub(super) const VOCABULARY: RangeInclusive<usize> = 1..=1 << 31;
pub(super) const LAYERS: RangeInclusive<usize> = 1..=4096;
pub(super) const POSITIONS: RangeInclusive<usize> = 1..=1 << 31;

pub(super) fn rms_norm_eps(fields: Fields<'_>) -> Result<f32, CheckpointError> {
    #[expect(clippy::cast_possible_truncation, reason = "the sum it is added to is in single precision")]
    let single = |eps: f64| eps as f32;
    let expected = "a number above 0, finite in single precision";
    let eps = fields.number("rms_norm_eps", expected, |eps| single(eps) > 0.0 && single(eps).is_finite())?;
    eps.map(single).ok_or_else(|| fields.error("rms_norm_eps", expected))
}

/// The seed stands at top level and among the text model's fields, or in either place.
pub(super) fn rotation_seed(root: Fields<'_>, text: Fields<'_>) -> Result<Option<u64>, CheckpointError> {
    const FIELD: &str = "quarot_rotation_seed";
    let seed = |fields: Fields<'_>| match fields.get(FIELD) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            None => Err(fields.error(FIELD, "an integer from 0 to 2^64 - 1")),
            seed => Ok(seed),
        },
    };
    let (outer, inner) = (seed(root)?, seed(text)?);
    match (outer, inner) {
        (Some(outer), Some(inner)) if outer != inner => Err(text.error(FIELD, format!("{outer}, as at top level"))),
        _ => Ok(outer.or(inner)),
    }
}

/// What `layer_types` says of each of `count` layers, by the names that a family knows.
pub(super) fn layer_types<T: Copy>(
    fields: Fields<'_>,
    count: usize,
    known: &[(&str, T)],
) -> Result<Option<Vec<T>>, CheckpointError> {
    let Some(names) = fields.array("layer_types")? else { return Ok(None) };
    if names.len() != count {
        let expected = format!("as many as num_hidden_layers = {count}");
        return Err(fields.error_found("layer_types", expected, names.len().to_string()));
    }
    let parse = |name: &Value| {
        let found = known.iter().find(|(known, _)| name.as_str() == Some(known));
        found.map(|&(_, layer_type)| layer_type).ok_or_else(|| {
            let names: Vec<String> = known.iter().map(|(known, _)| format!("{known:?}")).collect();
            let expected = format!("{} (nothing else is implemented)", names.join(" or "));
            fields.error_found("layer_types", expected, describe(Some(name)))
        })
    };
    names.iter().map(parse).collect::<Result<_, _>>().map(Some)
}

pub(super) fn check_multiple(
    fields: Fields<'_>,
    (field, value): (&str, usize),
    (divisor, by): (&str, usize),
) -> Result<(), CheckpointError> {
    if value.is_multiple_of(by) {
        return Ok(());
    }
    Err(fields.error(field, format!("a multiple of {divisor} = {by}")))
}

/// Refuses a model within the model, where fields of the outer one are those of the text model.
pub(super) fn refuse_nested(root: Fields<'_>, model_type: &str) -> Result<(), CheckpointError> {
    match root.object("text_config")? {
        None => Ok(()),
        Some(_) => Err(root.error("text_config", format!("no such field where model_type is {model_type}"))),
    }
}
