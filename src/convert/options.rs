//! What a caller may choose.

use crate::quant::{Encoding, Search};

/// How to convert.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ConvertOptions {
    /// What is done to the weights before they are encoded.
    pub method: Method,
    /// How codes are laid over the weights.
    pub encoding: Encoding,
    /// How scales are found.
    pub search: Search,
    /// Whether a destination that has content is replaced, rather than refused.
    pub replace: bool,
}

impl ConvertOptions {
    /// What is best with `method`.
    #[must_use]
    pub fn of(method: Method) -> Self {
        let search = match method {
            Method::Q4 => Search::MinMax,
            Method::QuaRot(_) => Search::LeastSquares,
        };
        Self { method, search, ..Self::default() }
    }

    /// The same with other codes.
    #[must_use]
    pub fn encoding(self, encoding: Encoding) -> Self {
        Self { encoding, ..self }
    }

    /// The same with scales that are found in another way.
    #[must_use]
    pub fn search(self, search: Search) -> Self {
        Self { search, ..self }
    }

    /// The same, and whether what is in the destination is replaced.
    #[must_use]
    pub fn replace(self, replace: bool) -> Self {
        Self { replace, ..self }
    }
}

/// What is done to the weights before they are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Method {
    /// Nothing.
    #[default]
    Q4,
    /// The residual stream is rotated.
    QuaRot(QuaRot),
}

/// How the residual stream is rotated ("QuaRot", Ashkboos et al., 2024).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct QuaRot {
    /// What the rotation is drawn from.
    pub seed: u64,
    /// By how much a logit of the rotated model may differ from the original's, both in double precision.
    pub tolerance: f64,
}

impl QuaRot {
    /// That with this seed, and the default tolerance.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// The same with another tolerance.
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { tolerance, ..self }
    }
}

impl Default for QuaRot {
    /// Seed 0 and a tolerance of 1e-5.
    fn default() -> Self {
        Self { seed: 0, tolerance: 1e-5 }
    }
}
