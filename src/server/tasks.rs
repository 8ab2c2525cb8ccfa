//! The tasks of a node: they are known, so that they end with it, also where the process and its runtime go on.

use std::pin::pin;
use std::sync::Arc;

use parking_lot::Mutex;
use slotmap::{DefaultKey, SlotMap};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};

#[derive(Debug)]
pub(super) struct Tasks {
    /// Where they run, whoever starts them.
    runtime: Handle,
    running: Mutex<Running>,
    /// Told when the last one has gone.
    gone: Notify,
}

#[derive(Debug, Default)]
struct Running {
    /// `None` for a moment, while a task is being started.
    tasks: SlotMap<DefaultKey, Option<AbortHandle>>,
    /// Whoever comes now ends at once.
    over: bool,
}

impl Tasks {
    /// On the runtime of who calls.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { runtime: Handle::current(), running: Mutex::default(), gone: Notify::new() })
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Runs until it is done, or until the node ends.
    pub(super) fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let key = self.running.lock().tasks.insert(None);
        let place = Place { tasks: Arc::clone(self), key };
        // Not under the lock: a runtime that has ended drops the task, and so its place, here and now.
        let task = self.runtime.spawn(async move {
            // Given up after what the task holds.
            let _place = place;
            work.await;
        });
        let mut running = self.running.lock();
        if running.over {
            task.abort();
        } else if let Some(abort) = running.tasks.get_mut(key) {
            *abort = Some(task.abort_handle());
        }
        task
    }

    /// Has all of them end where they wait. They are gone when their runtime has looked at them once more.
    pub(super) fn end(&self) {
        let mut running = self.running.lock();
        running.over = true;
        let tasks: Vec<AbortHandle> = running.tasks.values_mut().filter_map(Option::take).collect();
        drop(running);
        tasks.iter().for_each(AbortHandle::abort);
    }

    pub(super) fn are_over(&self) -> bool {
        self.running.lock().over
    }

    /// Returns when there are none.
    pub(super) async fn gone(&self) {
        loop {
            let mut gone = pin!(self.gone.notified());
            gone.as_mut().enable();
            if self.running.lock().tasks.is_empty() {
                return;
            }
            gone.await;
        }
    }
}

/// The place of a task among the others.
struct Place {
    tasks: Arc<Tasks>,
    key: DefaultKey,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut running = self.tasks.running.lock();
        running.tasks.remove(self.key);
        if running.tasks.is_empty() {
            self.tasks.gone.notify_waiters();
        }
    }
}
