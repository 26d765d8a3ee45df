//! How kernels share work between threads: rows in contiguous parts, or disjoint pieces of one buffer.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use super::simd::Line;

/// The least work that pays for waking another thread, in elements of an elementwise kernel: some 10 µs.
const LEAST_ELEMENTS: usize = 16 * 1024;

/// Runs `work(first_row, rows)` over contiguous parts of `out`, `[rows, width]`, on as many threads as pay.
pub(super) fn rows<T: Send>(out: &mut [T], width: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    costly_rows(out, width, 1, work);
}

/// As [`rows`], where each element of `out` takes as long as `cost` of an elementwise kernel.
///
/// Rows must not depend on each other: where the parts end changes with the number of threads.
pub(super) fn costly_rows<T: Send>(out: &mut [T], width: usize, cost: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    if out.len() * cost < 2 * LEAST_ELEMENTS || rayon::current_num_threads() == 1 {
        if !out.is_empty() {
            work(0, out);
        }
        return;
    }
    // A few parts for each thread, so that one delayed thread does not hold up the others.
    let parts = (out.len() * cost / LEAST_ELEMENTS).min(4 * rayon::current_num_threads());
    let per_part = (out.len() / width).div_ceil(parts);
    out.par_chunks_mut(per_part * width).enumerate().for_each(|(part, rows)| {
        work(part * per_part, rows);
    });
}

/// A buffer of which several threads write different elements.
pub(super) struct Disjoint<'a> {
    start: *mut f32,
    len: usize,
    buffer: PhantomData<&'a mut [f32]>,
}

// SAFETY: the only access is `piece`, whose callers promise that pieces in use at once do not overlap, so sharing
// this is sharing non-overlapping `&mut [f32]`, which are `Send`.
unsafe impl Sync for Disjoint<'_> {}

impl<'a> Disjoint<'a> {
    pub(super) fn new(buffer: &'a mut [f32]) -> Self {
        Self { start: buffer.as_mut_ptr(), len: buffer.len(), buffer: PhantomData }
    }

    /// The elements of `range`.
    ///
    /// # Panics
    ///
    /// Where the buffer ends before `range`.
    ///
    /// # Safety
    ///
    /// No other piece that is alive at the same time contains any of them.
    #[expect(clippy::mut_from_ref, reason = "the callers promise that pieces do not overlap")]
    #[inline(always)]
    pub(super) unsafe fn piece(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the range lies within the buffer, which is exclusively borrowed for longer than `self` lives, and
        // the caller promises that no other piece overlaps.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// Lends `work` scratch lines that stay allocated with the thread. What is in them is left over from earlier loans.
///
/// `work` must not wait for other Rayon jobs: the thread could meanwhile run one that borrows the scratch again.
pub(super) fn with_scratch(lines: usize, work: impl FnOnce(&mut [Line])) {
    thread_local! {
        static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < lines {
            scratch.resize(lines, Line::ZERO);
        }
        work(&mut scratch[..lines]);
    });
}
