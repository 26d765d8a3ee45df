//! The header: everything but the caches.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::computer::Computer;
use super::error::SnapshotError;
use super::hex::Hex;
use super::layers::Layer;
use crate::checkpoint::ChatMessage;
use crate::world::draft::Draft;

/// What is kept of a sequence's caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contents {
    /// All, as it is stored. The sequence goes on as if it had never been saved, to the last bit.
    AsStored,
    /// All, in half precision: half of the bytes of what is stored in single precision, to which it is rounded. The sequence goes on
    /// at once, and nearly as it would have.
    Half,
    /// Nothing. Its tokens are read again, which takes as long as a prompt of them, and a hundredth of the bytes or less.
    Tokens,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// Of the model.
    pub(super) fingerprint: Hex,
    pub(super) computer: Computer,
    pub(super) contents: Contents,
    /// None, where the contents are tokens only.
    pub(super) layers: Vec<Layer>,
    pub(super) sequence: Sequence,
}

impl Header {
    pub(super) fn parse(json: &[u8]) -> Result<Self, SnapshotError> {
        serde_json::from_slice(json).map_err(SnapshotError::Header)
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>, SnapshotError> {
        serde_json::to_vec(self).map_err(SnapshotError::Header)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sequence {
    pub(super) name: Option<String>,
    pub(super) status: Status,
    pub(super) tokens: Ids,
    pub(super) prompt: Option<Asked>,
    pub(super) system: Option<String>,
    pub(super) conversation: Option<Talk>,
    pub(super) options: Option<Options>,
    pub(super) rules: Rules,
    pub(super) sampling: Option<Settings>,
    pub(super) seed: Option<u64>,
    pub(super) sampler: Option<Picker>,
    /// Whether what it generates is turned into text: that is done again.
    pub(super) has_transcript: bool,
    pub(super) priority: Option<i32>,
    pub(super) forgetful: Option<Single>,
    pub(super) paused: bool,
    pub(super) host_logits: bool,
    pub(super) logits_from: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) draft: Option<Guesses>,
    /// What it is to hear when the next step begins.
    pub(super) say: Option<Vec<ChatMessage>>,
    pub(super) stop: Option<Ending>,
    pub(super) rewind: Option<usize>,
}

/// Where guesses come from, unless that is another entity, which is none elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Guesses {
    Lookup,
    Mtp,
}

impl Guesses {
    pub(super) fn of(draft: &Draft) -> Option<Self> {
        match draft {
            Draft::Lookup => Some(Self::Lookup),
            Draft::Mtp => Some(Self::Mtp),
            Draft::Model(_) => None,
        }
    }
}

impl From<Guesses> for Draft {
    fn from(guesses: Guesses) -> Self {
        match guesses {
            Guesses::Lookup => Self::Lookup,
            Guesses::Mtp => Self::Mtp,
        }
    }
}

/// Where a sequence is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// It waits for somebody to say something.
    Resting,
    Queued,
    Running,
    /// It is to forget turns before it goes on.
    Full,
    Finished(Ending),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ending {
    Stop,
    Length,
    Read,
    Cancelled,
    Stopped(String),
    Refused(String),
    NonFinite,
    CacheFull { needed: u64, limit: u64 },
    ModelDespawned,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ids {
    pub(super) prompt: Vec<u32>,
    pub(super) generated: Vec<u32>,
    pub(super) processed: usize,
    /// From, to.
    pub(super) spoken: Vec<[usize; 2]>,
    pub(super) keep_at: Option<usize>,
}

impl Ids {
    pub(super) fn len(&self) -> usize {
        self.prompt.len() + self.generated.len()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asked {
    Text(String),
    Chat(Vec<ChatMessage>),
    Ids(Vec<u32>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Talk {
    pub(super) messages: Vec<ChatMessage>,
    pub(super) turns: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    pub(super) add_generation_prompt: bool,
    pub(super) enable_thinking: bool,
    pub(super) tools: Vec<Value>,
    pub(super) template_args: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    pub(super) max_new_tokens: Option<usize>,
    pub(super) end_tokens: Option<Vec<u32>>,
    pub(super) stop_texts: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) temperature: Single,
    pub(super) top_k: usize,
    pub(super) top_p: Single,
    pub(super) min_p: Single,
    pub(super) repetition_penalty: Single,
    pub(super) presence_penalty: Single,
    pub(super) frequency_penalty: Single,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Picker {
    pub(super) settings: Settings,
    /// Of the random numbers.
    pub(super) seed: Hex,
    /// How many words of 32 bits were taken of them.
    pub(super) word: u64,
}

/// A number in single precision, whose bits a header has: text has no word for some.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
pub(super) struct Single(pub(super) f32);

impl From<u32> for Single {
    fn from(bits: u32) -> Self {
        Self(f32::from_bits(bits))
    }
}

impl From<Single> for u32 {
    fn from(single: Single) -> Self {
        single.0.to_bits()
    }
}
