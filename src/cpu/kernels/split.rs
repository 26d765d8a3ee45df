//! How kernels share work between threads: tasks by number, rows in contiguous parts, or disjoint pieces of one buffer.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::pool;
use super::simd::Line;

/// The least work that pays for waking another thread, in elements of an elementwise kernel: some 10 µs.
const LEAST_ELEMENTS: usize = 16 * 1024;

/// Runs `work(index)` for every index below `count`, on all threads of the current pool. Each thread has a share of
/// neighbours, from the first to the last, so that what is prefetched beyond a task belongs to the next; whoever is done
/// takes from the ends of the others' shares.
///
/// # Panics
///
/// Where there are 2^32 tasks or more.
pub(super) fn each(count: usize, work: impl Fn(usize) + Sync) {
    let threads = pool::threads();
    if threads == 1 || count < 2 {
        return (0..count).for_each(work);
    }
    let shares: Vec<_> = (0..threads).map(|i| Share::new(i * count / threads..(i + 1) * count / threads)).collect();
    pool::on_all(|own| {
        let stolen = || (1..threads).find_map(|i| shares[(own + i) % threads].last());
        while let Some(index) = shares[own].first().or_else(stolen) {
            work(index);
        }
    });
}

/// What `work` makes of every index below `count`, in their order, on all threads of the current pool.
pub fn map<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let mut made: Vec<Option<T>> = (0..count).map(|_| None).collect();
    chunks(&mut made, 1, |index, made| made[0] = Some(work(index)));
    made.into_iter().flatten().collect()
}

/// The tasks from `start` to `end` that nobody has taken yet, as `start << 32 | end`.
struct Share(AtomicU64);

impl Share {
    fn new(tasks: Range<usize>) -> Self {
        let [start, end] = [tasks.start, tasks.end].map(|task| u64::from(u32::try_from(task).expect("fewer tasks")));
        Self(AtomicU64::new(start << 32 | end))
    }

    /// Takes the first task.
    fn first(&self) -> Option<usize> {
        self.take(1 << 32).map(|(start, _)| start)
    }

    /// Takes the last task.
    fn last(&self) -> Option<usize> {
        self.take(u64::MAX).map(|(_, end)| end - 1)
    }

    /// Adds `step` if any task is left; returns what there was before.
    fn take(&self, step: u64) -> Option<(usize, usize)> {
        let bounds = |share: u64| ((share >> 32) as usize, (share & u64::from(u32::MAX)) as usize);
        let some_left = |share| {
            let (start, end) = bounds(share);
            (start < end).then(|| share.wrapping_add(step))
        };
        // Which task it is says nothing of what else is in memory: entering the round and leaving it does that.
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, some_left).ok().map(bounds)
    }
}

/// Runs `work(first_row, rows)` over contiguous parts of `out`, `[rows, width]`, on as many threads as pay.
pub(super) fn rows<T: Send>(out: &mut [T], width: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    costly_rows(out, width, 1, work);
}

/// As [`rows`], where each element of `out` takes as long as `cost` of an elementwise kernel.
///
/// Rows must not depend on each other: where the parts end changes with the number of threads.
pub(super) fn costly_rows<T: Send>(out: &mut [T], width: usize, cost: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    if out.len() * cost < 2 * LEAST_ELEMENTS || pool::threads() == 1 {
        if !out.is_empty() {
            work(0, out);
        }
        return;
    }
    // A few parts for each thread, so that one delayed thread does not hold up the others.
    let parts = (out.len() * cost / LEAST_ELEMENTS).min(4 * pool::threads());
    let parts = parts.next_multiple_of(pool::threads().min(parts));
    let per_part = (out.len() / width).div_ceil(parts);
    chunks(out, per_part * width, |part, rows| work(part * per_part, rows));
}

/// Runs `work(index, chunk)` for every chunk of `size` elements of `out`, as [`each`]; the last one may be shorter.
pub(super) fn chunks<T: Send>(out: &mut [T], size: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let len = out.len();
    let out = Disjoint::new(out);
    each(len.div_ceil(size), |index| {
        let start = index * size;
        // SAFETY: every index is run once, and no element is in the chunks of two.
        work(index, unsafe { out.piece(start..(start + size).min(len)) });
    });
}

/// A buffer of which several threads write different elements.
pub(super) struct Disjoint<'a, T = f32> {
    start: *mut T,
    len: usize,
    buffer: PhantomData<&'a mut [T]>,
}

// SAFETY: the only access is `piece`, whose callers promise that pieces in use at once do not overlap, so sharing
// this is sharing non-overlapping `&mut [T]`, which are `Send` where `T` is.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub(super) fn new(buffer: &'a mut [T]) -> Self {
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
    pub(super) unsafe fn piece(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the range lies within the buffer, which is exclusively borrowed for longer than `self` lives, and
        // the caller promises that no other piece overlaps.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// Lends `work` scratch lines that stay allocated with the thread. What is in them is left over from earlier loans.
///
/// `work` must not borrow the scratch again.
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

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::cpu::kernels::testing::on_threads;

    #[test]
    fn every_task_is_run_once() {
        for threads in 1..5 {
            for count in 0..40 {
                let runs: Vec<_> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                on_threads(threads, || each(count, |index| _ = runs[index].fetch_add(1, Ordering::Relaxed)));
                let runs: Vec<_> = runs.into_iter().map(AtomicUsize::into_inner).collect();
                assert_eq!(runs, vec![1; count], "{threads} threads");
            }
        }
    }

    #[test]
    fn every_element_is_in_the_chunk_of_its_place() {
        for len in 0..20 {
            let mut out = vec![0; len];
            on_threads(3, || {
                chunks(&mut out, 6, |index, chunk| chunk.iter_mut().for_each(|element| *element += 1 + index))
            });
            assert!(out.iter().enumerate().all(|(place, element)| *element == 1 + place / 6), "{out:?}");
        }
    }

    #[test]
    fn what_is_made_lies_in_order() {
        for threads in 1..4 {
            assert_eq!(on_threads(threads, || map(30, |index| 2 * index)), (0..60).step_by(2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_task_that_panics_keeps_nobody_waiting() {
        for threads in 1..4 {
            let run = || on_threads(threads, || each(9, |index| assert!(index != 4, "task 4")));
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        }
    }
}
