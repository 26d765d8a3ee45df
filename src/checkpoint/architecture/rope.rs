//! The rotary settings of `config.json`, which three generations of files keep in three places: at top level, in
//! `rope_scaling`, in `rope_parameters`. Where several are there, they must agree.

#![forbid(unsafe_code)]

use serde_json::Value;

use super::fields::POSITIONS;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{Fields, describe};
use crate::checkpoint::rope::{RopeConfig, RopeScaling};

/// What the settings depend on.
pub(super) struct Rope {
    pub(super) head_dim: usize,
    pub(super) max_position_embeddings: usize,
    /// The base where no file says it.
    pub(super) theta: Option<f64>,
    /// The rotated share of a head where no file says it; `None` in families that always rotate all of it.
    pub(super) partial_rotary_factor: Option<f64>,
}

const NESTED: [&str; 2] = ["rope_parameters", "rope_scaling"];
const KINDS: &str = "\"default\", \"linear\", \"llama3\" or \"yarn\" (nothing else is implemented)";
/// Our own kind, for what was read from files of another form: a divisor for each frequency.
const DIVIDED: &str = "frequency_divisors";
const POSITIVE: &str = "a finite number above 0";

/// Reads the settings.
///
/// `mrope_section` and `mrope_interleaved` only say how the axes of an image share the frequencies. The positions of text
/// are the same along all three, so they change nothing here.
pub(super) fn read(text: Fields<'_>, rope: &Rope) -> Result<RopeConfig, CheckpointError> {
    let [parameters, scaling] = [text.object(NESTED[0])?, text.object(NESTED[1])?];
    let places = Places { text, nested: [parameters, scaling] };
    let theta = places.number("rope_theta", POSITIVE, is_positive)?.or(rope.theta);
    let theta = theta.ok_or_else(|| parameters.unwrap_or(text).error("rope_theta", POSITIVE))?;
    let rotary_dim = rotary_dim(&places, rope)?;
    let config = RopeConfig { rotary_dim, theta, scaling: places.scaling(rotary_dim, rope)? };
    #[expect(clippy::float_cmp, reason = "its logarithm is divided by, which is zero for just this number")]
    let has_no_range = matches!(config.scaling, RopeScaling::Yarn { .. }) && theta == 1.0;
    let frequencies = config.frequencies();
    let mut numbers = frequencies.inverse.iter().chain([&frequencies.attention_factor]);
    if !has_no_range && numbers.all(|number| number.is_finite()) {
        return Ok(config);
    }
    let found = format!("{theta} with the settings beside it");
    let expected = "what gives finite frequencies and a finite attention_factor in single precision";
    Err(parameters.unwrap_or(text).error_found("rope_theta", expected, found))
}

fn is_positive(number: f64) -> bool {
    number > 0.0 && number.is_finite()
}

/// How many elements of a head are rotated.
fn rotary_dim(places: &Places<'_>, rope: &Rope) -> Result<usize, CheckpointError> {
    const FIELD: &str = "partial_rotary_factor";
    let factor = match rope.partial_rotary_factor {
        Some(default) => {
            let fraction = |number: f64| number > 0.0 && number <= 1.0;
            places.number(FIELD, "a number above 0 and at most 1", fraction)?.unwrap_or(default)
        }
        #[expect(clippy::float_cmp, reason = "a file says just this number, or another")]
        None => places.number(FIELD, "1 (nothing else is implemented)", |number| number == 1.0)?.unwrap_or(1.0),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "truncation is how the families are defined, and both factors are small and positive"
    )]
    let rotary_dim = (rope.head_dim as f64 * factor) as usize;
    if rotary_dim > 0 && rotary_dim.is_multiple_of(2) {
        return Ok(rotary_dim);
    }
    let place = places.nested.into_iter().flatten().find(|rope| rope.get(FIELD).is_some());
    let expected = "a share of head_dim that is even and above 0";
    let found = format!("{factor} of {}, which is {rotary_dim}", rope.head_dim);
    Err(place.unwrap_or(places.text).error_found(FIELD, expected, found))
}

/// Where settings may stand.
struct Places<'a> {
    text: Fields<'a>,
    nested: [Option<Fields<'a>>; 2],
}

impl<'a> Places<'a> {
    fn scaling(&self, rotary_dim: usize, rope: &Rope) -> Result<RopeScaling, CheckpointError> {
        let Some((place, kind)) = self.kind()? else { return Ok(RopeScaling::Unscaled) };
        let required = |field: &str, least: f64| {
            let expected = format!("a finite number that is at least {least}");
            let number = self.number(field, &expected, |number| number >= least && number.is_finite())?;
            number.ok_or_else(|| place.error(field, expected))
        };
        let positive = |field: &str| {
            let number = self.number(field, POSITIVE, is_positive)?;
            number.ok_or_else(|| place.error(field, POSITIVE))
        };
        let original = || {
            let original =
                self.agreed("original_max_position_embeddings", |place, field| place.integer(field, &POSITIONS));
            Ok(original?.unwrap_or(rope.max_position_embeddings))
        };
        Ok(match kind {
            "default" => RopeScaling::Unscaled,
            "linear" => RopeScaling::Linear { factor: required("factor", 1.0)? },
            "llama3" => {
                let low_freq_factor = positive("low_freq_factor")?;
                let high_freq_factor = positive("high_freq_factor")?;
                if high_freq_factor <= low_freq_factor {
                    let expected = format!("more than low_freq_factor = {low_freq_factor}");
                    return Err(place.error("high_freq_factor", expected));
                }
                RopeScaling::Llama3 {
                    factor: required("factor", 1.0)?,
                    low_freq_factor,
                    high_freq_factor,
                    original_max_position_embeddings: original()?,
                }
            }
            "yarn" => self.yarn(required("factor", 1.0)?, original()?)?,
            DIVIDED => RopeScaling::Divided(divisors(place, rotary_dim / 2)?),
            _ => return Err(place.error(if place.get("rope_type").is_some() { "rope_type" } else { "type" }, KINDS)),
        })
    }

    /// The kind of scaling, and where it is said. All who say it must say the same.
    fn kind(&self) -> Result<Option<(Fields<'a>, &'a str)>, CheckpointError> {
        let mut first: Option<(Fields<'a>, &str, &'a str)> = None;
        for place in self.nested.into_iter().flatten() {
            for field in ["rope_type", "type"] {
                let Some(kind) = place.text(field)? else { continue };
                match first {
                    None => first = Some((place, field, kind)),
                    Some((other, said, known)) if known != kind => {
                        return Err(place.error(field, format!("{} = {known:?}", other.path(said))));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(first.map(|(place, _, kind)| (place, kind)))
    }

    fn yarn(&self, factor: f64, original_max_position_embeddings: usize) -> Result<RopeScaling, CheckpointError> {
        let not_negative = |number: f64| number >= 0.0 && number.is_finite();
        // None of these may be zero; where one is, it counts as if it were not there.
        let optional = |field: &str| {
            let number = self.number(field, "a finite number that is at least 0", not_negative);
            number.map(|number| number.filter(|&number| number > 0.0))
        };
        let scale = |by: f64| if factor <= 1.0 { 1.0 } else { 0.1 * by * factor.ln() + 1.0 };
        let scaled = match (optional("mscale")?, optional("mscale_all_dim")?) {
            (Some(one), Some(all)) => scale(one) / scale(all),
            _ => scale(1.0),
        };
        Ok(RopeScaling::Yarn {
            factor,
            attention_factor: self.number("attention_factor", POSITIVE, is_positive)?.unwrap_or(scaled),
            beta_fast: optional("beta_fast")?.unwrap_or(32.0),
            beta_slow: optional("beta_slow")?.unwrap_or(1.0),
            truncate: self.agreed("truncate", |place, field| place.flag(field))?.unwrap_or(true),
            original_max_position_embeddings,
        })
    }

    fn number(
        &self,
        field: &str,
        expected: &str,
        is_right: impl Fn(f64) -> bool + Copy,
    ) -> Result<Option<f64>, CheckpointError> {
        self.agreed(field, |place, field| place.number(field, expected, is_right))
    }

    /// The one value that all places that have the field give it.
    fn agreed<T: PartialEq>(
        &self,
        field: &str,
        read: impl Fn(Fields<'a>, &str) -> Result<Option<T>, CheckpointError>,
    ) -> Result<Option<T>, CheckpointError> {
        let mut first: Option<(Fields<'_>, T)> = None;
        for place in [Some(self.text)].into_iter().chain(self.nested).flatten() {
            let Some(value) = read(place, field)? else { continue };
            match &first {
                None => first = Some((place, value)),
                // The same number written twice parses to the same bits.
                Some((other, known)) if *known != value => {
                    let expected = format!("{} = {}", other.path(field), describe(other.get(field)));
                    return Err(place.error(field, expected));
                }
                Some(_) => {}
            }
        }
        Ok(first.map(|(_, value)| value))
    }
}

/// A number for each of `count` frequencies.
fn divisors(place: Fields<'_>, count: usize) -> Result<Vec<f32>, CheckpointError> {
    #[expect(clippy::cast_possible_truncation, reason = "they were single precision where they come from")]
    let divisor =
        |value: &Value| value.as_f64().map(|number| number as f32).filter(|&number| is_positive(number.into()));
    let divisors = place.array(DIVIDED)?.filter(|items| items.len() == count);
    let divisors: Option<Vec<f32>> = divisors.and_then(|items| items.iter().map(divisor).collect());
    divisors.ok_or_else(|| place.error(DIVIDED, format!("{count} finite numbers above 0")))
}

/// Settings that the kind of scaling does not know, and those that stand where nobody looks for them.
pub(super) fn without_effect(root: Fields<'_>, text: Fields<'_>, rope: &RopeConfig) -> Vec<CheckpointError> {
    const ALWAYS: [&str; 6] =
        ["rope_type", "type", "rope_theta", "partial_rotary_factor", "mrope_section", "mrope_interleaved"];
    let (kind, known): (_, &[&str]) = match rope.scaling {
        RopeScaling::Unscaled => ("default", &[]),
        RopeScaling::Linear { .. } => ("linear", &["factor"]),
        RopeScaling::Llama3 { .. } => {
            ("llama3", &["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"])
        }
        RopeScaling::Yarn { .. } => (
            "yarn",
            &[
                "factor",
                "attention_factor",
                "beta_fast",
                "beta_slow",
                "mscale",
                "mscale_all_dim",
                "truncate",
                "original_max_position_embeddings",
            ],
        ),
        RopeScaling::Divided(_) => (DIVIDED, &[DIVIDED]),
    };
    let mut told = Vec::new();
    for rope in NESTED.iter().filter_map(|place| text.object(place).ok().flatten()) {
        let is_known = |field: &str| ALWAYS.contains(&field) || known.contains(&field);
        for (field, _) in rope.entries().filter(|&(field, value)| !is_known(field) && !value.is_null()) {
            told.push(
                rope.error(field, format!("no such field where rope_type is {kind:?}, which it has no effect on")),
            );
        }
    }
    if !text.is_outermost() {
        for field in NESTED.into_iter().chain(["rope_theta", "partial_rotary_factor"]) {
            if root.get(field).is_some() {
                told.push(root.error(field, "it in text_config, outside of which it has no effect"));
            }
        }
    }
    told
}
