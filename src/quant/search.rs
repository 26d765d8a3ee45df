//! The scale and bias with the least squared error: lines of many steps are tried, and each is fitted to the codes it
//! gave, as ggml's k-quants do (`make_qkx2_quants`). All lines are tried side by side, one to a lane of vector registers.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::block::{BLOCK_LEN, Block};
use super::encode::{Encoding, extremes, integer, nearest_code};

/// Steps that the range of the weights is cut into: 15 leave no weight outside, more let the extremes be cut off, and
/// fewer leave codes unused.
const STEPS: [f32; LINES] =
    [14.0, 14.5, 15.0, 15.5, 16.0, 16.5, 17.0, 17.5, 18.0, 18.5, 19.0, 19.5, 20.0, 20.5, 21.0, 22.0];

/// Lines that are tried side by side.
const LINES: usize = 16;

/// Lines in one vector register of those that every x86-64 has: their sums then all stay in registers.
const LANES: usize = 4;

/// Fits of a line to the codes it gave, after the first.
const REFITS: usize = 2;

/// The block with the least squared error of those tried; `plain` is one of them.
pub(super) fn improve(padded: &[f32; BLOCK_LEN], count: usize, encoding: Encoding, plain: Block) -> Block {
    let weights = &padded[..count];
    let mut tried = [Tried::default(); REFITS + 1];
    let mut lines = Lines::first(weights, encoding);
    for tried in &mut tried {
        *tried = lines.try_on(weights, encoding);
        lines = lines.refit(tried, weights, encoding);
    }
    let mut least = error(weights, &plain);
    let mut best = None;
    for line in 0..LINES {
        for tried in &tried {
            if tried.errors[line] < least {
                least = tried.errors[line];
                best = Some((tried.lines.scales[line], tried.lines.biases[line]));
            }
        }
    }
    best.map_or(plain, |(scale, bias)| encode(padded, scale, bias))
}

/// Lines by scale and bias.
#[derive(Clone, Copy, Default)]
struct Lines {
    scales: [f32; LINES],
    biases: [f32; LINES],
}

/// Lines as they would be stored, and the sums over the weights at the codes that they give.
#[derive(Clone, Copy, Default)]
struct Tried {
    lines: Lines,
    /// Of the squared errors; infinite where half precision cannot hold the line.
    errors: [f32; LINES],
    codes: [f32; LINES],
    squares: [f32; LINES],
    products: [f32; LINES],
}

impl Lines {
    /// From the extreme weights, cut into so many steps.
    fn first(weights: &[f32], encoding: Encoding) -> Self {
        let (minimum, maximum) = extremes(weights);
        let (middle, largest) = (f32::midpoint(minimum, maximum), maximum.max(-minimum));
        let mut lines = Self::default();
        for (line, steps) in STEPS.into_iter().enumerate() {
            (lines.scales[line], lines.biases[line]) = match encoding {
                // Half of what is cut off on either side.
                Encoding::Asymmetric => {
                    let scale = (maximum - minimum) / steps;
                    (scale, middle - 7.5 * scale)
                }
                Encoding::Symmetric => symmetric(2.0 * largest / steps),
            };
        }
        lines
    }

    /// Puts the weights on the nearest codes of each line as it would be stored.
    fn try_on(&self, weights: &[f32], encoding: Encoding) -> Tried {
        let mut tried = Tried { lines: *self, ..Tried::default() };
        let stored = Self { scales: in_half(&self.scales), biases: in_half(&self.biases) };
        let centre = centre(encoding);
        for line in (0..LINES).step_by(LANES) {
            let sums = Sums::of(weights, four(&stored.scales, line), four(&stored.biases, line), centre);
            tried.errors[line..line + LANES].copy_from_slice(&sums.errors);
            tried.codes[line..line + LANES].copy_from_slice(&sums.codes);
            tried.squares[line..line + LANES].copy_from_slice(&sums.squares);
            tried.products[line..line + LANES].copy_from_slice(&sums.products);
        }
        for line in 0..LINES {
            let (scale, bias) = (stored.scales[line], stored.biases[line]);
            if !(scale.is_finite() && scale > 0.0 && bias.is_finite()) {
                tried.errors[line] = f32::INFINITY;
            }
        }
        tried
    }

    /// The lines through the weights at the codes that were tried with the least squares. One that could not be stored
    /// is not tried again.
    fn refit(&self, tried: &Tried, weights: &[f32], encoding: Encoding) -> Self {
        let (count, sum) = (weights.len() as f32, weights.iter().sum::<f32>());
        let mut lines = Self::default();
        for line in 0..LINES {
            let (codes, squares, products) = (tried.codes[line], tried.squares[line], tried.products[line]);
            let (scale, bias) = match encoding {
                Encoding::Symmetric => symmetric(products / squares),
                Encoding::Asymmetric => {
                    let scale = (count * products - codes * sum) / (count * squares - codes * codes);
                    (scale, (sum - scale * codes) / count)
                }
            };
            let given_up = tried.errors[line] == f32::INFINITY;
            (lines.scales[line], lines.biases[line]) = if given_up { (f32::NAN, f32::NAN) } else { (scale, bias) };
        }
        lines
    }
}

/// Sums over the weights of some lines.
struct Sums {
    errors: [f32; LANES],
    codes: [f32; LANES],
    squares: [f32; LANES],
    products: [f32; LANES],
}

impl Sums {
    fn of(weights: &[f32], scales: [f32; LANES], biases: [f32; LANES], centre: f32) -> Self {
        let inverses = scales.map(|scale| 1.0 / scale);
        let zero = [0.0; LANES];
        let mut sums = Self { errors: zero, codes: zero, squares: zero, products: zero };
        for &weight in weights {
            for lane in 0..LANES {
                let code = nearest_code((weight - biases[lane]) * inverses[lane]);
                let error = code * scales[lane] + biases[lane] - weight;
                let code = code - centre;
                sums.errors[lane] += error * error;
                sums.codes[lane] += code;
                sums.squares[lane] += code * code;
                sums.products[lane] += code * weight;
            }
        }
        sums
    }
}

fn four(all: &[f32; LINES], first: usize) -> [f32; LANES] {
    std::array::from_fn(|lane| all[first + lane])
}

/// What half precision makes of numbers.
fn in_half(numbers: &[f32; LINES]) -> [f32; LINES] {
    let (mut halves, mut rounded) = ([f16::ZERO; LINES], [0.0; LINES]);
    halves.convert_from_f32_slice(numbers);
    halves.convert_to_f32_slice(&mut rounded);
    rounded
}

fn symmetric(scale: f32) -> (f32, f32) {
    (scale, -8.0 * scale)
}

/// The code that stands for zero, or that sums count codes from.
fn centre(encoding: Encoding) -> f32 {
    if encoding == Encoding::Symmetric { 8.0 } else { 0.0 }
}

/// The nearest codes to what will be stored.
fn encode(padded: &[f32; BLOCK_LEN], scale: f32, bias: f32) -> Block {
    let (scale, bias) = (f16::from_f32(scale), f16::from_f32(bias));
    let (inverse, offset) = (1.0 / scale.to_f32(), bias.to_f32());
    Block::new(scale, bias, padded.map(|weight| integer(nearest_code((weight - offset) * inverse))))
}

/// The sum of the squared errors.
fn error(weights: &[f32], block: &Block) -> f32 {
    weights.iter().zip(block.weights()).map(|(weight, stored)| (stored - weight) * (stored - weight)).sum()
}
