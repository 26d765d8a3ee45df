//! What a caller may ask for.

/// What to find out besides whether all is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InspectOptions {
    /// The statistics of each tensor of the model.
    pub statistics: bool,
    /// The histogram of each weight matrix of the model.
    pub histograms: bool,
}

impl InspectOptions {
    /// The same, and whether there are statistics.
    #[must_use]
    pub fn statistics(self, statistics: bool) -> Self {
        Self { statistics, ..self }
    }

    /// The same, and whether there are histograms.
    #[must_use]
    pub fn histograms(self, histograms: bool) -> Self {
        Self { histograms, ..self }
    }
}
