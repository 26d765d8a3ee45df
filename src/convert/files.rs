//! The files of a converted directory: how they are named, what they begin with, and their index.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::error::ConvertError;
use super::model::PlannedTensor;
use super::options::{Method, QuaRot};
use crate::quant::{BLOCK_LEN, Block};

/// A model's configuration.
pub(super) const CONFIG: &str = "config.json";
/// The list of all tensors in a converted directory.
pub(super) const INDEX: &str = "quantize_index.json";

/// The file of a tensor: names have dots and slashes in them, and files are to be flat and portable.
pub(super) fn file_name(tensor: &str, quantized: bool) -> String {
    let safe = |character: char| if character.is_alphanumeric() || character == '-' { character } else { '_' };
    let stem: String = tensor.chars().map(safe).collect();
    format!("{stem}.{}", if quantized { "q4" } else { "f16" })
}

/// Refuses tensors, each `(name, quantized)`, whose files would have the same name.
pub(super) fn refuse_shared<'a>(tensors: impl Iterator<Item = (&'a str, bool)>) -> Result<(), ConvertError> {
    let mut owners = BTreeMap::new();
    for (name, quantized) in tensors {
        let file = file_name(name, quantized);
        if let Some(first) = owners.insert(file.clone(), name) {
            return Err(ConvertError::SharedFile { file, first: first.to_owned(), second: name.to_owned() });
        }
    }
    Ok(())
}

/// What a tensor's file begins with.
pub(super) fn header(shape: &[usize], quantized: bool) -> Vec<u8> {
    let (magic, version) = if quantized { (b"KHQ4", 2u32) } else { (b"KHF1", 1u32) };
    let mut header = Vec::from(magic);
    header.extend(version.to_le_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "tensors have at most three dimensions")]
    header.extend((shape.len() as u32).to_le_bytes());
    for &size in shape {
        header.extend((size as u64).to_le_bytes());
    }
    header.extend((shape.iter().product::<usize>() as u64).to_le_bytes());
    header
}

/// The length of a tensor's file.
pub(super) fn file_length(shape: &[usize], quantized: bool) -> usize {
    let elements: usize = shape.iter().product();
    let payload = if quantized { elements.div_ceil(BLOCK_LEN) * size_of::<Block>() } else { elements * 2 };
    header(shape, quantized).len() + payload
}

/// The text of the index: by name, indented by two, no newline at the end. That of a rotated model says so.
pub(super) fn index(tensors: &[PlannedTensor], method: Method) -> String {
    let mut sorted: Vec<_> = tensors.iter().collect();
    sorted.sort_by_key(|tensor| &tensor.name);
    let row = |tensor: &PlannedTensor| {
        json!({
            "name": tensor.name,
            "file": tensor.file(),
            "quantized": tensor.is_quantized(),
            "shape": tensor.stored.shape(),
            "numel": tensor.stored.len(),
        })
    };
    let rows = sorted.into_iter().map(row).collect::<Value>();
    let index = match method {
        Method::Q4 => rows,
        Method::QuaRot(QuaRot { seed, tolerance }) => {
            let reason = format!("logits in double precision are within {tolerance:e} of the original's");
            json!({"quarot_seed": seed, "tensors": rows, "promotion": {"state": "verified", "reason": reason}})
        }
    };
    format!("{index:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_letters_digits_and_hyphens() {
        assert_eq!(file_name("model.layers.0.A_log", false), "model_layers_0_A_log.f16");
        assert_eq!(file_name("a-b/ü.weight", true), "a-b_ü_weight.q4");
    }

    #[test]
    fn two_tensors_never_share_a_file() {
        let refuse = |second| refuse_shared([("a.b", true), second].into_iter());
        let error = refuse(("a_b", true)).unwrap_err().to_string();
        assert_eq!(error, r#"a_b.q4: expected a file for each tensor, found "a.b" and "a_b" to share it"#);
        refuse(("a_b", false)).unwrap();
    }
}
