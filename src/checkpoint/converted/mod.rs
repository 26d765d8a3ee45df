//! A converted directory: one file for each tensor, and an index that says what they are.

mod index;
mod promotion;
mod record;
mod tensor_file;

pub(super) use index::{Entry, read};
pub(crate) use index::{FILE as INDEX, Rotated, Row, text as index_text};
pub use promotion::Promotion;
pub(crate) use tensor_file::Format;
