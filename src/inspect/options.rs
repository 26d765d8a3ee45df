//! What a caller may ask for.

/// What to find out besides whether all is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InspectOptions {
    /// The statistics of each tensor of the model.
    pub statistics: bool,
    /// The histogram of each weight matrix of the model.
    pub histograms: bool,
}
