//! Where a node writes what is to survive, and finding what is left there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Config, Fsync};
use crate::server::StartError;
use crate::server::faults::{Faults, FaultyDisk};
use crate::storage::{self, Directory, Disk, ForgetfulDisk, Options, Progress};

/// A disk that things are written to.
#[derive(Clone, Debug)]
pub(in crate::server) struct Place {
    pub(super) disk: Arc<dyn Disk>,
    /// What it is called in errors.
    name: String,
    /// The same disk, where it can lose what was not synced.
    pub(super) forgetful: Option<ForgetfulDisk>,
}

/// Where what is to survive is written: the data directory; without one, a disk in memory where tests are to see what a crash leaves.
/// `None`: nothing survives.
///
/// # Errors
/// A directory that cannot be used, or that is in use.
pub(in crate::server) fn disk(config: &Config) -> Result<Option<Place>, StartError> {
    match &config.data_dir {
        Some(path) => {
            let directory = Directory::open(path).map_err(|error| StartError(error.to_string()))?;
            Ok(Some(Place { disk: Arc::new(directory), name: path.display().to_string(), forgetful: None }))
        }
        None if config.testing.api => {
            let disk = ForgetfulDisk::default();
            Ok(Some(Place { disk: Arc::new(disk.clone()), name: "memory".to_owned(), forgetful: Some(disk) }))
        }
        None => Ok(None),
    }
}

impl Place {
    /// The same, behind the rules for what goes wrong.
    pub(in crate::server) fn behind(self, faults: &Arc<Faults>) -> Self {
        Self { disk: Arc::new(FaultyDisk::new(self.disk, faults)), ..self }
    }

    pub(super) fn recover(&self, fsync: Fsync, vhosts: &[Arc<str>]) -> Result<storage::Opened, StartError> {
        let names: Vec<&str> = vhosts.iter().map(|vhost| &**vhost).collect();
        let options = Options { sync: fsync == Fsync::Always, ..Options::default() };
        let began = Instant::now();
        let mut told = began;
        let mut progress = |progress: Progress| {
            if told.elapsed() >= Duration::from_secs(1) {
                told = Instant::now();
                tracing::info!(folded = progress.folded, files = progress.files, "recovering log files");
            }
        };
        let in_it = |error: storage::OpenError| StartError(format!("{}/{error}", self.name));
        let opened = storage::open(Arc::clone(&self.disk), &options, &names, &mut progress).map_err(in_it)?;
        let queues: usize = opened.vhosts.iter().map(|vhost| vhost.recovered.queues.len()).sum();
        let runs = opened.vhosts.iter().flat_map(|vhost| vhost.recovered.queues.values()).flat_map(|queue| &queue.runs);
        let messages: u64 = runs.map(|run| run.count).sum();
        tracing::info!(dir = self.name, queues, messages, ms = began.elapsed().as_millis(), "recovered");
        Ok(opened)
    }
}
