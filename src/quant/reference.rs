//! The format written down as plainly as it can be, one weight after the other, to compare the fast code with.

use half::f16;
use proptest::prelude::*;

use super::*;

fn reference(weights: &[f32], encoding: Encoding) -> Option<Block> {
    let first = |better: fn(f32, f32) -> bool| {
        weights.iter().copied().reduce(|found, weight| if better(weight, found) { weight } else { found }).unwrap()
    };
    let minimum = first(|a, b| a < b);
    let mut scale = match encoding {
        Encoding::Asymmetric => (first(|a, b| a > b) - minimum) / 15.0,
        Encoding::Symmetric => weights.iter().map(|weight| weight.abs()).fold(0.0, f32::max) / 7.0,
    };
    if scale < 1.0 && f16::from_f32(scale) <= f16::ZERO {
        scale = 1.0;
    }
    let inverse = 1.0 / scale;
    let code = |weight: f32| match encoding {
        Encoding::Asymmetric => ((weight - minimum) * inverse).round().clamp(0.0, 15.0) as u8,
        Encoding::Symmetric => ((weight * inverse).round() + 8.0).clamp(0.0, 15.0) as u8,
    };
    let bias = if encoding == Encoding::Symmetric { -8.0 * scale } else { minimum };
    let (scale, bias) = (f16::from_f32(scale), f16::from_f32(bias));
    let mut codes = [0; BLOCK_LEN];
    for (index, slot) in codes.iter_mut().enumerate() {
        *slot = code(weights.get(index).copied().unwrap_or(0.0));
    }
    (scale.is_finite() && scale > f16::ZERO && bias.is_finite()).then(|| Block::new(scale, bias, codes))
}

/// A line that has been tried: its scale and bias, its squared error, and the sums of the codes, of their squares and of
/// their products with the weights.
type Tried = ([f32; 2], f32, [f32; 3]);

fn try_on(weights: &[f32], scale: f32, bias: f32) -> Option<Tried> {
    let (scale, bias) = (f16::from_f32(scale).to_f32(), f16::from_f32(bias).to_f32());
    let (mut error, mut sums) = (0.0, [0.0; 3]);
    for &weight in weights {
        let steps = (weight - bias) * (1.0 / scale);
        let code = steps.clamp(0.0, 15.0).round_ties_even();
        error += (code - steps) * (code - steps);
        sums = [sums[0] + code, sums[1] + code * code, sums[2] + code * weight];
    }
    let error = error * scale * scale;
    let storable = scale.is_finite() && scale > 0.0 && bias.is_finite();
    (storable && error < f32::INFINITY).then_some(([scale, bias], error, sums))
}

/// The search, one line after the other.
fn searched(weights: &[f32], encoding: Encoding) -> Option<Block> {
    let plain = reference(weights, encoding)?;
    let (count, sum) = (weights.len() as f32, weights.iter().sum::<f32>());
    let minimum = weights.iter().copied().fold(f32::INFINITY, f32::min);
    let maximum = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let first = |steps: f32| match encoding {
        Encoding::Asymmetric => {
            let scale = (maximum - minimum) / steps;
            (scale, f32::midpoint(minimum, maximum) - 7.5 * scale)
        }
        Encoding::Symmetric => {
            let scale = 2.0 * maximum.max(-minimum) / steps;
            (scale, -8.0 * scale)
        }
    };
    let fit = |[codes, squares, products]: [f32; 3]| match encoding {
        Encoding::Asymmetric => {
            let scale = (count * products - codes * sum) / (count * squares - codes * codes);
            (scale, (sum - scale * codes) / count)
        }
        Encoding::Symmetric => {
            let scale = (products - 8.0 * sum) / (squares - 16.0 * codes + 64.0 * count);
            (scale, -8.0 * scale)
        }
    };
    let better = |best: Option<Tried>, other: Option<Tried>| match (best, other) {
        (Some(best), Some(other)) => Some(if other.1 < best.1 { other } else { best }),
        (best, other) => best.or(other),
    };
    let mut best = None;
    for starts in [[14.5, 15.25], [16.0, 16.75], [17.5, 18.25], [19.0, 20.0]] {
        let starts = starts.map(first).map(|(scale, bias)| try_on(weights, scale, bias));
        let mut found = better(starts[0], starts[1]);
        for _ in 0..4 {
            let Some((_, _, sums)) = found else { break };
            let (scale, bias) = fit(sums);
            found = better(found, try_on(weights, scale, bias));
        }
        best = better(best, found);
    }
    let Some(([scale, bias], ..)) = best else { return Some(plain) };
    let mut codes = [0; BLOCK_LEN];
    for (index, slot) in codes.iter_mut().enumerate() {
        let weight = weights.get(index).copied().unwrap_or(0.0);
        *slot = ((weight - bias) * (1.0 / scale)).round().clamp(0.0, 15.0) as u8;
    }
    let found = Block::new(f16::from_f32(scale), f16::from_f32(bias), codes);
    let error = |block: &Block| weights.iter().zip(block.weights()).map(|(a, b)| (b - a) * (b - a)).sum::<f32>();
    Some(if error(&found) < error(&plain) { found } else { plain })
}

/// Weights of all sizes: smooth ones, ones that lie on a grid with many ties and both zeros, and any bits at all.
fn weights() -> impl Strategy<Value = Vec<f32>> {
    let smooth = (-20i32..16).prop_flat_map(|exponent| {
        let size = f32::powi(2.0, exponent);
        prop::collection::vec(-size..size, 1..=BLOCK_LEN)
    });
    let grid = (-26i32..8).prop_flat_map(|exponent| {
        let step = f32::powi(2.0, exponent);
        prop::collection::vec((-16i32..=16, any::<bool>()), 1..=BLOCK_LEN).prop_map(move |weights| {
            weights.into_iter().map(|(n, negative)| if negative { -(n as f32) } else { n as f32 } * step).collect()
        })
    });
    let any = prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 1..=BLOCK_LEN)
        .prop_map(|weights| weights.into_iter().map(|weight| if weight.is_finite() { weight } else { 0.5 }).collect());
    prop_oneof![smooth, grid, any]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn every_block_is_what_the_plain_formula_gives(weights in weights(), symmetric: bool) {
        let encoding = if symmetric { Encoding::Symmetric } else { Encoding::Asymmetric };
        let fast = |search| quantize(&weights, encoding, search).ok().map(|blocks| blocks[0]);
        prop_assert_eq!(fast(Search::MinMax), reference(&weights, encoding));
        prop_assert_eq!(fast(Search::LeastSquares), searched(&weights, encoding));
    }

    #[test]
    fn the_deviation_is_the_sum_of_squares(weights in prop::collection::vec(-8.0f32..8.0, 1..200)) {
        let blocks = quantize(&weights, Encoding::Asymmetric, Search::MinMax).unwrap();
        let mut back = vec![0.0; weights.len()];
        dequantize(&blocks, 0, &mut back);
        let squared_error: f64 = weights.iter().zip(&back).map(|(a, b)| f64::from(b - a).powi(2)).sum();
        let squared_weight: f64 = weights.iter().map(|&weight| f64::from(weight).powi(2)).sum();
        let deviation = Deviation::of_blocks(&weights, &blocks);
        prop_assert!((deviation.squared_error - squared_error).abs() <= 1e-12 * squared_error);
        prop_assert!((deviation.squared_weight - squared_weight).abs() <= 1e-12 * squared_weight);
    }
}
