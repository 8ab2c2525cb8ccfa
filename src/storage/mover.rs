//! Moves messages from sealed log files to segments, and gives back what is not needed any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::entry;
use super::error::Error;
use super::fold::{Fold, Prepared};
use super::log::{Sealed, Spares, fill};
use super::manifest::Manifest;
use super::names::Name;
use super::shared::Shared;
use super::spill::Spills;
use super::state::{self, Definitions};
use super::{Folded, Options};

#[derive(Debug)]
pub struct Mover {
    pub(super) shared: Arc<Shared>,
    pub(super) options: Options,
    pub(super) manifest: Manifest,
    pub(super) spills: Spills,
    /// Segments that could not be read; they are not tried again.
    pub(super) unreadable: BTreeSet<u64>,
    spares: Arc<Spares>,
    fold: Fold,
    /// Log files up to this number are in the manifest.
    done: u64,
    /// What the file `done` had, in case its fold has to be asked for twice.
    folded: Vec<(u32, u64, u64)>,
    next_segment: u64,
    next_spare: u64,
    /// Written to segments, but not yet to the manifest. As long as that is tried nothing else may change, since the
    /// manifest may have the entry without anybody knowing.
    pending: Option<(Option<u64>, Prepared)>,
    /// Files that nobody needs and that could not be removed.
    litter: Vec<String>,
    /// While the storage is opened: what is defined.
    pub(super) definitions: Option<Definitions>,
    /// The virtual hosts that have a number, whether they exist or did.
    pub(super) vhosts: Vec<(u32, String)>,
}

impl Mover {
    pub(super) fn new(
        shared: Arc<Shared>,
        options: Options,
        manifest: Manifest,
        spares: Arc<Spares>,
        definitions: Definitions,
        next_segment: u64,
    ) -> Self {
        Self {
            shared,
            options,
            manifest,
            spills: Spills::default(),
            unreadable: BTreeSet::new(),
            spares,
            fold: Fold::default(),
            done: definitions.done,
            folded: Vec::new(),
            next_segment,
            next_spare: 1,
            pending: None,
            litter: Vec::new(),
            definitions: Some(definitions),
            vhosts: Vec::new(),
        }
    }

    /// The number of a virtual host: the one that it has had before, or a new one, which is on the disk when this returns.
    pub fn number(&mut self, name: &str) -> Result<u32, Error> {
        if let Some((number, _)) = self.vhosts.iter().find(|(_, known)| known == name) {
            return Ok(*number);
        }
        self.settle()?;
        let number = self.vhosts.iter().map(|(number, _)| *number).max().map_or(1, |last| last.saturating_add(1));
        let mut new = entry::Writer::default();
        new.vhost(number, name);
        self.commit(None, Prepared { entry: new.take(), ..Prepared::default() })?;
        self.vhosts.push((number, name.to_owned()));
        Ok(number)
    }

    /// Folds a sealed file: a segment, an entry of the manifest, and then the file is free for other uses. To be called
    /// again with the same file after an error.
    pub fn fold(&mut self, sealed: &Sealed) -> Result<Folded, Error> {
        self.settle()?;
        if sealed.number > self.done {
            self.fold.load(self.shared.disk.as_ref(), sealed.number, sealed.end)?;
            self.fold_loaded(sealed.number, usize::try_from(sealed.end).unwrap_or(usize::MAX), false)?;
        }
        self.recycle(sealed.number);
        Ok(Folded { stored: self.folded.clone() })
    }

    /// A log file, read and found to be right up to where it ends.
    pub(super) fn loaded(&mut self) -> &mut Fold {
        &mut self.fold
    }

    /// Folds the file that [`Mover::loaded`] holds.
    pub(super) fn fold_loaded(&mut self, number: u64, end: usize, foreign: bool) -> Result<(), Error> {
        self.fold.walk(end, foreign)?;
        let id = self.next_segment();
        let prepared = self.fold.prepare(&self.shared, number, id)?;
        self.commit(Some(number), prepared)
    }

    pub(super) fn next_segment(&mut self) -> u64 {
        let id = self.next_segment;
        self.next_segment += 1;
        id
    }

    /// Makes a change count: in the manifest, then in the index.
    pub(super) fn commit(&mut self, log: Option<u64>, prepared: Prepared) -> Result<(), Error> {
        self.pending = Some((log, prepared));
        self.settle()
    }

    /// Brings to an end what an error interrupted.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        if let Some((log, prepared)) = &mut self.pending {
            if self.manifest.is_broken() {
                self.manifest.rewrite(self.shared.disk.as_ref(), &self.shared.index)?;
            }
            self.manifest.append(&prepared.entry)?;
            let applied = state::apply(&prepared.entry, Some(&mut self.shared.index.lock()), self.definitions.as_mut());
            let name = Name::Manifest(self.manifest.number()).to_string();
            if let Some(log) = *log {
                self.done = log;
                self.folded = std::mem::take(&mut prepared.stored);
            }
            self.pending = None;
            applied.map_err(|none| Error::damaged(&name, 0, none.what))?;
        }
        self.clean();
        Ok(())
    }

    /// Removes segments without anything alive in them.
    fn clean(&mut self) {
        let (dead, live) = {
            let mut index = self.shared.index.lock();
            (std::mem::take(&mut index.dead), index.segments.values().map(|segment| segment.live).sum())
        };
        self.spares.set_live(live);
        for id in dead {
            self.shared.files.forget(Name::Segment(id));
            self.unreadable.remove(&id);
            self.remove(Name::Segment(id));
        }
        for name in std::mem::take(&mut self.litter) {
            self.remove_named(name);
        }
    }

    /// There is going to be a file of this name: one that could not be removed, perhaps left behind by another process, is not to
    /// be removed any more.
    pub(super) fn takes_name(&mut self, name: Name) -> String {
        let name = name.to_string();
        self.litter.retain(|other| *other != name);
        name
    }

    /// Removes a file, now or later.
    pub(super) fn remove(&mut self, name: Name) {
        self.remove_named(name.to_string());
    }

    fn remove_named(&mut self, name: String) {
        match self.shared.disk.remove(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => self.litter.push(name),
            _ => {}
        }
    }

    /// The log may have the file again; one is enough.
    fn recycle(&mut self, number: u64) {
        let name = Name::Log(number);
        let usual =
            || self.shared.disk.open(&name.to_string()).and_then(|file| file.len()).is_ok_and(|len| len == self.options.file_bytes());
        if self.spares.count() == 0 && usual() {
            let spare = self.next_spare;
            self.next_spare += 1;
            let to = self.takes_name(Name::Spare(spare));
            if self.shared.disk.rename(&name.to_string(), &to).is_ok() {
                self.spares.add(spare);
                return;
            }
        }
        self.remove(name);
    }

    /// Keeps one file full of zeros ready for the log.
    pub fn prepare_spare(&mut self) -> Result<(), Error> {
        if self.spares.count() > 0 {
            return Ok(());
        }
        let number = self.next_spare;
        self.next_spare += 1;
        let name = self.takes_name(Name::Spare(number));
        let filled = self.shared.disk.create(&name).and_then(|file| {
            fill(file.as_ref(), self.options.file_bytes())?;
            file.sync()
        });
        if let Err(error) = filled {
            self.remove_named(name.clone());
            return Err(Error::io(&name, error));
        }
        self.spares.add(number);
        Ok(())
    }

    /// What is defined, once.
    pub(super) fn take_definitions(&mut self) -> Definitions {
        self.definitions.take().unwrap_or_default()
    }
}
