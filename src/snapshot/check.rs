//! What a header may say: by itself, and of a model.

use super::error::SnapshotError;
use super::header::{Contents, Ending, Header, Ids, Sequence, Status, Talk};
use super::layers;
use crate::checkpoint::ModelConfig;

/// Checks a header with `caches` bytes of caches after it.
pub(super) fn alone(header: &Header, caches: usize) -> Result<(), SnapshotError> {
    let Header { computer, contents, layers, sequence, .. } = header;
    if *contents == Contents::Tokens && !layers.is_empty() {
        return Err(SnapshotError::field("layers", "none beside tokens only", layers.len()));
    }
    let bytes = layers::bytes(layers, *contents, computer.cache_type);
    if bytes != Some(caches) {
        let expected = format!("numbers for {caches} bytes of caches");
        let found = bytes.map_or("more than can be counted".to_owned(), |bytes| format!("for {bytes}"));
        return Err(SnapshotError::field("layers", expected, found));
    }
    ids(&sequence.tokens)?;
    if *contents != Contents::Tokens && sequence.tokens.processed == 0 {
        return Err(SnapshotError::field("sequence.tokens.processed", "some positions beside caches", 0));
    }
    match &sequence.conversation {
        Some(talk) => turns(talk),
        None => Ok(()),
    }
}

fn ids(ids: &Ids) -> Result<(), SnapshotError> {
    let (prompt, all) = (ids.prompt.len(), ids.len());
    if ids.processed > all {
        return Err(SnapshotError::field("sequence.tokens.processed", format!("at most {all}"), ids.processed));
    }
    let mut last = 0;
    for &[start, end] in &ids.spoken {
        if start < last || end <= start || end > prompt {
            let expected = format!("one after the other, within {prompt} tokens");
            return Err(SnapshotError::field("sequence.tokens.spoken", expected, format!("{start} to {end}")));
        }
        last = end;
    }
    match ids.keep_at {
        Some(place) if place > all => {
            Err(SnapshotError::field("sequence.tokens.keep_at", format!("at most {all}"), place))
        }
        _ => Ok(()),
    }
}

fn turns(talk: &Talk) -> Result<(), SnapshotError> {
    let messages = talk.messages.len();
    if !talk.turns.is_sorted() || talk.turns.last().is_some_and(|&last| last > messages) {
        let expected = format!("places in {messages} messages, in order");
        return Err(SnapshotError::field("sequence.conversation.turns", expected, "others"));
    }
    Ok(())
}

/// Checks a sequence that is to run on a model of this configuration.
pub(super) fn on_model(sequence: &Sequence, config: &ModelConfig) -> Result<(), SnapshotError> {
    let (ids, vocab_size) = (&sequence.tokens, config.vocab_size);
    // One that was refused keeps the prompt that it was refused for, and is refused for it again.
    let prompt: &[u32] = match sequence.status {
        Status::Finished(Ending::Refused(_)) => &ids.prompt[..ids.processed.min(ids.prompt.len())],
        _ => &ids.prompt,
    };
    if let Some(id) = prompt.iter().chain(&ids.generated).find(|&&id| id as usize >= vocab_size) {
        return Err(SnapshotError::field("sequence.tokens", format!("ids below {vocab_size}"), id));
    }
    let context = config.max_position_embeddings;
    let positions = if ids.generated.is_empty() { ids.processed } else { ids.len() };
    if positions > context {
        return Err(SnapshotError::field("sequence.tokens", format!("at most {context} positions"), positions));
    }
    Ok(())
}
