//! How texts are split before they are tokenised, by the names that files have for it, and the regular expressions that
//! the makers' `tokenizer.json` have.

use serde_json::{Value, json};

/// A kind of splitting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Splits {
    Gpt2,
    Qwen2,
    Qwen35,
    Llama3,
    SmolLm,
}

const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Splits {
    /// All names that are read.
    pub(super) const NAMES: [(&'static str, Self); 7] = [
        ("qwen2", Self::Qwen2),
        ("qwen35", Self::Qwen35),
        ("deepseek-r1-qwen", Self::Qwen2),
        ("megrez", Self::Qwen2),
        ("gpt-2", Self::Gpt2),
        ("llama-bpe", Self::Llama3),
        ("smollm", Self::SmolLm),
    ];

    /// Whether texts are brought into normal form C first. Files do not say it; the makers' tokenizers do it.
    pub(super) const fn normalizes(self) -> bool {
        matches!(self, Self::Qwen2 | Self::Qwen35)
    }

    /// Whether a piece that is a token as a whole is that token, whatever merges would make of it.
    pub(super) const fn ignores_merges(self) -> bool {
        matches!(self, Self::Llama3)
    }

    /// Whether a token is put in front of every text where the file does not say so.
    pub(super) const fn adds_bos(self) -> bool {
        matches!(self, Self::Llama3)
    }

    /// `tokenizer.json`'s `pre_tokenizer`.
    pub(super) fn pre_tokenizer(self) -> Value {
        let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
        let bytes = |splits: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": splits});
        let digits = || json!({"type": "Digits", "individual_digits": true});
        let steps = match self {
            // What this step splits by, if it does, is GPT-2's.
            Self::Gpt2 => vec![bytes(true)],
            Self::SmolLm => vec![digits(), bytes(true)],
            Self::Qwen2 => vec![split(QWEN2), bytes(false)],
            Self::Qwen35 => vec![split(QWEN35), bytes(false)],
            Self::Llama3 => vec![split(LLAMA3), bytes(false)],
        };
        json!({"type": "Sequence", "pretokenizers": steps})
    }
}
