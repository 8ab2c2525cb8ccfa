//! Transient messages that memory has no room for: written to files that do not outlive the process.

use std::collections::BTreeMap;

use super::Mover;
use super::error::Error;
use super::index::Spilled;
use super::names::Name;
use super::segment::{Head, Writer};
use crate::broker::record::Stored;

#[derive(Debug, Default)]
pub(super) struct Spills {
    current: Option<(u64, Writer)>,
    next: u64,
    /// How many runs of each file are still needed.
    files: BTreeMap<u64, usize>,
    buffer: Vec<u8>,
}

impl Mover {
    /// Writes these messages, which are in order, so that they can be loaded; until the process ends.
    pub fn spill(&mut self, vhost: u32, queue: u64, level: u8, messages: &[Stored]) -> Result<(), Error> {
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else { return Ok(()) };
        let (first, last) = (first.position, last.position);
        let (file, mut writer) = match self.spills.current.take() {
            Some(current) => current,
            None => {
                self.spills.next += 1;
                let number = self.spills.next;
                let name = self.takes_name(Name::Spill(number));
                (number, Writer::new(self.shared.disk.as_ref(), name, number, Vec::new())?)
            }
        };
        let spills = &mut self.spills;
        let offset = writer.offset();
        let mut buffer = std::mem::take(&mut spills.buffer);
        let mut write = || {
            for message in messages {
                buffer.clear();
                message.message.store(&mut buffer);
                let Stored { position, at, redelivered, returns, uncounted, .. } = *message;
                writer.push(Head { position, at, redelivered, returns, uncounted }, &buffer)?;
            }
            writer.flush()
        };
        if let Err(error) = write() {
            // Nobody knows what the file has after `offset`; it stays as long as what is before is needed.
            if !self.spills.files.contains_key(&file) {
                self.remove(Name::Spill(file));
            }
            return Err(error);
        }
        let length = writer.offset() - offset;
        spills.buffer = buffer;
        if writer.offset() < self.options.log_bytes {
            spills.current = Some((file, writer));
        }
        let mut index = self.shared.index.lock();
        let runs = index.spilled.entry(((vhost, queue), level)).or_default();
        match runs.last_mut().filter(|run| run.file == file && run.offset + run.length == offset && run.last < first) {
            Some(run) => {
                run.last = last;
                run.length += length;
            }
            None => {
                let at = runs.partition_point(|run| run.first <= first);
                runs.insert(at, Spilled { file, offset, length, first, last });
                *self.spills.files.entry(file).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Spilled messages up to this position are not needed any more.
    pub fn unspill(&mut self, vhost: u32, queue: u64, level: u8, up_to: u64) {
        let mut index = self.shared.index.lock();
        let key = ((vhost, queue), level);
        let Some(runs) = index.spilled.get_mut(&key) else { return };
        let mut ended = Vec::new();
        runs.retain(|run| {
            if run.last <= up_to {
                ended.push(run.file);
            }
            run.last > up_to
        });
        if runs.is_empty() {
            index.spilled.remove(&key);
        }
        drop(index);
        for file in ended {
            let Some(needed) = self.spills.files.get_mut(&file) else { continue };
            *needed -= 1;
            if *needed == 0 {
                self.spills.files.remove(&file);
                self.spills.current.take_if(|(current, _)| *current == file);
                self.shared.files.forget(Name::Spill(file));
                self.remove(Name::Spill(file));
            }
        }
    }
}
