//! What keys and values are kept as.

use clap::ValueEnum;
use loquent::cpu::CacheType;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Kept {
    /// Half precision: half of the memory, and of what a token reads of it
    F16,
    /// Single precision
    F32,
}

impl Kept {
    pub(super) fn cache_type(self) -> CacheType {
        match self {
            Self::F16 => CacheType::F16,
            Self::F32 => CacheType::F32,
        }
    }
}
