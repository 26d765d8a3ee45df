//! What weights are stored as that nobody has.

use clap::ValueEnum;
use loquent::checkpoint::ElementType;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Dtype {
    Bf16,
    F16,
    F32,
    Q4,
    #[value(name = "q8_0")]
    Q8_0,
    #[value(name = "q4_0")]
    Q4_0,
    #[value(name = "q4_1")]
    Q4_1,
    #[value(name = "q4_k")]
    Q4K,
    #[value(name = "q5_k")]
    Q5K,
    #[value(name = "q6_k")]
    Q6K,
}

impl Dtype {
    pub(super) fn element(self) -> ElementType {
        match self {
            Self::Bf16 => ElementType::Bf16,
            Self::F16 => ElementType::F16,
            Self::F32 => ElementType::F32,
            Self::Q4 => ElementType::Q4,
            Self::Q8_0 => ElementType::Q8_0,
            Self::Q4_0 => ElementType::Q4_0,
            Self::Q4_1 => ElementType::Q4_1,
            Self::Q4K => ElementType::Q4K,
            Self::Q5K => ElementType::Q5K,
            Self::Q6K => ElementType::Q6K,
        }
    }
}
