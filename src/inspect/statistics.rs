//! How the values of a tensor are distributed: whether its rows lie about zero, and how far out its largest values lie.

/// From this [asymmetry](Statistics::asymmetry) on, codes that need not lie about zero are worth their bias.
pub const MATERIAL_ASYMMETRY: f64 = 0.05;

/// Figures of a tensor. A row is all that shares the outermost index; a tensor of one dimension is one row.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// The largest size.
    pub abs_max: f64,
    /// The mean.
    pub mean: f64,
    /// The root of the mean square.
    pub rms: f64,
    /// The mean, over rows, of the size of a row's mean.
    pub mean_abs_row_mean: f64,
    /// The fourth central moment in squared variances, less the 3 of a normal distribution; `None` where all values are
    /// the same.
    pub excess_kurtosis: Option<f64>,
}

impl Statistics {
    /// How far rows lie from being symmetric about zero: the mean size of a row's mean, as a share of the largest value.
    #[must_use]
    pub fn asymmetry(&self) -> f64 {
        if self.abs_max == 0.0 { 0.0 } else { self.mean_abs_row_mean / self.abs_max }
    }

    /// Whether the asymmetry is worth a bias in every block.
    #[must_use]
    pub fn is_asymmetric(&self) -> bool {
        self.asymmetry() >= MATERIAL_ASYMMETRY
    }

    /// The largest value in root mean squares: how far out the furthest outlier lies. 0 where all values are.
    #[must_use]
    pub fn max_over_rms(&self) -> f64 {
        if self.rms == 0.0 { 0.0 } else { self.abs_max / self.rms }
    }
}

/// As many as leave room in the vector registers that every x86-64 has.
const LANES: usize = 4;

/// Sums over consecutive elements, which need not begin or end where rows do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums {
    /// Of the first to the fourth powers.
    powers: [f64; 4],
    abs_max: f32,
    /// Of the elements before the first row that begins here.
    head: f64,
    /// Of the sizes of the sums of rows that lie here from their first to their last element.
    rows: f64,
    /// Of the last row that begins here, as far as it lies here; `None` if none begins.
    tail: Option<f64>,
}

impl Sums {
    /// Of no elements.
    pub(super) const NONE: Self = Self { powers: [0.0; 4], abs_max: 0.0, head: 0.0, rows: 0.0, tail: None };

    /// Of `values`, the first of which has the flat index `start` in a tensor whose rows have `width` elements.
    pub(super) fn of(values: &[f32], start: usize, width: usize) -> Self {
        let mut sums = Self::NONE;
        let (mut rest, mut at) = (values, start);
        while !rest.is_empty() {
            let (part, after) = rest.split_at((width - at % width).min(rest.len()));
            let (powers, abs_max) = sums_of_powers(part);
            let begins = at.is_multiple_of(width);
            let part_sums = Self {
                powers,
                abs_max,
                head: if begins { 0.0 } else { powers[0] },
                rows: 0.0,
                tail: begins.then_some(powers[0]),
            };
            sums = sums.then(part_sums);
            (rest, at) = (after, at + part.len());
        }
        sums
    }

    /// Of these elements and the ones behind them.
    pub(super) fn then(self, next: Self) -> Self {
        let (head, rows, tail) = match (self.tail, next.tail) {
            (None, _) => (self.head + next.head, next.rows, next.tail),
            (Some(tail), None) => (self.head, self.rows, Some(tail + next.head)),
            (Some(tail), Some(_)) => (self.head, self.rows + (tail + next.head).abs() + next.rows, next.tail),
        };
        Self {
            powers: std::array::from_fn(|power| self.powers[power] + next.powers[power]),
            abs_max: self.abs_max.max(next.abs_max),
            head,
            rows,
            tail,
        }
    }

    /// The figures of a tensor of `count` elements, above 0, that these are the sums of.
    pub(super) fn statistics(&self, count: usize) -> Statistics {
        /// Below this share of the mean square, a variance is nothing but rounding.
        const ROUNDING: f64 = 1e-10;
        let count = count as f64;
        let [mean, square, cube, fourth] = self.powers.map(|power| power / count);
        let variance = square - mean * mean;
        let central = fourth - 4.0 * mean * cube + 6.0 * mean * mean * square - 3.0 * mean.powi(4);
        Statistics {
            abs_max: f64::from(self.abs_max),
            mean,
            rms: square.sqrt(),
            // Rows are of one width, so the mean of their means is the sum of their sums by the number of elements.
            mean_abs_row_mean: (self.rows + self.tail.unwrap_or(0.0).abs()) / count,
            excess_kurtosis: (variance > ROUNDING * square).then(|| central / (variance * variance) - 3.0),
        }
    }
}

/// Sums of the first to the fourth powers, and the largest size.
fn sums_of_powers(values: &[f32]) -> ([f64; 4], f32) {
    let (mut sums, mut sizes) = ([[0.0; LANES]; 4], [0.0f32; LANES]);
    let mut add = |lane: usize, value: f32| {
        let single = f64::from(value);
        let square = single * single;
        sums[0][lane] += single;
        sums[1][lane] += square;
        sums[2][lane] += square * single;
        sums[3][lane] += square * square;
        let size = value.abs();
        sizes[lane] = if size > sizes[lane] { size } else { sizes[lane] };
    };
    let (whole, rest) = values.as_chunks::<LANES>();
    for values in whole {
        for (lane, &value) in values.iter().enumerate() {
            add(lane, value);
        }
    }
    for (lane, &value) in rest.iter().enumerate() {
        add(lane, value);
    }
    (sums.map(|lanes| lanes.iter().sum()), sizes.into_iter().fold(0.0, f32::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_depend_on_where_elements_were_cut() {
        let values: Vec<f32> = (0..60).map(|index| ((index * 7) % 13) as f32 - 4.0).collect();
        for width in [1, 4, 5, 12, 60] {
            let whole = Sums::of(&values, 0, width).statistics(60);
            let rows: f64 = values.chunks(width).map(|row| f64::from(row.iter().sum::<f32>()).abs()).sum();
            assert_eq!(whole.mean_abs_row_mean, rows / 60.0, "width {width}");
            for cuts in [[1, 2], [4, 5], [7, 31], [12, 24], [30, 59]] {
                let parts = [&values[..cuts[0]], &values[cuts[0]..cuts[1]], &values[cuts[1]..]];
                let parts = [0, cuts[0], cuts[1]].into_iter().zip(parts).map(|(at, part)| Sums::of(part, at, width));
                assert_eq!(parts.fold(Sums::NONE, Sums::then).statistics(60), whole, "width {width}, cuts {cuts:?}");
            }
        }
    }
}
