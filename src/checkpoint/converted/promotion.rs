//! What a rotated directory's index says of how well the rotation turned out: nobody has measured it, or a comparison of
//! perplexities was passed or not.

#![forbid(unsafe_code)]

use serde_json::{Map, Value, json};

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::Fields;

pub(super) const FIELD: &str = "promotion";

/// The states that other programs know: they call a file malformed that has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Promotion {
    /// Nobody has compared it yet.
    Unpromoted,
    /// Its perplexity is as near to another model's as was asked for.
    Promoted,
    /// It is not.
    Rejected,
}

impl Promotion {
    /// The word for it in a file.
    #[must_use]
    pub fn state(self) -> &'static str {
        match self {
            Self::Unpromoted => "unpromoted",
            Self::Promoted => "promoted",
            Self::Rejected => "rejected",
        }
    }

    /// The value of the index's field.
    pub(super) fn field(self, reason: &str) -> Value {
        let mut promotion = Map::new();
        self.write(&mut promotion, reason);
        Value::Object(promotion)
    }

    pub(super) fn write(self, promotion: &mut Map<String, Value>, reason: &str) {
        promotion.insert("state".into(), json!(self.state()));
        promotion.insert("reason".into(), json!(reason));
    }
}

/// Says what the index has, which is nothing to go by, but should be readable.
pub(super) fn tell(root: Fields<'_>, seed: u64) -> Result<(), CheckpointError> {
    if let Some(promotion) = root.object(FIELD)? {
        let (state, reason) = (promotion.text("state")?, promotion.text("reason")?);
        tracing::debug!("rotated with seed {seed}: {}, {}", state.unwrap_or("-"), reason.unwrap_or("-"));
    }
    Ok(())
}
