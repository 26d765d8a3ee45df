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
        rope.extend(llama3(divisors, head_dim, theta)?);
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
            ("rope.scaling.attn_factor", "attention_factor"),
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
    if let Some(original) = keys.integer("rope.scaling.original_context_length")?.filter(|_| kind == "yarn") {
        scaling.insert("original_max_position_embeddings".into(), original.into());
    }
    Ok(scaling)
}

/// The settings of Llama 3.1 and later, of which a file has only the divisors that they come to. The largest one is the
/// factor; the others are the same in all published models.
fn llama3(info: &Info, head_dim: u64, theta: f64) -> Result<Map<String, Value>, CheckpointError> {
    const LOW: f64 = 1.0;
    const HIGH: f64 = 4.0;
    const ORIGINAL: f64 = 8192.0;
    const TOLERANCE: f64 = 1e-5;
    let error = |expected: String, found: String| CheckpointError::tensor(&info.file, &info.name, expected, found);
    let count = usize::try_from(head_dim / 2).unwrap_or(usize::MAX);
    if info.kind.element != Some(ElementType::F32) || info.shape != [count] {
        let expected = format!("shape [{count}] in F32, a divisor for each pair of a head");
        return Err(error(expected, format!("{:?} in {}", info.shape, info.kind)));
    }
    let divisors: Vec<f64> = info.bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes).into()).collect();
    let factor = divisors.iter().copied().fold(1.0, f64::max);
    for (pair, &divisor) in divisors.iter().enumerate() {
        let wavelength = std::f64::consts::TAU * theta.powf(2.0 * pair as f64 / head_dim as f64);
        let smooth = ((ORIGINAL / wavelength - LOW) / (HIGH - LOW)).clamp(0.0, 1.0);
        let expected = 1.0 / ((1.0 - smooth) / factor + smooth);
        if !((divisor - expected).abs() <= TOLERANCE * expected) {
            let expected =
                format!("{expected:.6} for pair {pair}, as rope_type llama3 with a factor of {factor} has it");
            return Err(error(format!("{expected} (nothing else is implemented)"), divisor.to_string()));
        }
    }
    let mut rope = Map::new();
    #[expect(clippy::float_cmp, reason = "divisors of exactly 1 change nothing")]
    if factor != 1.0 {
        rope.insert("rope_type".into(), "llama3".into());
        rope.insert("factor".into(), json!(factor));
        rope.insert("low_freq_factor".into(), json!(LOW));
        rope.insert("high_freq_factor".into(), json!(HIGH));
        rope.insert("original_max_position_embeddings".into(), json!(ORIGINAL as u64));
    }
    Ok(rope)
}
