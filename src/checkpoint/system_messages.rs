//! System messages anywhere → one at the beginning, for templates that refuse all others.

#![forbid(unsafe_code)]

use super::chat_message::ChatMessage;

/// The same conversation with the texts of all system messages in the first of them, a blank line between each, and that
/// one before all other messages. `None` if that is how it is, or if one of them is not plain text.
pub(super) fn merged(messages: &[ChatMessage]) -> Option<Vec<ChatMessage>> {
    if !messages.iter().skip(1).any(ChatMessage::is_system) {
        return None;
    }
    let (system, others): (Vec<_>, Vec<_>) = messages.iter().partition(|message| message.is_system());
    let texts: Vec<_> = system.iter().map(|message| message.content()).collect::<Option<_>>()?;
    let first = (*system.first()?).clone().with("content", texts.join("\n\n"));
    Some(std::iter::once(first).chain(others.into_iter().cloned()).collect())
}
