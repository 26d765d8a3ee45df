//! Ids in, whole characters out. What comes out is, in total, what decoding all ids at once gives.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use super::tables::Tables;

/// Decodes a text as it is made. A character may be spread over several tokens; it is held back until it is complete.
#[derive(Clone)]
pub struct TextStream {
    tables: Arc<Tables>,
    pending: Pending,
}

/// What has been fed and not yet given out.
///
/// In a byte-level vocabulary each token stands for some bytes, so that at most three, the beginning of a character, are
/// ever held back. The `tokenizers` crate's own stream knows nothing of bytes: it decodes the last few tokens again and
/// waits for text that does not end in U+FFFD, so a model stuck in invalid bytes makes it hold back and decode ever more,
/// and what is held back at the end is lost.
#[derive(Clone)]
enum Pending {
    Bytes(Vec<u8>),
    /// Other decoders may look at neighbours, so all ids are decoded for each new one.
    Ids {
        ids: Vec<u32>,
        given: usize,
    },
}

impl fmt::Debug for TextStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TextStream").finish_non_exhaustive()
    }
}

impl TextStream {
    pub(super) fn new(tables: Arc<Tables>) -> Self {
        let pending = if tables.is_byte_level() {
            Pending::Bytes(Vec::new())
        } else {
            Pending::Ids { ids: Vec::new(), given: 0 }
        };
        Self { tables, pending }
    }

    /// Takes one more id and returns the text it completes, often none. Special tokens have no text.
    pub fn push(&mut self, id: u32) -> String {
        let Some(token) = self.tables.token(id) else { return String::new() };
        if self.tables.special(id).is_some() {
            return String::new();
        }
        match &mut self.pending {
            Pending::Bytes(bytes) => {
                push_token_bytes(bytes, &token);
                take_complete(bytes)
            }
            Pending::Ids { ids, given } => {
                ids.push(id);
                let text = self.tables.decode(ids, true).unwrap_or_default();
                // A replacement character at the end may be the beginning of a real one.
                let complete = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
                let new = complete.get(*given..).unwrap_or_default().to_owned();
                *given += new.len();
                new
            }
        }
    }

    /// The text of a special token, which [`push`](Self::push) leaves out; `None` for other ids.
    #[must_use]
    pub fn special(&self, id: u32) -> Option<&str> {
        self.tables.special(id)
    }

    /// Whether `text` has that of a special token in it.
    #[must_use]
    pub fn has_special(&self, text: &str) -> bool {
        self.tables.specials().any(|special| text.contains(special))
    }

    /// What was held back: U+FFFD for a character that was never completed. The stream begins anew.
    pub fn finish(&mut self) -> String {
        match &mut self.pending {
            Pending::Bytes(bytes) => String::from_utf8_lossy(&std::mem::take(bytes)).into_owned(),
            Pending::Ids { ids, given } => {
                let text = self.tables.decode(ids, true).unwrap_or_default();
                ids.clear();
                text.get(std::mem::take(given)..).unwrap_or_default().to_owned()
            }
        }
    }
}

/// Takes all but the beginning of a last character out of `bytes`, with U+FFFD for each sequence that can be none.
fn take_complete(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut held = 0;
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        text.push_str(chunk.valid());
        let at_end = chunks.peek().is_none();
        if at_end && is_incomplete(chunk.invalid()) {
            held = chunk.invalid().len();
        } else if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    bytes.drain(..bytes.len() - held);
    text
}

/// Whether bytes that are no character could become one if more followed.
fn is_incomplete(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// A byte-level vocabulary writes each byte as one printable character: itself where it is printable in Latin-1, the next
/// character from U+0100 on where it is not. A token with any other character stands for its own UTF-8 text.
pub(super) fn push_token_bytes(bytes: &mut Vec<u8>, token: &str) {
    let start = bytes.len();
    for character in token.chars() {
        let Some(&Some(byte)) = CHARACTER_BYTES.get(character as usize) else {
            bytes.truncate(start);
            bytes.extend_from_slice(token.as_bytes());
            return;
        };
        bytes.push(byte);
    }
}

/// The byte each character below U+0144 stands for.
const CHARACTER_BYTES: [Option<u8>; 256 + 68] = {
    let mut table = [None; 256 + 68];
    let mut unprintable = 256;
    let mut byte: u8 = 0;
    loop {
        if matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) {
            table[byte as usize] = Some(byte);
        } else {
            table[unprintable] = Some(byte);
            unprintable += 1;
        }
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};
