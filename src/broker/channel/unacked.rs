//! The deliveries of one channel that are not settled: delivery tag → message.

use std::collections::VecDeque;

use crate::broker::queue::{ConsumerId, Entry, QueueId};
use crate::broker::{Error, Timestamp};

/// A delivery that waits for its settlement.
#[derive(Debug)]
pub(in crate::broker) struct Delivery {
    pub(in crate::broker) tag: u64,
    pub(in crate::broker) queue: QueueId,
    /// `None` for basic.get.
    pub(in crate::broker) consumer: Option<ConsumerId>,
    pub(in crate::broker) delivered: Timestamp,
    pub(in crate::broker) entry: Entry,
    /// It was given to its consumer a second time beside the first: whatever is done with it settles nothing.
    pub(in crate::broker) again: bool,
}

/// Invariant: tags rise; neither end is a gap.
#[derive(Debug, Default)]
pub(in crate::broker) struct Unacked {
    last_tag: u64,
    deliveries: VecDeque<Slot>,
    outstanding: usize,
    /// Those of them that a consumer got: what a channel-wide prefetch counts (gotcha 44).
    consumed: usize,
}

#[derive(Debug)]
struct Slot {
    tag: u64,
    /// `None`: settled, while older ones are not.
    delivery: Option<Delivery>,
}

impl Unacked {
    /// The next delivery tag; those of no_ack deliveries count too (gotcha 6).
    pub(in crate::broker) fn next_tag(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// Adds a delivery whose tag was the last one given out.
    pub(in crate::broker) fn push(&mut self, delivery: Delivery) {
        self.outstanding += 1;
        self.consumed += usize::from(delivery.consumer.is_some());
        self.deliveries.push_back(Slot { tag: delivery.tag, delivery: Some(delivery) });
    }

    pub(in crate::broker) fn len(&self) -> usize {
        self.outstanding
    }

    pub(in crate::broker) fn consumed(&self) -> usize {
        self.consumed
    }

    /// Takes the delivery with this tag or, with `multiple`, all up to it; tag 0 with `multiple` means all.
    ///
    /// # Errors
    /// 406 when the tag itself is not outstanding, even if lower ones are (gotchas 2–4).
    pub(in crate::broker) fn take(&mut self, tag: u64, multiple: bool, taken: &mut Vec<Delivery>) -> Result<(), Error> {
        if tag == 0 && multiple {
            taken.extend(self.take_all());
            return Ok(());
        }
        let at = self.deliveries.binary_search_by_key(&tag, |slot| slot.tag).ok();
        let Some(at) = at.filter(|at| self.deliveries[*at].delivery.is_some()) else {
            return Err(Error::unknown_delivery_tag(tag));
        };
        if multiple {
            let settled = self.deliveries.drain(..=at).filter_map(|slot| slot.delivery);
            for delivery in settled {
                self.outstanding -= 1;
                self.consumed -= usize::from(delivery.consumer.is_some());
                taken.push(delivery);
            }
        } else if let Some(delivery) = self.deliveries[at].delivery.take() {
            self.outstanding -= 1;
            self.consumed -= usize::from(delivery.consumer.is_some());
            taken.push(delivery);
        }
        self.trim();
        Ok(())
    }

    fn trim(&mut self) {
        while self.deliveries.front().is_some_and(|slot| slot.delivery.is_none()) {
            self.deliveries.pop_front();
        }
        while self.deliveries.back().is_some_and(|slot| slot.delivery.is_none()) {
            self.deliveries.pop_back();
        }
    }

    pub(in crate::broker) fn take_all(&mut self) -> Vec<Delivery> {
        self.outstanding = 0;
        self.consumed = 0;
        std::mem::take(&mut self.deliveries).into_iter().filter_map(|slot| slot.delivery).collect()
    }

    pub(in crate::broker) fn get(&self, tag: u64) -> Option<&Delivery> {
        let at = self.deliveries.binary_search_by_key(&tag, |slot| slot.tag).ok()?;
        self.deliveries[at].delivery.as_ref()
    }

    /// Those that are not settled, the oldest first.
    pub(in crate::broker) fn iter(&self) -> impl Iterator<Item = &Delivery> {
        self.deliveries.iter().filter_map(|slot| slot.delivery.as_ref())
    }

    /// Puts deliveries back that were taken: a transaction was rolled back.
    pub(in crate::broker) fn restore(&mut self, deliveries: Vec<Delivery>) {
        let mut all = self.take_all();
        all.extend(deliveries);
        all.sort_by_key(|delivery| delivery.tag);
        for delivery in all {
            self.push(delivery);
        }
    }
}
