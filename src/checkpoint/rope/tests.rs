//! The bits that transformers 5.24 with torch 2.15 computes, by `ROPE_INIT_FUNCTIONS` and, without scaling, by the models'
//! own function.

use super::*;

#[track_caller]
fn assert_bits(rope: &RopeConfig, attention_factor: u32, expected: &[u32]) {
    let frequencies = rope.frequencies();
    assert_eq!(frequencies.inverse.len(), expected.len());
    let places = frequencies.inverse.iter().zip(expected).map(|(found, expected)| found.to_bits().abs_diff(*expected));
    let off: Vec<u32> = places.filter(|&places| places > 0).collect();
    // PyTorch's power of a vector is not always correctly rounded: of the 64 of Qwen3 one is not.
    assert!(off.is_empty() || off == [1], "{off:?} places off");
    assert_eq!(frequencies.attention_factor.to_bits(), attention_factor);
}

const ONE: u32 = 0x3f80_0000;

#[test]
fn without_scaling() {
    assert_bits(&RopeConfig::unscaled(64, 1e7), ONE, &UNSCALED);
    // A base that single precision does not hold.
    const ODD: [u32; 8] =
        [0x3f800000, 0x3dc779d9, 0x3c1b6ea9, 0x3a723a01, 0x38bcbe62, 0x371311d4, 0x356531b7, 0x33b296bc];
    assert_bits(&RopeConfig::unscaled(16, 123_456_789.7), ONE, &ODD);
}

#[test]
fn linear() {
    const EXPECTED: [u32; 16] = [
        0x3ebda12f, 0x3e5545ed, 0x3defdd57, 0x3d86e2c3, 0x3d17b426, 0x3caa9e57, 0x3c3fe447, 0x3bd7d138, 0x3b72b9d6,
        0x3b087eac, 0x3a99836c, 0x3a2ca760, 0x39c22e45, 0x395a6446, 0x38f59f13, 0x388a1f80,
    ];
    let scaling = RopeScaling::Linear { factor: 2.7 };
    assert_bits(&RopeConfig { rotary_dim: 32, theta: 1e4, scaling }, ONE, &EXPECTED);
}

/// As Llama-3.2-1B has it.
#[test]
fn llama3_scaling() {
    const EXPECTED: [u32; 32] = [
        0x3f800000, 0x3f29e1c6, 0x3ee177bc, 0x3e959ee3, 0x3e4693b0, 0x3e03c6a0, 0x3daee4ad, 0x3d681e67, 0x3d1a08c8,
        0x3ccc6f49, 0x3c87a9c3, 0x3c340d6d, 0x3beef74f, 0x3b9e9402, 0x3b527720, 0x3aa9279b, 0x39e13620, 0x38cb98f7,
        0x37a3418d, 0x3758ac81, 0x370fc8f8, 0x36bed4f4, 0x367d45c3, 0x3628126b, 0x35df10c4, 0x359406cb, 0x35447610,
        0x35025f34, 0x34ad07a7, 0x3465a54d, 0x341864a7, 0x33ca41b0,
    ];
    let scaling = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };
    assert_bits(&RopeConfig { rotary_dim: 64, theta: 5e5, scaling }, ONE, &EXPECTED);
}

/// As the makers of Qwen3 recommend it.
#[test]
fn yarn() {
    const EXPECTED: [u32; 64] = [
        0x3f800000, 0x3f4e4bad, 0x3f263de0, 0x3f05f6ef, 0x3ed7e89b, 0x3eadfcff, 0x3e8c3504, 0x3e61f835, 0x3e361887,
        0x3e12bd91, 0x3dec7fd6, 0x3dbe94c6, 0x3d99940d, 0x3d778513, 0x3d47763f, 0x3d20bc1d, 0x3d0186e3, 0x3cd0c1a8,
        0x3ca8398b, 0x3c879008, 0x3c5a7bf2, 0x3c301052, 0x3c0de12d, 0x3be4aa46, 0x3bb02377, 0x3b876388, 0x3b4fa550,
        0x3b1ed248, 0x3af241df, 0x3ab82bc0, 0x3a8b8207, 0x3a527db8, 0x3a1e0eb2, 0x39ec1968, 0x39af3d02, 0x39811c3e,
        0x393c93be, 0x39083e38, 0x38c23e9a, 0x38881d0a, 0x383a7753, 0x38164324, 0x37f22ce2, 0x37c327b5, 0x379d43a4,
        0x377d75d4, 0x374c3fbe, 0x372497ab, 0x3704a2b2, 0x36d5c441, 0x36ac431d, 0x368ad0ed, 0x365fba4f, 0x36344a0e,
        0x361148e3, 0x35ea2732, 0x35bcb0c1, 0x35980e02, 0x35751070, 0x35457bab, 0x351f23e4, 0x35003dec, 0x34ceaf79,
        0x34a68e4c,
    ];
    let scaling = RopeScaling::Yarn {
        factor: 4.0,
        attention_factor: 1.138629436111989,
        beta_fast: 32.0,
        beta_slow: 1.0,
        truncate: true,
        original_max_position_embeddings: 32_768,
    };
    assert_bits(&RopeConfig { rotary_dim: 128, theta: 1e6, scaling }, 0x3f91be9c, &EXPECTED);
}

#[test]
fn yarn_between_whole_indices() {
    const EXPECTED: [u32; 32] = [
        0x3f800000, 0x3f1ab32b, 0x3ebaf81b, 0x3e61f835, 0x3e088d77, 0x3da50956, 0x3d47763f, 0x3cf11177, 0x3c91ad39,
        0x3c301052, 0x3bd4ca15, 0x3b80967d, 0x3b1b690d, 0x3abbd3ed, 0x3a6301e2, 0x3a047265, 0x398713ad, 0x39050a88,
        0x38788ec6, 0x37d42505, 0x3730df52, 0x36d5c441, 0x36812dab, 0x361c1fc4, 0x35bcb0c1, 0x35640cc6, 0x3509cf4a,
        0x34a68e4c, 0x34494c57, 0x33f3499d, 0x3393048e, 0x3331af44,
    ];
    let scaling = RopeScaling::Yarn {
        factor: 4.0,
        attention_factor: 1.0379100195867799,
        beta_fast: 24.5,
        beta_slow: 2.0,
        truncate: false,
        original_max_position_embeddings: 262_144,
    };
    assert_bits(&RopeConfig { rotary_dim: 64, theta: 1e7, scaling }, 0x3f84da3c, &EXPECTED);
}

#[test]
fn each_frequency_may_have_a_divisor_of_its_own() {
    let rope = |scaling| RopeConfig { rotary_dim: 4, theta: 100.0, scaling }.frequencies();
    assert_eq!(rope(RopeScaling::Divided(vec![1.0, 8.0])).inverse, [1.0, 0.1 / 8.0]);
    let same = RopeScaling::Divided(vec![2.5; 2]);
    assert_eq!(rope(same), rope(RopeScaling::Linear { factor: 2.5 }));
}

const UNSCALED: [u32; 32] = [
    0x3f800000, 0x3f1ab32b, 0x3ebaf81b, 0x3e61f835, 0x3e088d77, 0x3da50956, 0x3d47763f, 0x3cf11177, 0x3c91ad39,
    0x3c301052, 0x3bd4ca15, 0x3b80967d, 0x3b1b690d, 0x3abbd3ed, 0x3a6301e2, 0x3a092e02, 0x39a5cb60, 0x394860c1,
    0x38f22ce2, 0x3892587e, 0x3830df52, 0x37d5c441, 0x37812dab, 0x371c1fc4, 0x36bcb0c1, 0x36640cc6, 0x3609cf4a,
    0x35a68e4c, 0x35494c57, 0x34f3499d, 0x3493048e, 0x3431af44,
];
