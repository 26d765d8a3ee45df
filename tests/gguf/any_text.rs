//! The tokenizer that is made of a file's vocabulary splits any text as the published one does.

use loquent::checkpoint::Tokenizer;
use proptest::prelude::*;
use rayon::prelude::*;

use crate::tokenizer::both;

/// Everything that tokenizers tell apart: letters of many scripts, marks, digits, punctuation, all kinds of blanks and line
/// ends, contractions, what is not in normal form, special tokens and their beginnings.
const PIECES: [&str; 46] = [
    "the",
    "delta",
    " net",
    "'s",
    "'LL",
    "'t",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "\u{a0}",
    "\u{2028}",
    "1",
    "23",
    "456",
    "²",
    "½",
    "٣",
    "é",
    "e\u{301}",
    "Å",
    "A\u{30a}",
    "\u{1100}\u{1161}",
    "가",
    "你好",
    "。",
    "नमस्ते",
    "مرحبا",
    "👩‍🚀",
    "\u{200d}",
    "…",
    "-",
    "--",
    "(",
    "\"",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|im_",
    "|>",
    "<think>",
    "Ġ",
    "[PAD395]",
    "\0",
    "\u{fffd}",
];

/// Ranges that characters are taken from besides, as their first and last.
const RANGES: [(char, char); 14] = [
    // Of one byte, control characters among them.
    ('\0', '\u{7f}'),
    ('a', 'z'),
    ('0', '9'),
    ('\u{80}', '\u{24f}'),
    // Marks that combine with what is before them.
    ('\u{300}', '\u{36f}'),
    // Greek and Cyrillic, Hebrew and Arabic, the scripts of India.
    ('\u{370}', '\u{52f}'),
    ('\u{590}', '\u{6ff}'),
    ('\u{900}', '\u{dff}'),
    // Hangul in parts and whole.
    ('\u{1100}', '\u{11ff}'),
    ('\u{ac00}', '\u{d7a3}'),
    // Punctuation, blanks and signs; Chinese and Japanese.
    ('\u{2000}', '\u{2bff}'),
    ('\u{3000}', '\u{9fff}'),
    ('\u{1f000}', '\u{1faff}'),
    ('\u{0}', '\u{10ffff}'),
];

/// Lines of programs, with the indentation and the digits that they have.
const CODE: [&str; 8] = [
    "    if x[10] >= 0x1F:\n        return None\n",
    "\tfor (int i = 0; i < 128; ++i) {\r\n",
    "let s = \"it's\"; // 3.14e-10\n\n",
    "</div>\n  <p class=\"a-b\">1,234.56</p>",
    "SELECT * FROM t WHERE id != 42;",
    "def f(self, *args, **kwargs):\n    pass",
    "{\"key\": [1, 2, null], \"k2\": \"\\u00e9\"}",
    "$ ls -la | grep '^d' && echo $HOME",
];

fn texts() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(&PIECES[..]).prop_map(str::to_owned);
    let mixed = prop::collection::vec(prop_oneof![4 => pieces, 1 => ".{0,4}"], 0..24);
    prop_oneof![3 => mixed.prop_map(|pieces| pieces.concat()), 1 => "\\PC{0,40}"]
}

/// The text of a number, the same every time: up to 11 pieces.
fn text(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % bound
    };
    let mut text = String::new();
    for _ in 0..below(12) {
        match below(8) {
            0..4 => text.push_str(PIECES[below(PIECES.len())]),
            4 => text.push_str(CODE[below(CODE.len())]),
            _ => {
                let (first, last) = RANGES[below(RANGES.len())];
                for _ in 0..=below(6) {
                    let number = first as usize + below(last as usize - first as usize + 1);
                    text.extend(char::from_u32(number as u32));
                }
            }
        }
    }
    text
}

/// Why two tokenizers make different ids, or different texts of them, of a text; `None` if they do not.
fn difference([published, made]: &[Tokenizer; 2], text: &str, special: bool) -> Option<String> {
    let ids = published.encode(text, special).unwrap();
    let found = made.encode(text, special).unwrap();
    if found != ids {
        return Some(format!("{text:?}: {found:?} for {ids:?}"));
    }
    let [expected, found] = [published, made].map(|tokenizer| tokenizer.decode(&ids, special).unwrap());
    (found != expected).then(|| format!("{text:?}: {found:?} for {expected:?}"))
}

#[test]
fn any_text_has_the_published_ids() {
    let tokenizers = both();
    let config = ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(text in texts(), special in any::<bool>())| {
        prop_assert_eq!(difference(&tokenizers, &text, special), None);
    });
}

/// So many that what is rare is among them.
#[test]
fn a_hundred_thousand_texts_have_the_published_ids() {
    let tokenizers = both();
    let differences: Vec<String> = (0..100_000)
        .into_par_iter()
        .filter_map(|number: u64| difference(&tokenizers, &text(number), number.is_multiple_of(2)))
        .collect();
    assert!(differences.is_empty(), "{} differ, {:#?}", differences.len(), &differences[..differences.len().min(10)]);
}
