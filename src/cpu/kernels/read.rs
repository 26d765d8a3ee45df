//! Reads memory and does as little else as possible: what the bandwidth is measured with.

use super::isa::Isa;
use super::simd::per_isa;

/// How far ahead memory is asked for, as the product that streams weights does.
const AHEAD: usize = 16 * 1024;

/// Reads every byte once, on the calling thread, and returns something that depends on all of them.
#[must_use]
pub fn read(isa: Isa, bytes: &[u8]) -> u64 {
    let mut sum = [0; 8];
    fold(isa, bytes.as_chunks().0, &mut sum);
    sum.iter().fold(0, |sum, part| sum ^ part)
}

per_isa! {
    fn fold(simd, lines: &[[u8; 64]], sum: &mut [u64; 8]) {
        for line in lines {
            simd.prefetch(line.as_ptr().wrapping_add(AHEAD));
            for (sum, word) in sum.iter_mut().zip(line.as_chunks::<8>().0) {
                *sum ^= u64::from_ne_bytes(*word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_counts() {
        let mut bytes = vec![0; 640];
        for isa in Isa::available() {
            for word in 0..80 {
                bytes[8 * word] = 1;
                assert_eq!(read(isa, &bytes), u64::from_ne_bytes([1, 0, 0, 0, 0, 0, 0, 0]));
                bytes[8 * word] = 0;
            }
        }
    }
}
