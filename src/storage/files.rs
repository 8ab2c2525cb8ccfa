//! Segments and spill files that are open for reading, and places in them where reading may begin.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::batch::{FILE_HEADER, FileHeader, Kind};
use super::disk::{Disk, File};
use super::error::Error;
use super::names::Name;
use super::segment::Walk;

/// How many stay open.
const OPEN: usize = 64;
/// Between two places that are remembered.
const STRIDE: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    /// The one used last at the front.
    open: Mutex<VecDeque<(Name, Arc<Open>)>>,
}

impl Files {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, open: Mutex::new(VecDeque::new()) }
    }

    pub(super) fn get(&self, name: Name) -> Result<Arc<Open>, Error> {
        {
            let mut open = self.open.lock();
            if let Some(at) = open.iter().position(|(other, _)| *other == name)
                && let Some(found) = open.remove(at)
            {
                let file = found.1.clone();
                open.push_front(found);
                return Ok(file);
            }
        }
        let file = Arc::new(Open::new(self.disk.as_ref(), name)?);
        let mut open = self.open.lock();
        open.push_front((name, file.clone()));
        open.truncate(OPEN);
        Ok(file)
    }

    /// The file is going to be removed.
    pub(super) fn forget(&self, name: Name) {
        self.open.lock().retain(|(other, _)| *other != name);
    }
}

#[derive(Debug)]
pub(super) struct Open {
    name: String,
    file: Box<dyn File>,
    marks: Mutex<BTreeMap<u64, Marks>>,
}

/// Positions of a run with the offsets of their messages.
#[derive(Debug, Default)]
struct Marks {
    /// In order, some way apart.
    strides: Vec<(u64, u64)>,
    /// Where reading ended last.
    recent: (u64, u64),
}

impl Open {
    fn new(disk: &dyn Disk, name: Name) -> Result<Self, Error> {
        let (Name::Segment(number) | Name::Spill(number) | Name::Log(number) | Name::Manifest(number) | Name::Spare(number)) = name;
        let name = name.to_string();
        let failed = |error| Error::io(&name, error);
        let file = disk.open(&name).map_err(failed)?;
        let mut header = [0; FILE_HEADER];
        let read = file.read_at(&mut header, 0).map_err(failed)?;
        FileHeader::decode(&header[..read], Kind::Segment, number).map_err(|none| Error::header(&name, none))?;
        Ok(Self { name, file, marks: Mutex::default() })
    }

    pub(super) fn walk(&self, span: (u64, u64), portion: usize, buffer: Vec<u8>) -> Walk<'_> {
        Walk::new(self.file.as_ref(), &self.name, span, portion, buffer)
    }

    /// Where to begin, for the first message of a run whose position is not less than this.
    pub(super) fn start(&self, run: u64, position: u64) -> u64 {
        let marks = self.marks.lock();
        let Some(marks) = marks.get(&run) else { return run };
        let before = marks.strides.partition_point(|mark| mark.0 <= position);
        let stride = before.checked_sub(1).map_or(run, |at| marks.strides[at].1);
        if marks.recent.0 <= position { stride.max(marks.recent.1) } else { stride }
    }

    /// The message at this offset of a run has this position.
    pub(super) fn mark(&self, run: u64, position: u64, offset: u64) {
        let mut marks = self.marks.lock();
        let marks = marks.entry(run).or_default();
        marks.recent = (position, offset);
        if marks.strides.last().map_or(run, |mark| mark.1) + STRIDE <= offset {
            marks.strides.push((position, offset));
        }
    }
}
