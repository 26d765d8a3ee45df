//! Tokens that were there before become less likely, or likelier.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::settings::Sampling;

/// Changes the logits of tokens in the prompt or the new text.
///
/// What is finite stays so, however extreme the penalty: a logit that is infinite or not a number says that the model
/// overflowed, which a penalty must neither feign nor hide.
pub(super) fn penalise(settings: &Sampling, logits: &mut [f32], prompt: &[u32], generated: &[u32]) {
    let mut counts: HashMap<u32, u32> = prompt.iter().map(|&id| (id, 0)).collect();
    for &id in generated {
        *counts.entry(id).or_default() += 1;
    }
    let saturated = |logit: f32| logit.clamp(f32::MIN, f32::MAX);
    for (id, count) in counts {
        let Some(logit) = logits.get_mut(id as usize).filter(|logit| logit.is_finite()) else { continue };
        let repetition = settings.repetition_penalty;
        *logit = saturated(if *logit > 0.0 { *logit / repetition } else { *logit * repetition });
        if count > 0 {
            *logit = saturated(*logit - (settings.presence_penalty + settings.frequency_penalty * count as f32));
        }
    }
}
