//! The rotary settings, which `config.json` has as an object.

use serde_json::{Map, Value, json};

use super::keys::Keys;
use super::tensors::Info;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::tensor::ElementType;

/// The tensor of divisors of the frequencies that Llama's files carry.
pub(super) const DIVISORS: &str = "rope_freqs.weight";
const TYPE: &str = "rope.scaling.type";
const FACTOR: &str = "rope.scaling.factor";

/// What `config.json` has as `rope_parameters`.
pub(super) fn parameters(keys: Keys<'_>, infos: &[Info], head_dim: u64) -> Result<Value, CheckpointError> {
    /// What llama.cpp takes where no file says it.
    const THETA: f64 = 10_000.0;
    let mut rope = Map::new();
    let theta = keys.float("rope.freq_base")?.unwrap_or(THETA);
    rope.insert("rope_type".into(), "default".into());
    rope.insert("rope_theta".into(), json!(theta));
    if let Some(rotated) = keys.integer("rope.dimension_count")? {
        rope.insert("partial_rotary_factor".into(), json!(share(keys, rotated, head_dim)?));
    } else {
        rope.insert("partial_rotary_factor".into(), json!(1.0));
    }
    rope.extend(scaling(keys)?);
    if let Some(divisors) = infos.iter().find(|info| info.name == DIVISORS) {
        if rope["rope_type"] != "default" {
            return Err(keys.error(TYPE, format!("no such key beside the tensor {DIVISORS}")));
        }
        rope.extend(divided(divisors, head_dim, theta)?);
    }
    Ok(Value::Object(rope))
}

/// The share of a head that is `rotated` elements once it is multiplied by the width and cut off.
fn share(keys: Keys<'_>, rotated: u64, head_dim: u64) -> Result<f64, CheckpointError> {
    if rotated == 0 || rotated > head_dim || head_dim > 1 << 20 {
        return Err(keys.error("rope.dimension_count", format!("an integer from 2 to {head_dim}, the width of a head")));
    }
    let mut share = rotated as f64 / head_dim as f64;
    while share * (head_dim as f64) < rotated as f64 {
        share = share.next_up();
    }
    Ok(share)
}

/// How frequencies are scaled, in the words of `config.json`, whose reader knows what is implemented.
fn scaling(keys: Keys<'_>) -> Result<Map<String, Value>, CheckpointError> {
    let mut scaling = Map::new();
    let kind = keys.text(TYPE)?.unwrap_or("none");
    let numbers: &[(&str, &str)] = match kind {
        "none" => &[],
        "linear" => &[(FACTOR, "factor")],
        "yarn" => &[
            (FACTOR, "factor"),
            ("rope.scaling.yarn_beta_fast", "beta_fast"),
            ("rope.scaling.yarn_beta_slow", "beta_slow"),
        ],
        _ => return Err(keys.error(TYPE, "\"none\", \"linear\" or \"yarn\" (nothing else is implemented)")),
    };
    if kind == "none" {
        return Ok(scaling);
    }
    scaling.insert("rope_type".into(), kind.into());
    for &(key, field) in numbers {
        if let Some(number) = keys.float(key)? {
            scaling.insert(field.into(), json!(number));
        }
    }
    if kind == "yarn" {
        // Further factors, which no converter of these families writes but as those that change nothing.
        for key in ["attn_factor", "yarn_attn_factor", "yarn_ext_factor"].map(|key| format!("rope.scaling.{key}")) {
            #[expect(clippy::float_cmp, reason = "a factor of exactly 1 changes nothing")]
            if keys.float(&key)?.is_some_and(|factor| factor != 1.0) {
                return Err(keys.error(&key, "no such key, or 1 (nothing else is implemented)"));
            }
        }
        let original = keys.integer("rope.scaling.original_context_length")?;
        scaling.extend(original.map(|original| ("original_max_position_embeddings".into(), original.into())));
    }
    Ok(scaling)
}

/// Divisors of the frequencies, as the settings that they come from where those are known.
fn divided(info: &Info, head_dim: u64, theta: f64) -> Result<Map<String, Value>, CheckpointError> {
    let count = usize::try_from(head_dim / 2).unwrap_or(usize::MAX);
    if info.kind.element != Some(ElementType::F32) || info.shape != [count] {
        let expected = format!("shape [{count}] in F32, a divisor for each pair of a head");
        let found = format!("{:?} in {}", info.shape, info.kind);
        return Err(CheckpointError::tensor(&info.file, &info.name, expected, found));
    }
    let divisors: Vec<f64> = info.bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes).into()).collect();
    let mut rope = Map::new();
    let mut set = |field: &str, value: Value| _ = rope.insert(field.to_owned(), value);
    let factor = divisors.iter().copied().fold(1.0, f64::max);
    let llama3 = Llama3 { factor, theta, head_dim: head_dim as f64 };
    #[expect(clippy::float_cmp, reason = "divisors of exactly 1 change nothing")]
    if divisors.iter().all(|&divisor| divisor == 1.0) {
        return Ok(rope);
    } else if divisors.iter().enumerate().all(|(pair, &divisor)| llama3.has(pair, divisor)) {
        set("rope_type", "llama3".into());
        set("factor", factor.into());
        set("low_freq_factor", Llama3::LOW.into());
        set("high_freq_factor", Llama3::HIGH.into());
        set("original_max_position_embeddings", Llama3::ORIGINAL.into());
    } else {
        set("rope_type", "frequency_divisors".into());
        set("frequency_divisors", divisors.into());
    }
    Ok(rope)
}

/// The settings of Llama 3.1 and later. The largest divisor is the factor; the others are the same in all published models.
struct Llama3 {
    factor: f64,
    theta: f64,
    head_dim: f64,
}

impl Llama3 {
    const LOW: f64 = 1.0;
    const HIGH: f64 = 4.0;
    const ORIGINAL: u32 = 8192;

    /// Whether this is the divisor of a pair, as far as single precision goes.
    fn has(&self, pair: usize, divisor: f64) -> bool {
        const TOLERANCE: f64 = 1e-5;
        let wavelength = std::f64::consts::TAU * self.theta.powf(2.0 * pair as f64 / self.head_dim);
        let smooth = ((f64::from(Self::ORIGINAL) / wavelength - Self::LOW) / (Self::HIGH - Self::LOW)).clamp(0.0, 1.0);
        let expected = 1.0 / ((1.0 - smooth) / self.factor + smooth);
        (divisor - expected).abs() <= TOLERANCE * expected
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::checkpoint::gguf::types::TensorType;

    fn settings(divisors: &[f32]) -> Map<String, Value> {
        let bytes: Vec<u8> = divisors.iter().flat_map(|divisor| divisor.to_le_bytes()).collect();
        let info = Info {
            name: DIVISORS.into(),
            file: Path::new("file").into(),
            kind: TensorType::of(0).unwrap(),
            shape: vec![divisors.len()],
            bytes: bytes.into(),
            offset: 0,
        };
        divided(&info, 2 * divisors.len() as u64, 500_000.0).unwrap()
    }

    /// As llama.cpp's converter computes them.
    fn converted(factor: f64, original: f64) -> Vec<f32> {
        let divisor = |pair: u32| {
            let wavelength = std::f64::consts::TAU * 500_000f64.powf(f64::from(2 * pair) / 64.0);
            if wavelength < original / 4.0 {
                1.0
            } else if wavelength > original {
                factor
            } else {
                let smooth = (original / wavelength - 1.0) / 3.0;
                1.0 / ((1.0 - smooth) / factor + smooth)
            }
        };
        (0..32).map(|pair| divisor(pair) as f32).collect()
    }

    #[test]
    fn published_settings_are_known_by_what_they_come_to() {
        let found = settings(&converted(32.0, 8192.0));
        assert_eq!((&found["rope_type"], &found["factor"]), (&"llama3".into(), &32.0.into()));
        let other = converted(32.0, 4096.0);
        assert_eq!(settings(&other)["frequency_divisors"].as_array().unwrap().len(), 32);
        assert!(settings(&[1.0; 32]).is_empty());
    }
}
