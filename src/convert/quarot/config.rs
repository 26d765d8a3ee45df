//! The `config.json` of a rotated model.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::convert::error::ConvertError;
use crate::convert::files;

/// The text of the `config.json` in `source` with what differs in a rotated model: the head is a matrix of its own, and
/// the seed is kept. Names are sorted, two spaces indent, and there is no newline at the end.
///
/// The file is known to be a configuration.
pub(in crate::convert) fn config(source: &Path, seed: u64) -> Result<String, ConvertError> {
    let path = source.join(files::CONFIG);
    let text = fs::read_to_string(&path).map_err(ConvertError::io(&path, "read"))?;
    let changed = serde_json::from_str(&text).map(|fields| rewritten(fields, seed));
    changed.map_err(|error| ConvertError::io(&path, "read")(error.into()))
}

fn rewritten(mut fields: Map<String, Value>, seed: u64) -> String {
    if let Some(Value::Object(text)) = fields.get_mut("text_config") {
        text.insert("quarot_rotation_seed".into(), json!(seed));
        if let Some(tied) = text.get_mut("tie_word_embeddings") {
            *tied = json!(false);
        }
    }
    fields.insert("quarot_rotation_seed".into(), json!(seed));
    fields.insert("tie_word_embeddings".into(), json!(false));
    let mut config = Value::Object(fields);
    config.sort_all_objects();
    format!("{config:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(config: Value) -> Value {
        let Value::Object(fields) = config else { panic!("no object") };
        let text = rewritten(fields, u64::MAX);
        let config: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(text, format!("{config:#}"));
        config
    }

    #[test]
    fn the_head_is_untied_wherever_it_was_tied() {
        let nested = json!({"text_config": {"z": 1.5, "tie_word_embeddings": true, "a": [3]}, "b": null});
        let expected = r#"{
  "b": null,
  "quarot_rotation_seed": 18446744073709551615,
  "text_config": {
    "a": [
      3
    ],
    "quarot_rotation_seed": 18446744073709551615,
    "tie_word_embeddings": false,
    "z": 1.5
  },
  "tie_word_embeddings": false
}"#;
        assert_eq!(format!("{:#}", rewrite(nested)), expected);
        let silent = rewrite(json!({"text_config": {}}));
        assert!(silent["text_config"].get("tie_word_embeddings").is_none() && silent["tie_word_embeddings"] == false);
        let flat = rewrite(json!({"tie_word_embeddings": true}));
        assert!(flat["tie_word_embeddings"] == false && flat["quarot_rotation_seed"] == u64::MAX);
    }
}
