//! The exponential function and what is made of it, in arithmetic that vectorises and rounds alike everywhere.
//!
//! 1. `n = round(x / ln 2)`, by adding and subtracting 1.5 * 2^23.
//! 2. `r = x - n ln 2`, with ln 2 in two parts of which the first times `n` is exact.
//! 3. `e^r` by the polynomial of Cephes' `expf`, on `|r| <= ln 2 / 2`.
//! 4. Times `2^n` in two steps, so that overflow reaches infinity and subnormal results are rounded once.

/// `e^x`, within 2 units in the last place; 0 and infinity beyond the range of `f32`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    // Beyond these the result is 0 or infinity, and `n` would leave the range of exponents.
    let x = x.clamp(-104.0, 89.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5e-1;
    p = p * (r * r) + r + 1.0;
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = n >> 1;
    p * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `2^n` for exponents of normal numbers.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// What [`silu`] costs, in elements of an elementwise kernel: an exponential and a division.
pub(super) const SILU_COST: usize = 3;

/// `x sigmoid(x)`.
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// `ln(1 + e^x)`, or `x` from where they agree to working precision. One logarithm of the standard library: for
/// values that are few.
#[inline(always)]
pub(super) fn softplus(x: f32) -> f32 {
    if x > 20.0 { x } else { exp(x).ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The distance in units in the last place of the exact value.
    fn ulps(got: f32, exact: f64) -> f64 {
        let nearest = exact as f32;
        let ulp = f64::from(nearest.next_up()) - f64::from(nearest);
        (f64::from(got) - exact).abs() / ulp
    }

    #[test]
    fn exp_is_within_two_ulps() {
        let mut x = -103.0_f32;
        while x < 88.7 {
            let error = ulps(exp(x), f64::from(x).exp());
            assert!(error <= 2.0, "exp({x}) is {error} ulps off");
            x += 0.000_937;
        }
    }

    #[test]
    fn exp_at_the_edges() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY).to_bits(), 0);
        assert_eq!(exp(f32::MAX), f32::INFINITY);
        assert_eq!(exp(f32::MIN).to_bits(), 0);
        assert_eq!(exp(88.73), f32::INFINITY);
        assert!(exp(88.72).is_finite());
        assert!(exp(-103.2) > 0.0);
        assert_eq!(exp(f32::MIN_POSITIVE), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn gates_agree_with_f64() {
        for i in -2000..2000 {
            let x = i as f32 * 0.05;
            let wide = f64::from(x);
            let exact = 1.0 / (1.0 + (-wide).exp());
            assert!((f64::from(sigmoid(x)) - exact).abs() <= 4e-7 * exact + 1e-36);
            assert!((f64::from(silu(x)) - wide * exact).abs() <= 4e-7 * (wide * exact).abs() + 1e-36);
            let exact = wide.exp().ln_1p();
            assert!((f64::from(softplus(x)) - exact).abs() <= 4e-7 * exact + 1e-36);
        }
    }
}
