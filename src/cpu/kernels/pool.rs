//! Threads that wait for kernels, and whichever thread calls one as the first of them.
//!
//! Rayon offers two ways, and neither serves a world: to a pool of its own threads, each call is handed over, which takes
//! some 10 µs there and back; a thread that is made part of a pool belongs to it for good, so that the world could never
//! be moved to another. Here a call stays on the thread that makes it, whichever that is. It opens a *round*, which the
//! waiting threads enter if they come in time, and closes it when it finds no work left: a thread that sleeps, or that the
//! system has put aside, keeps nobody waiting.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, ptr};

/// How long a thread looks out for the next round before it sleeps. To wake it takes 25 µs of the thread that does it, and
/// 50 until it works: more than the pauses between the kernels of a step.
const PATIENCE: Duration = Duration::from_micros(100);

/// Some threads, one of which is whoever calls.
pub struct Pool(Arc<Crew>);

struct Crew {
    round: Arc<Round>,
    /// Whether a round is open. Another caller then works alone.
    taken: AtomicBool,
    waiting: Vec<JoinHandle<()>>,
}

thread_local! {
    /// The pool that kernels called on this thread split their work over.
    static CURRENT: RefCell<Option<Arc<Crew>>> = const { RefCell::new(None) };
}

impl Pool {
    /// Starts one thread less than `threads`, which are to be at least one.
    ///
    /// # Errors
    /// The system refuses that many threads.
    pub fn new(threads: usize) -> io::Result<Self> {
        let round = Arc::new(Round::default());
        let mut crew = Crew { round, taken: AtomicBool::new(false), waiting: Vec::new() };
        for index in 1..threads {
            let round = Arc::clone(&crew.round);
            let builder = thread::Builder::new().name(format!("loquent-{index}"));
            crew.waiting.push(builder.spawn(move || round.wait_and_work(index))?);
        }
        Ok(Self(Arc::new(crew)))
    }

    /// How many threads there are.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.0.waiting.len() + 1
    }

    /// Runs `work` on the calling thread, where kernels find this pool.
    pub fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        struct Restore(Option<Arc<Crew>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _restore = Restore(CURRENT.replace(Some(Arc::clone(&self.0))));
        work()
    }
}

/// How many threads kernels called on this one may use.
pub(super) fn threads() -> usize {
    CURRENT.with_borrow(|crew| crew.as_ref().map_or(1, |crew| crew.waiting.len() + 1))
}

/// Runs `work(0)` here and, meanwhile, `work(index)` on each other thread of the current pool that comes in time. Returns
/// when all that have come are done.
///
/// Within another call of this, and while another thread makes one, that is this thread alone.
pub(super) fn on_all(work: impl Fn(usize) + Sync) {
    match CURRENT.with_borrow(Option::clone) {
        Some(crew) => crew.on_all(&work),
        None => work(0),
    }
}

impl Crew {
    fn on_all(&self, work: &(dyn Fn(usize) + Sync)) {
        if self.waiting.is_empty() || self.taken.swap(true, Ordering::Acquire) {
            return work(0);
        }
        let open = Open { crew: self };
        self.round.open(&work);
        self.waiting.iter().for_each(|waiting| waiting.thread().unpark());
        work(0);
        drop(open);
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.round.ended.store(true, Ordering::Release);
        for waiting in self.waiting.drain(..) {
            waiting.thread().unpark();
            // They catch the panics of their work.
            _ = waiting.join();
        }
    }
}

/// Closes the crew's round when it is dropped, and waits for those inside: by a panic, too, what they work with must not
/// go before they are out.
struct Open<'a> {
    crew: &'a Crew,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let panic = self.crew.round.close();
        self.crew.taken.store(false, Ordering::Release);
        if let (Some(panic), false) = (panic, thread::panicking()) {
            resume_unwind(panic);
        }
    }
}

/// What a crew works at.
#[derive(Default)]
struct Round {
    /// `number << 32 | OPEN | threads inside`
    state: AtomicU64,
    /// A `&(dyn Fn(usize) + Sync)` on the stack of who opened the round.
    work: AtomicPtr<()>,
    /// Of a thread inside.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    ended: AtomicBool,
}

/// The round may be entered.
const OPEN: u64 = 1 << 31;

impl Round {
    /// Lets threads in, until [`close`](Self::close): what `work` refers to must last as long.
    fn open(&self, work: &&(dyn Fn(usize) + Sync)) {
        let number = self.state.load(Ordering::Relaxed) >> 32;
        self.work.store(ptr::from_ref(work).cast_mut().cast(), Ordering::Relaxed);
        self.state.store((number + 1) << 32 | OPEN, Ordering::Release);
    }

    /// Lets nobody in any more and waits for those inside. Returns what one of them panicked with.
    fn close(&self) -> Option<Box<dyn Any + Send>> {
        self.state.fetch_and(!OPEN, Ordering::Relaxed);
        while self.state.load(Ordering::Acquire) & (OPEN - 1) > 0 {
            thread::yield_now();
        }
        self.panic.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Enters a round whose number is not `last`, which becomes its number.
    fn enter(&self, last: &mut u64) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        let entered = state & OPEN > 0
            && state >> 32 != *last
            && self.state.compare_exchange(state, state + 1, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if entered {
            *last = state >> 32;
        }
        entered
    }

    /// The life of a waiting thread.
    fn wait_and_work(&self, index: usize) {
        let mut last = 0;
        loop {
            let mut patient_until = Instant::now() + PATIENCE;
            while !self.enter(&mut last) {
                if self.ended.load(Ordering::Acquire) {
                    return;
                }
                if Instant::now() < patient_until {
                    thread::yield_now();
                } else {
                    // Whoever opens a round or ends it all unparks afterwards, so that nothing is slept through.
                    thread::park();
                    patient_until = Instant::now() + PATIENCE;
                }
            }
            // SAFETY: this thread is inside, so the round was open, and who opened it stored a pointer to a reference that
            // it keeps until it has closed the round, for which it waits until this thread has left.
            let work = unsafe { *self.work.load(Ordering::Relaxed).cast::<&(dyn Fn(usize) + Sync)>() };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(index))) {
                *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
            }
            self.state.fetch_sub(1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn threads_that_come_work_on_the_same_and_the_caller_is_the_first() {
        let pool = Pool::new(3).expect("threads");
        let caller = thread::current().id();
        for _ in 0..50 {
            // All three have to be there at once.
            let barrier = Barrier::new(3);
            let seen = Mutex::new(Vec::new());
            pool.run(|| {
                assert_eq!(threads(), 3);
                on_all(|index| {
                    barrier.wait();
                    assert_eq!(index == 0, thread::current().id() == caller);
                    seen.lock().unwrap().push(index);
                });
            });
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2]);
        }
        assert_eq!(threads(), 1, "outside, there is no pool");
    }

    #[test]
    fn work_within_work_stays_on_its_thread() {
        let pool = Pool::new(3).expect("threads");
        let calls = AtomicU64::new(0);
        let count = |expected| {
            on_all(|index| {
                assert_eq!((index, thread::current().id()), (0, expected));
                calls.fetch_add(1, Ordering::Relaxed);
            });
        };
        let outer = AtomicU64::new(0);
        pool.run(|| {
            on_all(|_| {
                outer.fetch_add(1, Ordering::Relaxed);
                count(thread::current().id());
            })
        });
        assert_eq!(calls.into_inner(), outer.into_inner());
    }

    #[test]
    fn a_pool_that_is_taken_leaves_the_work_to_its_caller() {
        let pool = Pool::new(2).expect("threads");
        pool.run(|| {
            on_all(|outer| {
                if outer == 0 {
                    let elsewhere = || pool.run(|| on_all(|index| assert_eq!(index, 0)));
                    thread::scope(|scope| scope.spawn(elsewhere).join()).expect("no panic");
                }
            });
        });
    }

    #[test]
    fn a_panic_on_any_thread_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(3).expect("threads");
        for unlucky in 0..3 {
            let barrier = Barrier::new(3);
            let run = || {
                pool.run(|| {
                    on_all(|index| {
                        barrier.wait();
                        assert!(index != unlucky, "thread {index}");
                    });
                });
            };
            let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("a panic");
            assert_eq!(panic.downcast_ref::<String>(), Some(&format!("thread {unlucky}")));
        }
        let barrier = Barrier::new(3);
        pool.run(|| on_all(|_| _ = barrier.wait()));
    }

    #[test]
    fn threads_end_with_their_pool() {
        for rounds in 0..3 {
            let pool = Pool::new(4).expect("threads");
            let round = Arc::downgrade(&pool.0.round);
            assert_eq!(round.strong_count(), 4, "each thread has one");
            (0..rounds).for_each(|_| pool.run(|| on_all(|_| ())));
            drop(pool);
            assert_eq!(round.strong_count(), 0);
        }
    }
}
