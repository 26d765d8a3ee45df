//! What is around the header and the caches: the magic, the version, their lengths, and the checksum.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::error::SnapshotError;

const MAGIC: &[u8; 8] = b"LOQUSNAP";
const VERSION: u32 = 2;
/// The bytes before the header.
pub(super) const PREFIX: usize = 24;
const CHECKSUM: usize = 32;
/// As much as a conversation may be read from, and far more than the tokens of any context.
const LARGEST_HEADER: u32 = 16 << 20;

/// A whole file.
pub(super) fn seal(header: &[u8], caches: &[u8]) -> Result<Vec<u8>, SnapshotError> {
    let too_long = SnapshotError::HeaderTooLong { found: header.len() as u64, limit: LARGEST_HEADER.into() };
    let length = u32::try_from(header.len()).ok().filter(|&length| length <= LARGEST_HEADER).ok_or(too_long)?;
    let mut file = Vec::with_capacity(PREFIX + header.len() + caches.len() + CHECKSUM);
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(&(caches.len() as u64).to_le_bytes());
    file.extend_from_slice(header);
    file.extend_from_slice(caches);
    let checksum = Sha256::digest(&file);
    file.extend_from_slice(&checksum);
    Ok(file)
}

/// Checks that a file of `length` bytes that begins with `start` has the length that it says. Returns that of its header.
pub(super) fn check(start: &[u8], length: u64) -> Result<usize, SnapshotError> {
    let begun = start.len().min(MAGIC.len());
    if start[..begun] != MAGIC[..begun] || start.is_empty() {
        return Err(SnapshotError::NotASnapshot);
    }
    let short = || SnapshotError::Truncated { expected: (PREFIX + CHECKSUM) as u64, found: length };
    let (_, rest) = start.split_first_chunk::<8>().ok_or_else(short)?;
    let (version, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let (header, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let (caches, _) = rest.split_first_chunk().ok_or_else(short)?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(SnapshotError::Version { found: version, expected: VERSION });
    }
    let header = u32::from_le_bytes(*header);
    if header > LARGEST_HEADER {
        return Err(SnapshotError::HeaderTooLong { found: header.into(), limit: LARGEST_HEADER.into() });
    }
    let around = (PREFIX + CHECKSUM) as u64 + u64::from(header);
    let expected = around.saturating_add(u64::from_le_bytes(*caches));
    match length {
        found if found < expected => Err(SnapshotError::Truncated { expected, found }),
        found if found > expected => Err(SnapshotError::TrailingBytes { expected, found }),
        _ => Ok(header as usize),
    }
}

/// Where the header and the caches are in a file that is what was written.
pub(super) fn open(file: &[u8]) -> Result<[Range<usize>; 2], SnapshotError> {
    let header = check(file, file.len() as u64)?;
    let (content, checksum) = file.split_at(file.len() - CHECKSUM);
    if Sha256::digest(content)[..] != *checksum {
        return Err(SnapshotError::Checksum);
    }
    Ok([PREFIX..PREFIX + header, PREFIX + header..content.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_that_is_wrong_is_named() {
        let file = seal(b"header", b"caches").unwrap();
        assert_eq!(open(&file).unwrap(), [24..30, 30..36]);
        for end in 0..file.len() {
            let error = open(&file[..end]).unwrap_err();
            match end {
                0 => assert!(matches!(error, SnapshotError::NotASnapshot)),
                _ => assert!(matches!(error, SnapshotError::Truncated { .. }), "{end}: {error}"),
            }
        }
        let longer = [&file[..], b"!"].concat();
        assert!(matches!(open(&longer).unwrap_err(), SnapshotError::TrailingBytes { expected: 68, found: 69 }));
    }

    #[test]
    fn lengths_at_which_words_end_are_refused() {
        let file = seal(b"header", b"caches").unwrap();
        for caches in [u64::MAX, u64::MAX - 61, 1 << 63, 7] {
            let mut hostile = file.clone();
            hostile[16..24].copy_from_slice(&caches.to_le_bytes());
            assert!(matches!(open(&hostile).unwrap_err(), SnapshotError::Truncated { found: 68, .. }));
        }
        let mut hostile = file.clone();
        hostile[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(open(&hostile).unwrap_err(), SnapshotError::HeaderTooLong { .. }));
        hostile[8] = 1;
        assert!(matches!(open(&hostile).unwrap_err(), SnapshotError::Version { found: 1, expected: 2 }));
        hostile[0] = b'l';
        assert!(matches!(open(&hostile).unwrap_err(), SnapshotError::NotASnapshot));
    }
}
