//! The format's rules, one by one, and what holds for any weights.

use half::{bf16, f16};
use proptest::prelude::*;

use super::*;

fn one(weights: &[f32], encoding: Encoding) -> Block {
    quantize(weights, encoding, Search::MinMax).expect("finite weights")[0]
}

fn codes(block: &Block) -> Vec<u8> {
    block.codes.iter().flat_map(|pair| [pair & 15, pair >> 4]).collect()
}

#[test]
fn a_tail_is_scaled_by_its_real_weights_only() {
    let block = one(&[5.0, 6.0, 7.0], Encoding::Asymmetric);
    assert_eq!((block.scale(), block.bias()), (f16::from_f32(2.0 / 15.0), f16::from_f32(5.0)));
    // One over the scale is a little below 7.5 in single precision. Padding is 0.0 put through the same formula.
    let mut expected = vec![0, 7, 15];
    expected.resize(BLOCK_LEN, 0);
    assert_eq!(codes(&block), expected);
    let below_zero = one(&[-3.0, -1.5], Encoding::Asymmetric);
    assert_eq!(codes(&below_zero)[..4], [0, 15, 15, 15]);
}

#[test]
fn a_symmetric_block_is_the_same_with_or_without_its_padding() {
    let short = [0.5, -0.7, 0.1];
    let mut padded = [0.0; BLOCK_LEN];
    padded[..3].copy_from_slice(&short);
    let block = one(&short, Encoding::Symmetric);
    assert_eq!(block, one(&padded, Encoding::Symmetric));
    assert_eq!((block.scale(), block.bias()), (f16::from_f32(0.1), f16::from_f32(-0.8)));
    assert_eq!(codes(&block)[..5], [13, 1, 9, 8, 8]);
}

#[test]
fn equal_weights_have_a_scale_of_one() {
    let block = one(&[0.25; 32], Encoding::Asymmetric);
    assert_eq!((block.scale(), block.bias(), block.codes), (f16::ONE, f16::from_f32(0.25), [0; 16]));
    let block = one(&[0.0; 32], Encoding::Symmetric);
    assert_eq!((block.scale(), block.bias(), block.codes), (f16::ONE, f16::from_f32(-8.0), [0x88; 16]));
    // Padding of a tail goes through the formula here as well.
    assert_eq!(codes(&one(&[-3.0], Encoding::Asymmetric))[..2], [0, 3]);
}

#[test]
fn a_range_too_small_for_half_precision_has_a_scale_of_one() {
    let block = one(&[0.0, 1e-8], Encoding::Asymmetric);
    assert_eq!((block.scale(), codes(&block)[1]), (f16::ONE, 0));
    // Fifteen times the least positive half is no such range.
    let least = f16::MIN_POSITIVE_SUBNORMAL.to_f32();
    let block = one(&[0.0, 15.0 * least], Encoding::Asymmetric);
    assert_eq!((block.scale(), codes(&block)[1]), (f16::MIN_POSITIVE_SUBNORMAL, 15));
}

#[test]
fn of_zeros_of_both_signs_the_first_is_the_minimum() {
    let bias = |weights: &[f32]| one(weights, Encoding::Asymmetric).bias;
    assert_eq!(bias(&[1.0, -0.0, 0.0]), 0x8000);
    assert_eq!(bias(&[1.0, 0.0, -0.0]), 0);
    let mut whole = [1.0; BLOCK_LEN];
    (whole[30], whole[9]) = (0.0, -0.0);
    assert_eq!(bias(&whole), 0x8000);
    (whole[30], whole[9]) = (-0.0, 0.0);
    assert_eq!(bias(&whole), 0);
}

#[test]
fn what_half_precision_cannot_hold_is_an_error_that_says_where() {
    let mut weights = vec![0.5f32; 100];
    weights[70] = f32::NAN;
    let error = quantize(&weights, Encoding::Asymmetric, Search::MinMax).unwrap_err();
    assert!(matches!(error, QuantError::NonFinite { block: 2, index: 70, .. }), "{error}");
    let wide = [-1e6, 1e6];
    let error = quantize(&wide, Encoding::Asymmetric, Search::LeastSquares).unwrap_err();
    assert!(matches!(error, QuantError::Scale { block: 0, .. }), "{error}");
    let far = [-1e5, -1e5 + 1.0];
    let error = quantize(&far, Encoding::Asymmetric, Search::MinMax).unwrap_err();
    assert!(matches!(error, QuantError::Bias { block: 0, .. }), "{error}");
    // Finite as f64 only, and a range that overflows single precision.
    assert!(matches!(quantize(&[1e300], Encoding::Symmetric, Search::MinMax), Err(QuantError::NonFinite { .. })));
    let error = quantize(&[f32::MIN, f32::MAX], Encoding::Asymmetric, Search::MinMax).unwrap_err();
    assert!(matches!(error, QuantError::Scale { .. }), "{error}");
}

#[test]
fn every_element_type_is_encoded_as_its_value_in_single_precision() {
    let halves: Vec<f16> = (0..77).map(|i| f16::from_f32((i * i % 31) as f32 * 0.37 - 4.0)).collect();
    let brains: Vec<bf16> = halves.iter().map(|x| bf16::from_f32(x.to_f32())).collect();
    let doubles: Vec<f64> = halves.iter().map(|x| x.to_f64() / 3.0).collect();
    for encoding in [Encoding::Asymmetric, Encoding::Symmetric] {
        let of = |weights: Vec<f32>| quantize(&weights, encoding, Search::MinMax);
        assert_eq!(quantize(&halves, encoding, Search::MinMax), of(halves.iter().map(|x| x.to_f32()).collect()));
        assert_eq!(quantize(&brains, encoding, Search::MinMax), of(brains.iter().map(|x| x.to_f32()).collect()));
        assert_eq!(quantize(&doubles, encoding, Search::MinMax), of(doubles.iter().map(|&x| x as f32).collect()));
    }
}

#[test]
fn a_weight_of_any_type_is_its_number() {
    assert_eq!(Weight::to_f32(f16::from_f32(-1.5)), -1.5);
    assert_eq!(Weight::to_f32(bf16::from_f32(-1.5)), -1.5);
    assert_eq!((Weight::to_f32(-1.5_f64), Weight::to_f32(-1.5_f32)), (-1.5, -1.5));
}

#[test]
fn deviations_are_sums_of_squares_and_their_ratio_is_a_root() {
    let halves = Deviation::of_halves(&[3.0, -4.0], &[f16::from_f32(3.5), f16::from_f32(-4.0)]);
    assert_eq!(halves, Deviation { squared_error: 0.25, squared_weight: 25.0 });
    assert_eq!(halves.relative_rms(), 0.1);
    let weights = [0.0, 0.5, 15.0];
    let blocks = Deviation::of_blocks(&weights, &quantize(&weights, Encoding::Asymmetric, Search::MinMax).unwrap());
    assert_eq!(blocks, Deviation { squared_error: 0.25, squared_weight: 225.25 });
    let sum: Deviation = [halves, blocks, halves].into_iter().sum();
    assert_eq!(sum, Deviation { squared_error: 0.75, squared_weight: 275.25 });
    assert_eq!(Deviation { squared_error: 0.0, squared_weight: 0.0 }.relative_rms(), 0.0);
}

#[test]
fn places_in_a_piece_count_from_the_blocks_before_it() {
    let of = |weights: &[f32]| quantize(weights, Encoding::Asymmetric, Search::MinMax).unwrap_err().after_blocks(10);
    let mut weights = [1.0; 70];
    weights[65] = f32::INFINITY;
    assert_eq!(of(&weights), QuantError::NonFinite { block: 12, index: 385, value: f32::INFINITY });
    weights[65] = -1e30;
    assert!(matches!(of(&weights), QuantError::Scale { block: 12, .. } | QuantError::Bias { block: 12, .. }));
}

/// Normally distributed numbers (Box and Muller, 1958).
fn gaussian(count: usize) -> Vec<f32> {
    use rand::{Rng, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut next = move || {
        let (radius, angle): (f64, f64) = (random.random(), random.random());
        (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    };
    (0..count).map(|_| (0.02 * next()) as f32).collect()
}

fn squared_error(weights: &[f32], blocks: &[Block]) -> f64 {
    let mut back = vec![0.0; weights.len()];
    dequantize(blocks, 0, &mut back);
    weights.iter().zip(back).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}

#[test]
fn the_search_saves_eight_percent_of_the_error_on_gaussian_weights() {
    let weights = gaussian(1 << 16);
    for encoding in [Encoding::Asymmetric, Encoding::Symmetric] {
        let rms = |search| squared_error(&weights, &quantize(&weights, encoding, search).unwrap()).sqrt();
        let ratio = rms(Search::LeastSquares) / rms(Search::MinMax);
        assert!(ratio < 0.92, "{encoding:?}: {ratio}");
    }
}

proptest! {
    #[test]
    fn rounding_is_that_of_the_standard_library(bits: u32, near in -20i32..20, off in -3i32..=3) {
        let half = (near as f32 + 0.5).to_bits().wrapping_add_signed(off);
        for x in [f32::from_bits(bits), f32::from_bits(half)] {
            if x.abs() < 1000.0 {
                prop_assert_eq!(codes::round(x), x.round(), "{:e}", x);
            }
        }
    }

    #[test]
    fn weights_come_back_within_half_a_step(
        weights in prop::collection::vec(-8.0f32..8.0, 1..100), symmetric: bool, searched: bool,
    ) {
        let encoding = if symmetric { Encoding::Symmetric } else { Encoding::Asymmetric };
        let plain = quantize(&weights, encoding, Search::MinMax).unwrap();
        prop_assert!(plain.iter().all(Block::is_sound));
        for (index, weight) in weights.iter().enumerate() {
            let block = &plain[index / BLOCK_LEN];
            let back = block.weights()[index % BLOCK_LEN];
            // Half precision moves the far end by up to 2⁻¹¹ of 15 scales, and by as much of the bias.
            let bound = block.scale().to_f32() * (0.5 + 15.0 / 2048.0) + block.bias().to_f32().abs() / 2048.0 + 1e-6;
            prop_assert!((back - weight).abs() <= bound, "{weight} became {back}, scale {}", block.scale());
        }
        if searched {
            let better = quantize(&weights, encoding, Search::LeastSquares).unwrap();
            prop_assert!(better.iter().all(Block::is_sound));
            prop_assert!(squared_error(&weights, &better) <= squared_error(&weights, &plain) * (1.0 + 1e-4) + 1e-12);
        }
    }

    #[test]
    fn any_part_of_a_tensor_can_be_decoded(length in 1usize..200, first in 0usize..200, count in 0usize..200) {
        let weights: Vec<f32> = (0..length).map(|i| (i * 37 % 101) as f32).collect();
        let (first, end) = (first.min(length), (first + count).min(length));
        let blocks = quantize(&weights, Encoding::Asymmetric, Search::MinMax).unwrap();
        let mut all = vec![0.0; length];
        dequantize(&blocks, 0, &mut all);
        let mut part = vec![0.0; end - first];
        dequantize(&blocks, first, &mut part);
        prop_assert_eq!(&part[..], &all[first..end]);
    }
}
