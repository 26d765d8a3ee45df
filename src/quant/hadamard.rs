//! Random rotations: a Hadamard matrix after random signs, in double precision ("QuaRot", Ashkboos et al., 2024).
//!
//! A rotation spreads what a few outliers hold over all elements, which four bits then lose less of. The order of the
//! operations is part of the format: other programs make the same bits.

/// The orthogonal matrix `R = H · D` of a power of two: `D` is a diagonal of signs, drawn from a seed, and `H` is
/// Sylvester's Hadamard matrix over the root of its size.
///
/// ```
/// use loquent::quant::Rotation;
///
/// let rotation = Rotation::new(0, 4).expect("a power of two");
/// let mut row = [1.0, 2.0, 3.0, 4.0];
/// rotation.rotate_rows(&mut row);
/// // Signs + - + -, then sums and differences, halved.
/// assert_eq!(row, [-1.0, 5.0, 0.0, -2.0]);
/// ```
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The diagonal of `D`.
    signs: Vec<f64>,
    /// `1 / √n`
    scale: f64,
}

impl Rotation {
    /// The rotation of vectors of `size` elements that `seed` draws; `None` if `size` is no power of two.
    #[must_use]
    pub fn new(seed: u64, size: usize) -> Option<Self> {
        let scale = 1.0 / (size as f64).sqrt();
        size.is_power_of_two().then(|| Self { signs: signs(seed, size), scale })
    }

    /// The length of a vector.
    #[must_use]
    pub fn size(&self) -> usize {
        self.signs.len()
    }

    /// Turns every row of a matrix `[any, size]` into `R · row`.
    ///
    /// # Panics
    /// If the rows are not whole.
    pub fn rotate_rows(&self, values: &mut [f64]) {
        let size = self.size();
        assert!(values.len().is_multiple_of(size), "{} elements in rows of {size}", values.len());
        for row in values.chunks_exact_mut(size) {
            for (value, sign) in row.iter_mut().zip(&self.signs) {
                *value *= sign;
            }
            let (eights, rest) = row.as_chunks_mut();
            eights.iter_mut().for_each(short_butterflies);
            let span = if rest.is_empty() { EIGHT } else { 1 };
            butterflies(row, span);
            row.iter_mut().for_each(|value| *value *= self.scale);
        }
    }

    /// Turns every column of a matrix `[size, width]` into `R · column`.
    ///
    /// # Panics
    /// If the columns are not of that size.
    pub fn rotate_columns(&self, values: &mut [f64], width: usize) {
        assert_eq!(values.len(), self.size() * width, "columns of {}", self.size());
        if width == 0 {
            return;
        }
        for (row, sign) in values.chunks_exact_mut(width).zip(&self.signs) {
            row.iter_mut().for_each(|value| *value *= sign);
        }
        butterflies(values, width);
        values.iter_mut().for_each(|value| *value *= self.scale);
    }
}

/// Sums and differences of values that are `span` apart, then twice as far, until there are none.
fn butterflies(values: &mut [f64], mut span: usize) {
    while span < values.len() {
        for pair in values.chunks_exact_mut(2 * span) {
            let (left, right) = pair.split_at_mut(span);
            for (left, right) in left.iter_mut().zip(right) {
                (*left, *right) = (*left + *right, *left - *right);
            }
        }
        span *= 2;
    }
}

const EIGHT: usize = 8;

/// The butterflies of eight values, whose spans are too short for the loops of the longer ones to become vector code.
fn short_butterflies(values: &mut [f64; EIGHT]) {
    for span in [1, 2, 4] {
        let before = *values;
        for (index, value) in values.iter_mut().enumerate() {
            let other = before[index ^ span];
            *value = if index & span == 0 { before[index] + other } else { other - before[index] };
        }
    }
}

/// Signs by SplitMix64 (Steele et al., "Fast Splittable Pseudorandom Number Generators", 2014): plus where a number is even.
fn signs(seed: u64, count: usize) -> Vec<f64> {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    // The first number is passed over.
    let mut state = seed.wrapping_add(STEP);
    let sign = |_| {
        state = state.wrapping_add(STEP);
        let mut mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        if mixed.is_multiple_of(2) { 1.0 } else { -1.0 }
    };
    (0..count).map(sign).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signs_in_words(seed: u64) -> String {
        signs(seed, 16).iter().map(|sign| if *sign > 0.0 { '+' } else { '-' }).collect()
    }

    #[test]
    fn signs_are_those_of_the_format() {
        assert_eq!(signs_in_words(0), "+-+-+-+-+-+-----");
        assert_eq!(signs_in_words(0xc0_ffee), "--++----+-++----");
    }

    #[test]
    fn only_powers_of_two_have_a_rotation() {
        assert!([1, 2, 4, 1 << 12].into_iter().all(|size| Rotation::new(7, size).is_some()));
        assert!([0, 3, 12, 56, 1000].into_iter().all(|size| Rotation::new(7, size).is_none()));
    }

    /// `R` by its definition: the sign of an element of `H` is the parity of the bits that its row and column share.
    fn by_definition(rotation: &Rotation, vector: &[f64]) -> Vec<f64> {
        let element = |row: usize, column: usize| {
            let parity = if (row & column).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
            parity * rotation.signs[column] * vector[column]
        };
        let size = vector.len();
        let row = |row| (0..size).map(|column| element(row, column)).sum::<f64>() / (size as f64).sqrt();
        (0..size).map(row).collect()
    }

    proptest! {
        #[test]
        fn rows_are_multiplied_with_an_orthogonal_matrix(
            seed: u64,
            exponent in 0u32..9,
            values in prop::collection::vec(-8.0f64..8.0, 512),
        ) {
            let size = 1usize << exponent;
            let rotation = Rotation::new(seed, size).unwrap();
            let mut rotated = values.clone();
            rotation.rotate_rows(&mut rotated);
            for (row, rotated) in values.chunks(size).zip(rotated.chunks(size)) {
                let length = |row: &[f64]| row.iter().map(|value| value * value).sum::<f64>();
                prop_assert!((length(row) - length(rotated)).abs() <= 1e-12 * length(row));
                for (expected, found) in by_definition(&rotation, row).into_iter().zip(rotated) {
                    prop_assert!((expected - found).abs() < 1e-11, "{expected} {found}");
                }
            }
        }

        #[test]
        fn columns_become_what_rows_become_to_the_bit(
            seed: u64,
            exponent in 0u32..7,
            width in 1usize..9,
            values in prop::collection::vec(-8.0f64..8.0, 512),
        ) {
            let size = 1usize << exponent;
            let rotation = Rotation::new(seed, size).unwrap();
            let mut columns = values[..size * width].to_vec();
            let mut rows: Vec<f64> =
                (0..width * size).map(|index| columns[index % size * width + index / size]).collect();
            rotation.rotate_columns(&mut columns, width);
            rotation.rotate_rows(&mut rows);
            for (index, value) in rows.into_iter().enumerate() {
                prop_assert_eq!(value.to_bits(), columns[index % size * width + index / size].to_bits());
            }
        }
    }
}
