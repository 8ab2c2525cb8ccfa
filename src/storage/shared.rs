//! What the mover and the readers have in common.

use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::Disk;
use super::files::Files;
use super::index::Index;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    /// Only the mover changes it, and nobody reads or writes a file while holding it.
    pub(super) index: Mutex<Index>,
    pub(super) files: Files,
}

impl Shared {
    pub(super) fn new(disk: Arc<dyn Disk>, index: Index) -> Self {
        Self { files: Files::new(disk.clone()), index: Mutex::new(index), disk }
    }
}
