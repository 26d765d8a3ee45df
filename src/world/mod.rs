//! What exists: a model and its layers, sequences and their caches, and the activations of the step in hand.
//!
//! Nothing here computes; [`crate::schedule`] says what happens to these things and [`crate::cpu`] how.

pub mod activations;
pub mod attention;
pub mod batch;
pub mod cache;
pub mod control;
pub mod conversation;
pub mod cursor;
pub mod delta_net;
pub mod draft;
pub mod fingerprint;
pub mod heard;
pub mod layer;
pub mod limits;
pub mod mlp;
pub mod model;
pub mod moe;
pub mod mtp;
pub mod parts;
pub mod promised;
pub mod refusal;
pub mod role;
pub mod sampler;
pub mod sequence;
pub mod status;
pub mod storage;
pub mod tokens;
pub mod transcript;
