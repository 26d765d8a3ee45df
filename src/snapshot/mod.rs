//! A sequence as bytes: saved in one world and restored in another, on another day or another machine, where it goes on.
//!
//! ```
//! use bevy_ecs::prelude::*;
//! use loquent::prelude::*;
//! use loquent::snapshot::{Contents, Continues, Snapshot};
//!
//! let mut world = World::new();
//! let model = loquent::load(&mut world, "assets/demo-q4", LoadOptions::default())?;
//! let story = world.spawn((Prompt::text("Once upon a time"), StopRules::after(8))).id();
//! while world.get::<Tokens>(story).unwrap().generated.len() < 3 {
//!     advance(&mut world, Budget::Step);
//! }
//! let bytes = Snapshot::take(&mut world, story, Contents::AsStored)?.to_bytes();
//!
//! let restored = Snapshot::from_bytes(&bytes)?.restore(&mut world, model)?;
//! assert_eq!(restored.continues, Continues::Equally);
//! while advance(&mut world, Budget::Step) != Progress::Idle {}
//! assert_eq!(world.get::<Tokens>(restored.sequence), world.get::<Tokens>(story));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is in it
//!
//! All that Loquent knows of a sequence: its tokens and how far they were read, how it picks and where its random numbers are,
//! when it stops, what was said in it and what it was told and has not heard yet, whether it is queued, runs or has ended, its
//! priority and its [`Name`](bevy_ecs::name::Name); and, as [`Contents`] say, what its caches hold up to the last token that was
//! read. Where guesses come from is kept, unless that is another model. Left out are the states that a conversation keeps to come back to: where a template writes an answer otherwise in the
//! next turn, all is read again once. Components of a host's own are the host's to save. Why a sequence was refused is kept as
//! its text.
//!
//! A sequence that was restored comes after all others that are there. One that had ended is at rest; any other is queued, and
//! let in when there is room for it, as one that was told more.
//!
//! # The file
//!
//! All numbers are little-endian.
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 8 | `LOQUSNAP` |
//! | 8 | 4 | the version of this format: 2 |
//! | 12 | 4 | *h*, the length of the header in bytes, at most 16 MiB |
//! | 16 | 8 | *c*, that of the caches |
//! | 24 | *h* | the header, JSON in UTF-8: the fields of `Header` in `src/snapshot/header.rs` |
//! | 24 + *h* | *c* | the caches |
//! | 24 + *h* + *c* | 32 | the SHA-256 of all before |
//!
//! The caches are numbers, layer after layer: all in half precision where the header's `contents` say so; else in single
//! precision, but keys and values in what the `cache_type` of its `computer` says. Of a delta net they are its state, its rows and
//! its inputs; of attention, its blocks of 32 positions, each with the keys and the values of every head, with zeros after the last
//! position: on the CPU, keys as `[head_dim, positions]`, and values as `[positions, head_dim]`. The header's `layers` say how many numbers each has; their order within is that of the
//! backend that the header's `computer` names, and no other backend reads them. Keys and values are
//! not taken over by a model that keeps them as another type: that is an error.
//!
//! Whatever bytes stand in a file, it is refused by what is wrong with it, or restored as a sequence that can be run: every length
//! is checked against the file, and then against the model, before anything is allocated for it.

mod caches;
mod check;
mod computer;
mod continues;
mod cpu;
mod envelope;
mod error;
mod file;
#[cfg(feature = "gpu")]
mod gpu;
mod header;
mod hex;
mod layers;
mod numbers;
mod restore;
mod room;
mod take;

use std::ops::Range;

use bytes::Bytes;

pub use self::continues::{Continues, Restored, Why};
pub use self::error::SnapshotError;
pub use self::header::Contents;

use self::header::Header;
use crate::world::fingerprint::Fingerprint;

/// A sequence as it was when it was saved.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    header: Header,
    /// The whole file.
    bytes: Bytes,
    /// Where in it the caches are.
    caches: Range<usize>,
}

impl Snapshot {
    /// It as bytes: those of a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        envelope::check(bytes, bytes.len() as u64)?;
        Self::parse(Bytes::copy_from_slice(bytes))
    }

    fn parse(bytes: Bytes) -> Result<Self, SnapshotError> {
        let [json, caches] = envelope::open(&bytes)?;
        let header = Header::parse(&bytes[json])?;
        check::alone(&header, caches.len())?;
        Ok(Self { header, bytes, caches })
    }

    /// What it has of the caches: [`Contents::Tokens`] where there was nothing in them, or nothing that could be read.
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.header.contents
    }

    /// The model that the sequence ran on.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.header.fingerprint.0)
    }
}
