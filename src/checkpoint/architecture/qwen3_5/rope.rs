//! The rotary settings of `config.json`, which three generations of files keep in three places: at top level, in
//! `rope_scaling`, in `rope_parameters`. Where several are there, they must agree.

#![forbid(unsafe_code)]

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{Fields, describe};

/// What the attention layers need to know of them.
pub(super) struct Rope {
    pub(super) rotary_dim: usize,
    pub(super) theta: f64,
}

/// Reads the settings for heads of width `head_dim`.
///
/// `mrope_section` and `mrope_interleaved` only say how the axes of an image share the frequencies. The positions of text
/// are the same along all three, so they change nothing here.
pub(super) fn read(text: Fields<'_>, head_dim: usize) -> Result<Rope, CheckpointError> {
    /// What transformers takes for this family where no file says it.
    const PARTIAL_ROTARY_FACTOR: f64 = 0.25;
    let nested = [text.object("rope_parameters")?, text.object("rope_scaling")?];
    for rope in nested.iter().flatten() {
        for field in ["rope_type", "type"] {
            if rope.text(field)?.is_some_and(|kind| kind != "default") {
                return Err(rope.error(field, "\"default\" (nothing else is implemented)"));
            }
        }
    }
    let places = [Some(text), nested[0], nested[1]];
    let positive = |number: f64| number > 0.0 && number.is_finite();
    let theta = agreed(&places, "rope_theta", "a finite number above 0", positive)?;
    let theta = theta.ok_or_else(|| {
        let place = nested[0].unwrap_or(text);
        place.error("rope_theta", "a finite number above 0")
    })?;
    let fraction = |number: f64| number > 0.0 && number <= 1.0;
    let factor = agreed(&places, "partial_rotary_factor", "a number above 0 and at most 1", fraction)?;
    let factor = factor.unwrap_or(PARTIAL_ROTARY_FACTOR);

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "truncation is how the family is defined, and both factors are small and positive"
    )]
    let rotary_dim = (head_dim as f64 * factor) as usize;
    if rotary_dim == 0 || !rotary_dim.is_multiple_of(2) {
        let place = nested.into_iter().flatten().find(|rope| rope.get("partial_rotary_factor").is_some());
        let expected = "a share of head_dim that is even and above 0";
        let found = format!("{factor} of {head_dim}, which is {rotary_dim}");
        return Err(place.unwrap_or(text).error_found("partial_rotary_factor", expected, found));
    }
    Ok(Rope { rotary_dim, theta })
}

/// The one value that all places that have the field give it.
fn agreed(
    places: &[Option<Fields<'_>>],
    field: &str,
    expected: &str,
    is_right: impl Fn(f64) -> bool + Copy,
) -> Result<Option<f64>, CheckpointError> {
    let mut first: Option<(Fields<'_>, f64)> = None;
    for &place in places.iter().flatten() {
        let Some(number) = place.number(field, expected, is_right)? else { continue };
        match first {
            None => first = Some((place, number)),
            #[expect(clippy::float_cmp, reason = "the same number written twice parses to the same bits")]
            Some((other, known)) if known != number => {
                let expected = format!("{} = {}", other.path(field), describe(other.get(field)));
                return Err(place.error(field, expected));
            }
            Some(_) => {}
        }
    }
    Ok(first.map(|(_, number)| number))
}
