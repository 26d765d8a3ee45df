//! What a tensor means beside its shape. A source says which role its bytes have, so that nothing has to guess from a
//! name: what is not known here does not compile, or is refused.

use crate::checkpoint::{ModelConfig, NormWeight};

/// Where a weight matrix stands to the residual stream. Rotating a model must know this of every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatrixRole {
    /// Its rows are what the stream begins as.
    Embeds,
    /// It reads the stream, through this norm.
    Reads(StreamNorm),
    /// It writes to the stream.
    Writes,
    /// It makes the stream of the head that predicts several tokens, from an embedding and a hidden state that were normed.
    Joins,
    /// It reads the stream through the norm before the MLP, and decides which experts a token goes through: it keeps its
    /// precision where others go to four bits.
    Routes,
}

/// The norms through which the residual stream is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamNorm {
    /// Before a layer's mixer.
    Mixer,
    /// Before a layer's MLP.
    Mlp,
    /// Before the head.
    Final,
}

impl StreamNorm {
    /// The tensor's name in the text model; `layer` is the index of the layer that reads.
    #[must_use]
    pub fn tensor(self, layer: usize) -> String {
        match self {
            Self::Mixer => format!("layers.{layer}.input_layernorm.weight"),
            Self::Mlp => format!("layers.{layer}.post_attention_layernorm.weight"),
            Self::Final => "norm.weight".to_owned(),
        }
    }
}

/// What the values of a small tensor mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VectorRole {
    /// A norm's weight, by which it multiplies.
    Norm,
    /// A norm's weight less one: it multiplies by `1 + weight`.
    ShiftedNorm,
    /// The logarithm of a rate of decay, `A_log`: the rate is `−exp(weight)`.
    LogDecay,
    /// A rate of decay, below 0, that is used as it is.
    Decay,
    /// Taps of a causal convolution, `[channels, 1, kernel]`, oldest first.
    ConvTaps,
    /// What is added as it is.
    Bias,
}

impl VectorRole {
    /// The role of values of this one that are in their arithmetic form already.
    #[must_use]
    pub fn applied(self) -> Self {
        match self {
            Self::ShiftedNorm => Self::Norm,
            Self::LogDecay => Self::Decay,
            Self::Norm | Self::Decay | Self::ConvTaps | Self::Bias => self,
        }
    }

    /// The role of a model's norms: of the residual stream, and of queries and keys.
    #[must_use]
    pub fn of_norm(config: &ModelConfig) -> Self {
        match config.norm_weight {
            NormWeight::Factor => Self::Norm,
            NormWeight::LessOne => Self::ShiftedNorm,
        }
    }

    /// What is added to a norm's stored weight before it is multiplied by; `None` if it is no norm.
    #[must_use]
    pub fn norm_shift(self) -> Option<f64> {
        match self {
            Self::Norm => Some(0.0),
            Self::ShiftedNorm => Some(1.0),
            Self::LogDecay | Self::Decay | Self::ConvTaps | Self::Bias => None,
        }
    }

    /// Turns stored values into those that kernels compute with: the only place that knows the difference. How they are
    /// laid out is the backend's business.
    pub fn make_arithmetic(self, values: &mut [f32]) {
        match self {
            Self::ShiftedNorm => values.iter_mut().for_each(|weight| *weight += 1.0),
            Self::LogDecay => values.iter_mut().for_each(|weight| *weight = -weight.exp()),
            Self::Norm | Self::Decay | Self::ConvTaps | Self::Bias => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::VectorRole::{Bias, ConvTaps, Decay, LogDecay, Norm, ShiftedNorm};

    #[test]
    fn each_role_has_one_arithmetic_form() {
        for (role, expected) in
            [(Norm, 0.5), (ShiftedNorm, 1.5), (LogDecay, -0.5_f32.exp()), (Decay, 0.5), (ConvTaps, 0.5), (Bias, 0.5)]
        {
            let mut values = [0.5];
            role.make_arithmetic(&mut values);
            assert_eq!(values, [expected], "{role:?}");
            role.applied().make_arithmetic(&mut values);
            assert_eq!(values, [expected], "{role:?}");
        }
    }
}
