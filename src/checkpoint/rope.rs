//! How far pairs of a head's elements turn with each position, as transformers' `modeling_rope_utils` has it: in single
//! precision and in the same order, since a frequency that is off by one unit in the last place turns far positions by a
//! hundredth of a radian.

#![forbid(unsafe_code)]

use std::f64::consts::PI;

/// The rotary positions of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// How many leading elements of a head are rotated: even, from 2 to `head_dim`.
    pub rotary_dim: usize,
    /// Base of the frequencies: pair `i` turns by `theta^(-2i / rotary_dim)` per position, unless they are scaled.
    pub theta: f64,
    /// What is done to the frequencies.
    pub scaling: RopeScaling,
}

/// How frequencies are changed for a longer context than a model was first trained with; fields are named as in files.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// They are not: `default`.
    Unscaled,
    /// All are divided by `factor`: `linear`.
    Linear {
        /// How much longer the context is.
        factor: f64,
    },
    /// Slow ones are divided by `factor`, fast ones are not, and those between are in between: `llama3`.
    Llama3 {
        /// How much longer the context is.
        factor: f64,
        /// Pairs that turn less often than this within the first context are slow.
        low_freq_factor: f64,
        /// Pairs that turn more often than this within the first context are fast.
        high_freq_factor: f64,
        /// The first context, in tokens.
        original_max_position_embeddings: usize,
    },
    /// The same along the pairs' indices ("YaRN: Efficient Context Window Extension of Large Language Models", Peng et
    /// al., 2023), and what is rotated grows: `yarn`.
    Yarn {
        /// How much longer the context is.
        factor: f64,
        /// By what cosines and sines are multiplied.
        attention_factor: f64,
        /// Pairs that turn more often than this within the first context are fast.
        beta_fast: f64,
        /// Pairs that turn less often than this within the first context are slow.
        beta_slow: f64,
        /// Whether the bounds between them are whole indices.
        truncate: bool,
        /// The first context, in tokens.
        original_max_position_embeddings: usize,
    },
    /// Each is divided by its own number. No published `config.json` says so: files of other kinds carry such a tensor.
    Divided(Vec<f32>),
}

/// What the settings come to.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeFrequencies {
    /// How far each pair turns per position, in radians.
    pub inverse: Vec<f32>,
    /// By what cosines and sines are multiplied.
    pub attention_factor: f32,
}

impl RopeConfig {
    /// Frequencies as they are.
    #[must_use]
    pub fn unscaled(rotary_dim: usize, theta: f64) -> Self {
        Self { rotary_dim, theta, scaling: RopeScaling::Unscaled }
    }

    /// The frequencies of all pairs.
    #[must_use]
    pub fn frequencies(&self) -> RopeFrequencies {
        let inverse = self.powers().map(|power| 1.0 / power);
        let plain = |inverse: Vec<f32>| RopeFrequencies { inverse, attention_factor: 1.0 };
        match self.scaling {
            RopeScaling::Unscaled => plain(inverse.collect()),
            RopeScaling::Linear { factor } => plain(inverse.map(|inverse| inverse / single(factor)).collect()),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings: original,
            } => {
                let factors = [low_freq_factor, high_freq_factor];
                plain(inverse.map(|inverse| llama3(inverse, factor, factors, original as f64)).collect())
            }
            RopeScaling::Yarn { attention_factor, .. } => {
                RopeFrequencies { inverse: self.yarn(), attention_factor: single(attention_factor) }
            }
            RopeScaling::Divided(ref divisors) => {
                plain(inverse.zip(divisors).map(|(inverse, divisor)| inverse / divisor).collect())
            }
        }
    }

    /// `theta^(2i / rotary_dim)`. PyTorch's power of a vector is nearly always correctly rounded; the standard library's need
    /// not be in single precision.
    fn powers(&self) -> impl Iterator<Item = f32> + use<> {
        let (theta, dim) = (f64::from(single(self.theta)), self.rotary_dim as f32);
        (0..self.rotary_dim).step_by(2).map(move |i| single(theta.powf(f64::from(i as f32 / dim))))
    }

    fn yarn(&self) -> Vec<f32> {
        let RopeScaling::Yarn { factor, beta_fast, beta_slow, truncate, original_max_position_embeddings, .. } =
            self.scaling
        else {
            return Vec::new();
        };
        let dim = self.rotary_dim as f64;
        // The index of the pair that turns so often within the first context.
        let index = |turns: f64| {
            dim * (original_max_position_embeddings as f64 / (turns * 2.0 * PI)).ln() / (2.0 * self.theta.ln())
        };
        let [low, high] = [index(beta_fast), index(beta_slow)];
        let [low, high] = if truncate { [low.floor(), high.ceil()] } else { [low, high] };
        let (low, high) = (low.max(0.0), high.min(dim - 1.0));
        #[expect(clippy::float_cmp, reason = "they are the same only if they were cut off, or rounded, to the same")]
        let high = if low == high { high + 0.001 } else { high };
        let pair = |(pair, power): (usize, f32)| {
            let kept = 1.0 - ((pair as f32 - single(low)) / single(high - low)).clamp(0.0, 1.0);
            1.0 / (single(factor) * power) * (1.0 - kept) + 1.0 / power * kept
        };
        self.powers().enumerate().map(pair).collect()
    }
}

fn llama3(inverse: f32, factor: f64, [low, high]: [f64; 2], original: f64) -> f32 {
    // PyTorch divides a number by a tensor as a product with the tensor's reciprocal.
    let wavelength = 1.0 / inverse * single(2.0 * PI);
    let (is_slow, is_fast) = (wavelength > single(original / low), wavelength < single(original / high));
    if is_slow {
        return inverse / single(factor);
    }
    if is_fast {
        return inverse;
    }
    let smooth = (1.0 / wavelength * single(original) - single(low)) / single(high - low);
    (1.0 - smooth) * inverse / single(factor) + smooth * inverse
}

#[expect(clippy::cast_possible_truncation, reason = "PyTorch takes numbers for those of the tensors they meet")]
fn single(number: f64) -> f32 {
    number as f32
}

#[cfg(test)]
mod tests;
