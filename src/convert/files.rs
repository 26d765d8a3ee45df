//! Which files a converted directory gets.

use std::collections::BTreeMap;

use super::error::ConvertError;
use super::model::PlannedTensor;
use super::options::{Method, QuaRot};
use crate::checkpoint::{Format, Rotated, Row, index_text};

/// A model's configuration.
pub(super) const CONFIG: &str = "config.json";

/// Refuses tensors whose files would have the same name.
pub(super) fn refuse_shared<'a>(tensors: impl Iterator<Item = (&'a str, Format)>) -> Result<(), ConvertError> {
    let mut owners = BTreeMap::new();
    for (name, format) in tensors {
        let file = format.file_name(name);
        if let Some(first) = owners.insert(file.clone(), name) {
            return Err(ConvertError::SharedFile { file, first: first.to_owned(), second: name.to_owned() });
        }
    }
    Ok(())
}

/// The text of the index. That of a rotated model says so.
pub(super) fn index(tensors: &[PlannedTensor], method: Method) -> String {
    fn row(tensor: &PlannedTensor) -> Row<'_> {
        Row { name: &tensor.name, format: tensor.format(), shape: tensor.stored.shape() }
    }
    let rows = tensors.iter().map(row).collect();
    match method {
        Method::Q4 => index_text(rows, None),
        Method::QuaRot(QuaRot { seed, tolerance }) => {
            let reason = format!(
                "logits in double precision are within {tolerance:e} of the original's; the perplexity is not measured yet"
            );
            index_text(rows, Some(Rotated { seed, reason: &reason }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tensors_never_share_a_file() {
        let refuse = |second| refuse_shared([("a.b", Format::Q4), second].into_iter());
        let error = refuse(("a_b", Format::Q4)).unwrap_err().to_string();
        assert_eq!(error, r#"a_b.q4: expected a file for each tensor, found "a.b" and "a_b" to share it"#);
        refuse(("a_b", Format::F16)).unwrap();
    }
}
