//! How a sequence goes on that was restored.

use std::fmt;

use bevy_ecs::entity::Entity;

/// A sequence that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// It.
    pub sequence: Entity,
    /// How it goes on.
    pub continues: Continues,
}

/// How a sequence goes on that was restored, beside the one that was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Continues {
    /// With the same tokens, from the same logits to the last bit.
    Equally,
    /// Once its tokens were read again. What computes as what has read them first comes to the same tokens then; on the CPU, from
    /// the same logits to the last bit.
    ReadAgain {
        /// What else there was to do.
        why: Why,
    },
    /// At once, from logits that are nearly the same. Its tokens may part from what they would have been.
    Nearly {
        /// What is not the same.
        why: Why,
    },
}

/// Why a sequence goes on otherwise than if it had never been saved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The snapshot has its tokens and no caches.
    TokensOnly,
    /// Its caches are in the order of another backend.
    OtherBackend {
        /// Where it was saved.
        saved: &'static str,
        /// Where it was restored.
        here: &'static str,
    },
    /// The model cannot compute for now.
    Unavailable,
    /// Its caches would be more than there is room for, beside those of others.
    NoRoom,
    /// Its caches were rounded to half precision.
    Rounded,
    /// Weights of four bits were multiplied otherwise.
    OtherNumerics {
        /// Where it was saved.
        saved: &'static str,
        /// Where it was restored.
        here: &'static str,
    },
    /// Another instruction set, adapter or driver computes.
    OtherDevice {
        /// Where it was saved.
        saved: String,
        /// Where it was restored.
        here: String,
    },
    /// Another version of Loquent computes.
    OtherVersion {
        /// Where it was saved.
        saved: String,
        /// Where it was restored.
        here: String,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokensOnly => formatter.write_str("the snapshot has tokens only"),
            Self::OtherBackend { saved, here } => write!(formatter, "saved on the backend {saved}, restored on {here}"),
            Self::Unavailable => formatter.write_str("the model cannot compute for now"),
            Self::NoRoom => formatter.write_str("there is no room for its caches"),
            Self::Rounded => formatter.write_str("its caches were rounded to half precision"),
            Self::OtherNumerics { saved, here } => {
                write!(formatter, "saved with {saved} numerics, restored with {here}")
            }
            Self::OtherDevice { saved, here } => write!(formatter, "saved on {saved}, restored on {here}"),
            Self::OtherVersion { saved, here } => write!(formatter, "saved by version {saved}, restored by {here}"),
        }
    }
}
