//! A crash on demand: sockets are reset, what was not synced is lost, and what a restart would find is there again in milliseconds.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::TestError;
use crate::server::broker_loop::{BrokerLoop, Standing};
use crate::server::outbox::Shared;
use crate::server::{Handle, Shell, broker_of, seed};
use crate::storage::Unsynced;

/// How long connections may take to hear that they are over.
const HANG_UP: Duration = Duration::from_secs(3);

impl Handle {
    /// Has the node die and start again on the same ports: every connection is reset, transient queues and messages are gone, and of
    /// what was written and not synced as much is left as is said. Users and virtual hosts are what they were. Returns how long that
    /// took, once all of it is there again and everybody has been reset.
    ///
    /// # Errors
    /// For a node without a disk, real or in memory: it has nothing to start from. A disk that cannot be recovered.
    pub async fn crash(&self, unsynced: Unsynced) -> Result<Duration, TestError> {
        let began = Instant::now();
        let Some(storage) = self.0.storage.clone() else {
            return Err(TestError::Refused("nothing survives here: start the broker with --test-api or --data-dir".to_owned()));
        };
        // Virtual hosts neither come nor go meanwhile.
        let _nobody_else = self.0.changing.lock().await;
        tracing::warn!("the broker crashes, as a test wants");
        let shell = Arc::clone(&self.0);
        // It waits for threads.
        let crashed = tokio::task::spawn_blocking(move || shell.crash(&storage, unsynced)).await;
        let gone = crashed.map_err(|error| TestError::Failed(error.to_string()))??;
        self.0.hung_up(&gone).await;
        Ok(began.elapsed())
    }
}

impl Shell {
    fn crash(self: &Arc<Self>, storage: &Arc<crate::server::Storage>, unsynced: Unsynced) -> Result<Vec<Weak<Shared>>, TestError> {
        let failed = |error: &dyn std::fmt::Display| TestError::Failed(error.to_string());
        let loops: Vec<Arc<BrokerLoop>> = self.loops().iter().cloned().chain(self.retired.lock().iter().cloned()).collect();
        let mut standing: Vec<Standing<'_>> = loops.iter().map(|broker_loop| broker_loop.stand_still()).collect();
        let gone = standing.iter_mut().flat_map(Standing::hang_up).collect();
        let names: Vec<Arc<str>> = standing.iter().map(|standing| standing.vhost().into()).collect();
        let opened = storage.crash(unsynced, &names).map_err(|error| failed(&error))?;
        let (node, now, seed) = (self.node(), self.time.now(), self.config.testing.seed.unwrap_or_else(seed));
        for ((standing, name), left) in standing.into_iter().zip(&names).zip(&opened.vhosts) {
            let (broker, _) = broker_of(name, &node, Some((&opened, left)), seed, now).map_err(|error| failed(&error))?;
            standing.begin_anew(broker);
        }
        opened.run(self).map_err(|error| failed(&error))?;
        self.disk_fails(false);
        let alarms = *self.alarms.lock();
        for broker_loop in &loops {
            broker_loop.push_alarms(alarms);
            broker_loop.tick();
        }
        Ok(gone)
    }

    /// Returns when nobody holds these connections any more.
    async fn hung_up(&self, gone: &[Weak<Shared>]) {
        let all_gone = async {
            loop {
                let ended = self.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                if gone.iter().all(|shared| shared.strong_count() == 0) {
                    return;
                }
                ended.await;
            }
        };
        if tokio::time::timeout(HANG_UP, all_gone).await.is_err() {
            tracing::warn!("some connections have not heard of the crash yet");
        }
    }
}
