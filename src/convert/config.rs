//! The `config.json` of a model whose head is a matrix of its own where the source's file says that it is the embedding.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::error::ConvertError;
use crate::checkpoint::json::{parse, to_text};

/// The text of a `config.json` with what differs: the head is untied wherever it was tied, and the seed of
/// a rotation is kept. Names are sorted, two spaces indent, and there is no newline at the end.
///
/// It is known to be a configuration; `path` is where it comes from.
pub(super) fn untied(path: &Path, text: &str, rotation_seed: Option<u64>) -> Result<String, ConvertError> {
    let mut config = parse(path, text)?;
    if let Some(fields) = config.as_object_mut() {
        change(fields, rotation_seed);
    }
    config.sort_all_objects();
    Ok(to_text(&config, true))
}

fn change(fields: &mut Map<String, Value>, rotation_seed: Option<u64>) {
    const TIED: &str = "tie_word_embeddings";
    const SEED: &str = "quarot_rotation_seed";
    if let Some(Value::Object(text)) = fields.get_mut("text_config") {
        text.extend(rotation_seed.map(|seed| (SEED.into(), json!(seed))));
        if let Some(tied) = text.get_mut(TIED) {
            *tied = json!(false);
        }
    }
    fields.extend(rotation_seed.map(|seed| (SEED.into(), json!(seed))));
    fields.insert(TIED.into(), json!(false));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(config: &str, rotation_seed: Option<u64>) -> String {
        untied(Path::new("config.json"), config, rotation_seed).unwrap()
    }

    #[test]
    fn the_head_is_untied_wherever_it_was_tied() {
        let nested = r#"{"text_config": {"z": 1.5, "tie_word_embeddings": true, "a": [3]}, "b": null}"#;
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
        assert_eq!(rewritten(nested, Some(u64::MAX)), expected);
        let silent: Value = serde_json::from_str(&rewritten(r#"{"text_config": {}}"#, Some(1))).unwrap();
        assert_eq!(
            silent,
            json!({"quarot_rotation_seed": 1, "text_config": {"quarot_rotation_seed": 1},
            "tie_word_embeddings": false})
        );
        let flat: Value = serde_json::from_str(&rewritten(r#"{"tie_word_embeddings": true}"#, None)).unwrap();
        assert_eq!(flat, json!({"tie_word_embeddings": false}));
    }

    #[test]
    fn numbers_that_are_not_finite_stay_as_python_wrote_them() {
        let text = rewritten("\u{feff}{\"limits\": [-Infinity, NaN, \"NaN\"]}", None);
        let expected =
            "{\n  \"limits\": [\n    -Infinity,\n    NaN,\n    \"NaN\"\n  ],\n  \"tie_word_embeddings\": false\n}";
        assert_eq!(text, expected);
    }
}
