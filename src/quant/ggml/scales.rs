//! The scales and minima that Q4_K and Q5_K share: six bits each, of eight sub-blocks, in twelve bytes.

use half::f16;

/// The scale and the minimum of each sub-block. Those of the first four are the low six bits of a byte each; of the last
/// four, the low four bits lie together in a byte, and the two high ones above those of the first four.
#[inline(always)]
pub(crate) fn scales_and_mins(scales: &[u8; 12]) -> [(u8, u8); 8] {
    std::array::from_fn(|j| match j {
        ..4 => (scales[j] & 63, scales[j + 4] & 63),
        _ => {
            let (high_scale, high_min) = (scales[j - 4] >> 6, scales[j] >> 6);
            (scales[j + 4] & 15 | high_scale << 4, scales[j + 4] >> 4 | high_min << 4)
        }
    })
}

/// What the codes of each sub-block are multiplied with, and what is subtracted then.
#[inline(always)]
pub(super) fn lines(d: f16, dmin: f16, scales: &[u8; 12]) -> [(f32, f32); 8] {
    let (d, dmin) = (d.to_f32(), dmin.to_f32());
    scales_and_mins(scales).map(|(scale, min)| (d * f32::from(scale), dmin * f32::from(min)))
}
