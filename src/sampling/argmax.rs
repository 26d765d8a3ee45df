//! The largest logit, and whether there is one.

#![forbid(unsafe_code)]

/// The first of the largest logits, if it is finite and none is NaN.
pub(super) fn argmax(logits: &[f32]) -> Option<u32> {
    /// Short enough to be looked through again for the place of the largest.
    const PART: usize = 1024;
    let mut best = (f32::NEG_INFINITY, 0);
    for (index, part) in logits.chunks(PART).enumerate() {
        let largest = largest(part)?;
        if largest > best.0 {
            best = (largest, index * PART);
        }
    }
    let (largest, start) = best;
    let offset = logits[start..].iter().position(|&logit| logit == largest)?;
    if largest.is_finite() { u32::try_from(start + offset).ok() } else { None }
}

/// The largest logit, `None` if one is not a number. In lanes, so that a vocabulary of 248 320 takes the vector unit and
/// not a third of a millisecond.
fn largest(logits: &[f32]) -> Option<f32> {
    let mut largest = [f32::NEG_INFINITY; 16];
    let mut nan = [0u32; 16];
    let (whole, rest) = logits.as_chunks::<16>();
    for lanes in whole {
        for i in 0..16 {
            largest[i] = if lanes[i] > largest[i] { lanes[i] } else { largest[i] };
            nan[i] |= u32::from(lanes[i].is_nan());
        }
    }
    let found = rest.iter().chain(&largest).fold(f32::NEG_INFINITY, |found, &logit| found.max(logit));
    (nan == [0; 16] && !rest.iter().any(|logit| logit.is_nan())).then_some(found)
}
