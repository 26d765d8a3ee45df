//! The scale and bias with the least squared error: lines of many steps are tried, and the best are fitted to the codes
//! that they gave, as ggml's k-quants do (`make_qkx2_quants`). Lines are tried side by side, one to a lane of vector
//! registers.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::block::{BLOCK_LEN, Block};
use super::codes::{Encoding, extremes, integer, nearest_code, nearest_even_code};

/// Lines in one vector register of those that every x86-64 has: their sums then all stay in registers.
const LANES: usize = 4;

/// One number for each line.
type Lanes = [f32; LANES];

/// Steps that the range of the weights is cut into: 15 leave no weight outside, more let the extremes be cut off, and
/// fewer leave codes unused. Of each lane the better is fitted, since fits that start close to each other end alike.
const STEPS: [Lanes; 2] = [[14.5, 16.0, 17.5, 19.0], [15.25, 16.75, 18.25, 20.0]];

/// Fits of a line to the codes that it gave. Of the demo, the root mean square error with asymmetric codes is 7.12 % after
/// four, and 7.09 and 7.08 % after six and twelve.
const FITS: usize = 4;

/// The block with the least squared error of those tried; `plain` is one of them.
pub(super) fn improve(padded: &[f32; BLOCK_LEN], count: usize, encoding: Encoding, plain: Block) -> Block {
    let weights = Weights { all: &padded[..count], sum: padded[..count].iter().sum(), encoding };
    let mut best = Tried::NONE;
    for lines in weights.first() {
        best.keep_better(lines.try_on(weights.all));
    }
    for _ in 0..FITS {
        best.keep_better(weights.fit(&best).try_on(weights.all));
    }
    let least = (0..LANES).min_by(|a, b| best.errors[*a].total_cmp(&best.errors[*b]));
    let least = least.filter(|line| best.errors[*line].is_finite());
    let found = least.map(|line| encode(padded, best.lines.scales[line], best.lines.biases[line]));
    found.filter(|found| error(weights.all, found) < error(weights.all, &plain)).unwrap_or(plain)
}

/// The weights of a block and what all lines need to know of them.
struct Weights<'a> {
    all: &'a [f32],
    sum: f32,
    encoding: Encoding,
}

/// Lines by scale and bias, as they would be stored.
#[derive(Clone, Copy)]
struct Lines {
    scales: Lanes,
    biases: Lanes,
}

/// Lines, and the sums over the weights at the nearest codes.
#[derive(Clone, Copy)]
struct Tried {
    lines: Lines,
    /// Of the squared errors; finite only where half precision can hold the line.
    errors: Lanes,
    codes: Lanes,
    squares: Lanes,
    products: Lanes,
}

impl Weights<'_> {
    /// From the extreme weights, cut into so many steps.
    fn first(&self) -> [Lines; STEPS.len()] {
        let (minimum, maximum) = extremes(self.all);
        let (middle, largest) = (f32::midpoint(minimum, maximum), maximum.max(-minimum));
        STEPS.map(|steps| match self.encoding {
            // Half of what is cut off on either side.
            Encoding::Asymmetric => {
                let scales = steps.map(|steps| (maximum - minimum) / steps);
                Lines::stored(scales, scales.map(|scale| middle - 7.5 * scale))
            }
            Encoding::Symmetric => Lines::symmetric(steps.map(|steps| 2.0 * largest / steps)),
        })
    }

    /// The lines through the weights at the codes that were tried with the least squares.
    fn fit(&self, Tried { codes, squares, products, .. }: &Tried) -> Lines {
        let (count, sum) = (self.all.len() as f32, self.sum);
        match self.encoding {
            // About code 8, which stands for zero.
            Encoding::Symmetric => Lines::symmetric(std::array::from_fn(|line| {
                (products[line] - 8.0 * sum) / (squares[line] - 16.0 * codes[line] + 64.0 * count)
            })),
            Encoding::Asymmetric => {
                let scales: Lanes = std::array::from_fn(|line| {
                    (count * products[line] - codes[line] * sum) / (count * squares[line] - codes[line] * codes[line])
                });
                Lines::stored(scales, std::array::from_fn(|line| (sum - scales[line] * codes[line]) / count))
            }
        }
    }
}

impl Lines {
    fn stored(scales: Lanes, biases: Lanes) -> Self {
        Self { scales: in_half(scales), biases: in_half(biases) }
    }

    fn symmetric(scales: Lanes) -> Self {
        Self::stored(scales, scales.map(|scale| -8.0 * scale))
    }

    /// Puts the weights on the nearest codes of each line.
    fn try_on(self, weights: &[f32]) -> Tried {
        let Self { scales, biases } = self;
        let inverses = scales.map(|scale| 1.0 / scale);
        let mut tried = Tried { lines: self, errors: [0.0; LANES], ..Tried::NONE };
        for &weight in weights {
            for line in 0..LANES {
                let steps = (weight - biases[line]) * inverses[line];
                let code = nearest_even_code(steps);
                let miss = code - steps;
                tried.errors[line] += miss * miss;
                tried.codes[line] += code;
                tried.squares[line] += code * code;
                tried.products[line] += code * weight;
            }
        }
        for (error, scale) in tried.errors.iter_mut().zip(scales) {
            // What half precision cannot hold is infinite by now, and makes the error so, or not a number.
            *error = if scale > 0.0 { *error * scale * scale } else { f32::INFINITY };
        }
        tried
    }
}

impl Tried {
    const NONE: Self = Self {
        lines: Lines { scales: [0.0; LANES], biases: [0.0; LANES] },
        errors: [f32::INFINITY; LANES],
        codes: [0.0; LANES],
        squares: [0.0; LANES],
        products: [0.0; LANES],
    };

    /// Of each lane the line with the lesser error.
    fn keep_better(&mut self, other: Self) {
        for line in 0..LANES {
            let better = other.errors[line] < self.errors[line];
            let keep = |to: &mut Lanes, from: &Lanes| to[line] = if better { from[line] } else { to[line] };
            keep(&mut self.lines.scales, &other.lines.scales);
            keep(&mut self.lines.biases, &other.lines.biases);
            keep(&mut self.errors, &other.errors);
            keep(&mut self.codes, &other.codes);
            keep(&mut self.squares, &other.squares);
            keep(&mut self.products, &other.products);
        }
    }
}

/// What half precision makes of numbers.
fn in_half(numbers: Lanes) -> Lanes {
    let (mut halves, mut rounded) = ([f16::ZERO; LANES], [0.0; LANES]);
    halves.convert_from_f32_slice(&numbers);
    halves.convert_to_f32_slice(&mut rounded);
    rounded
}

/// The nearest codes to what will be stored.
fn encode(padded: &[f32; BLOCK_LEN], scale: f32, bias: f32) -> Block {
    let inverse = 1.0 / scale;
    let codes = padded.map(|weight| integer(nearest_code((weight - bias) * inverse)));
    Block::new(f16::from_f32(scale), f16::from_f32(bias), codes)
}

/// The sum of the squared errors.
fn error(weights: &[f32], block: &Block) -> f32 {
    weights.iter().zip(block.weights()).map(|(weight, stored)| (stored - weight) * (stored - weight)).sum()
}
