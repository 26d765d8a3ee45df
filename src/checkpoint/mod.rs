//! Bytes on disk → checked views. A directory in Hugging Face form, or a GGUF file, enters; a [`Checkpoint`] leaves, with a configuration
//! that is known to be one we implement, tensors that are known to lie in their files, and the text side where there is
//! one. Nothing is allocated or mapped by a header's word alone, and every refusal is one [`CheckpointError`] that says
//! which file, which field or tensor, what was expected and what was found.

mod aligned;
mod architecture;
mod chat;
mod chat_message;
mod config;
mod converted;
mod directory;
mod end_tokens;
mod error;
mod examine;
mod found;
mod generation;
mod gguf;
mod head;
mod hub;
mod huggingface;
mod jinja;
pub(crate) mod json;
mod location;
mod messages;
mod mtp;
mod names;
mod prefix;
mod rope;
mod source;
mod stacked;
mod stream;
mod system_messages;
mod tables;
mod template_args;
mod tensor;
mod text_stream;
mod tokenizer;
mod tokenizer_config;
mod unused_settings;
mod values;

pub(crate) use aligned::AlignedBytes;
pub use chat::{ChatOptions, ChatTemplate};
pub use chat_message::ChatMessage;
pub use config::{AttentionConfig, DeltaNetConfig, LayerType, Layout, ModelConfig, MoeConfig, NormWeight};
pub use converted::Promotion;
pub(crate) use converted::{Format, INDEX, Rotated, Row, index_text};
pub use directory::Checkpoint;
pub use end_tokens::{EndToken, EndTokenSource};
pub use error::CheckpointError;
pub use examine::{Examination, Placement, TensorEntry};
pub use generation::GenerationConfig;
pub(crate) use hub::TEXTS;
#[cfg(feature = "hub")]
pub use hub::{Fetching, HubError};
pub use hub::{HubName, hub_cache};
pub(crate) use location::texts_in_gguf;
pub use messages::{ChatRequest, MessagesError};
pub use names::OtherModel;
pub(crate) use names::{EMBEDDING, HEAD, MTP, TensorNames};
pub use prefix::Prefix;
pub use rope::{RopeConfig, RopeFrequencies, RopeScaling};
pub(crate) use source::open_regular;
pub(crate) use stacked::stack_of;
pub(crate) use stream::Undo;
pub use stream::{Elements, Piece, StoredTensor, TensorReader};
pub use template_args::{ReservedName, TemplateArgs};
pub use tensor::{ElementType, Tensor};
pub use text_stream::TextStream;
pub use tokenizer::Tokenizer;
