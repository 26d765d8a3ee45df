//! Loading as a task of its own, which the entity that is to be the model holds.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bevy_ecs::prelude::*;
use bevy_tasks::{AsyncComputeTaskPool, Task, TaskPool};

use crate::load::{LoadError, LoadedModel};

type Loaded = Result<LoadedModel, LoadError>;

/// Loads the model that its entity is to be, for as long as it is there.
#[derive(Component)]
pub(super) struct LoadTask {
    shared: Arc<Shared>,
    task: Task<()>,
}

#[derive(Default)]
struct Shared {
    /// The bits of the share that was read.
    share: AtomicU32,
    loaded: Mutex<Option<Loaded>>,
}

/// What a task knows of the entity that it loads for.
pub(super) struct Waiter(Weak<Shared>);

impl Waiter {
    /// Tells it how large a share was read. Whether there is somebody still.
    pub(super) fn tell(&self, share: f32) -> bool {
        self.0.upgrade().is_some_and(|shared| {
            shared.share.store(share.to_bits(), Ordering::Relaxed);
            true
        })
    }
}

impl LoadTask {
    /// Begins `work`, on one of Bevy's threads for what takes longer than a frame.
    pub(super) fn begin(work: impl FnOnce(&Waiter) -> Loaded + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let waiter = Waiter(Arc::downgrade(&shared));
        // An app may have no `TaskPoolPlugin`.
        let task = AsyncComputeTaskPool::get_or_init(TaskPool::default).spawn(async move {
            let loaded = work(&waiter);
            if let Some(shared) = waiter.0.upgrade() {
                *shared.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
            }
        });
        Self { shared, task }
    }

    /// The share that was read.
    pub(super) fn share(&self) -> f32 {
        f32::from_bits(self.shared.share.load(Ordering::Relaxed))
    }

    /// What came of it, once.
    pub(super) fn take(&mut self) -> Option<Loaded> {
        if !self.task.is_finished() {
            return None;
        }
        let loaded = self.shared.loaded.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Whoever panics leaves nothing.
        Some(loaded.unwrap_or(Err(LoadError::Interrupted)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "nothing came");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_task_that_panics_or_is_dropped_has_failed() {
        let mut panics = LoadTask::begin(|_| panic!("on purpose"));
        assert!(matches!(wait_for(|| panics.take()), Err(LoadError::Interrupted)));

        let (go, wait) = mpsc::channel::<()>();
        let mut dropped = LoadTask::begin(move |_| {
            wait.recv().expect("a word");
            Err(LoadError::Interrupted)
        });
        assert!(dropped.take().is_none());
        // As if its pool had given it up.
        let task = std::mem::replace(&mut dropped.task, AsyncComputeTaskPool::get().spawn(async {}));
        drop((task, go));
        assert!(matches!(wait_for(|| dropped.take()), Err(LoadError::Interrupted)));
    }

    #[test]
    fn a_task_hears_that_nobody_waits_any_more() {
        let (went, told) = mpsc::channel();
        let (go, wait) = mpsc::channel();
        let task = LoadTask::begin(move |waiter| {
            let before = waiter.tell(0.5);
            went.send(before).expect("a listener");
            wait.recv().expect("a word");
            went.send(waiter.tell(0.6)).expect("a listener");
            Err(LoadError::Interrupted)
        });
        assert!(told.recv().expect("a word"));
        assert_eq!(task.share(), 0.5);
        drop(task);
        go.send(()).expect("a task");
        assert!(!told.recv().expect("a word"));
    }
}
