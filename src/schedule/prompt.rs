//! A prompt → token ids, by the tokenizer and the chat template of the model that it is for.

use crate::checkpoint::{ChatOptions, ChatTemplate, CheckpointError, Tokenizer};
use crate::world::refusal::Refusal;
use crate::world::sequence::Prompt;

/// The ids of `prompt`; `options` are those of a conversation, if it has some of its own.
pub(super) fn encode(
    prompt: &Prompt,
    options: Option<&ChatOptions>,
    tokenizer: Option<&Tokenizer>,
    template: Option<&ChatTemplate>,
) -> Result<Vec<u32>, Refusal> {
    let with = |what| tokenizer.ok_or(Refusal::NoTokenizer { what });
    let failed = |error: CheckpointError| Refusal::Text(error.to_string());
    Ok(match prompt {
        Prompt::Ids(ids) => ids.clone(),
        Prompt::Text(text) => with("a text prompt")?.encode(text, true).map_err(failed)?,
        Prompt::Chat(messages) => {
            let tokenizer = with("a chat")?;
            let template = template.ok_or(Refusal::NoChatTemplate)?;
            let text = template.render(messages, options.unwrap_or(&ChatOptions::default())).map_err(failed)?;
            // What the template has written is complete.
            tokenizer.encode(&text, false).map_err(failed)?
        }
    })
}
