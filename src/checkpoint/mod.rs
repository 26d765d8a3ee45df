//! Bytes on disk → checked views. A directory in Hugging Face form enters; a [`Checkpoint`] leaves, with a configuration
//! that is known to be one we implement, tensors that are known to lie in their files, and the text side where there is
//! one. Nothing is allocated or mapped by a header's word alone, and every refusal is one [`CheckpointError`] that says
//! which file, which field or tensor, what was expected and what was found.

mod chat;
mod config;
mod converted;
mod directory;
mod error;
mod examine;
mod generation;
mod jinja;
mod json;
mod rope;
mod safetensors;
mod source;
mod stream;
mod tensor;
mod tensor_file;
mod text_stream;
mod tokenizer;
mod values;

pub use chat::{ChatMessage, ChatOptions, ChatTemplate};
pub(crate) use config::HEAD;
pub use config::{AttentionConfig, DeltaNetConfig, LayerType, Layout, ModelConfig};
pub use directory::{Checkpoint, OtherModel};
pub use error::CheckpointError;
pub use examine::{Examination, Placement, TensorEntry};
pub use generation::GenerationConfig;
pub(crate) use source::open_regular;
pub use stream::{Elements, Piece, StoredTensor, TensorReader};
pub use tensor::{ElementType, Tensor};
pub use text_stream::TextStream;
pub use tokenizer::Tokenizer;
