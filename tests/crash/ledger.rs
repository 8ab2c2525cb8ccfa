//! What must be there, may be there and must not be there, after everything that clients have seen and done.

use std::collections::HashMap;
use std::fmt::Write;

use crate::consuming::{Consumed, End, Told};
use crate::message::Id;
use crate::publishing::{Outcome, Sent};
use crate::topology::{DEAD, MOVED, MOVED_TO, Order, QUEUES, REJECTED};

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Killed,
    Stopped,
    /// Everything was taken out of the queues.
    Drained,
}

/// A message in a queue.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// Confirmed, committed, or known to have been moved here: it is there until it ends.
    must: bool,
    /// It is in the queue only as long as this broker runs.
    transient: bool,
    /// Since this round.
    since: u32,
    /// Received last in this round.
    seen: Option<u32>,
    /// Received after a restart: it has been on the disk.
    survived: bool,
    ended: Option<Ended>,
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    how: End,
    synced: bool,
    round: u32,
}

/// What became of a message in one queue in one round.
#[derive(Default)]
struct Tally {
    received: usize,
    /// Without the mark that it may have been delivered before.
    fresh: usize,
    requeued: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) round: u32,
    sent: HashMap<u32, Sent>,
    /// Of publishers below this number nothing is left.
    retired: u32,
    fates: HashMap<(usize, Id), Fate>,
    faults: Vec<String>,
    pub(crate) confirmed: usize,
    pub(crate) received: usize,
    pub(crate) redelivered: usize,
}

/// Where messages go from a queue when they are rejected or moved.
fn next(queue: usize) -> Option<usize> {
    match queue {
        REJECTED => Some(DEAD),
        MOVED => Some(MOVED_TO),
        _ => None,
    }
}

impl Ledger {
    pub(crate) fn fault(&mut self, text: impl std::fmt::Display) {
        self.faults.push(format!("round {}: {text}", self.round));
    }

    /// The faults so far, as far as anybody wants to read them.
    pub(crate) fn verdict(&self) -> Option<String> {
        let mut text = String::new();
        for fault in self.faults.iter().take(30) {
            writeln!(text, "{fault}").expect("a string takes it");
        }
        if self.faults.len() > 30 {
            writeln!(text, "and {} more", self.faults.len() - 30).expect("a string takes it");
        }
        (!text.is_empty()).then_some(text)
    }

    /// One round is over: these were published, these consumed.
    pub(crate) fn enter(&mut self, sent: Vec<Sent>, consumed: &[Consumed], manner: Manner) {
        let is_drain = manner == Manner::Drained;
        for sent in sent {
            self.publish(sent);
        }
        // First the queues that messages are moved out of, so that those where they arrive know of them.
        let mut order: Vec<usize> = (0..QUEUES.len()).collect();
        order.sort_by_key(|queue| next(*queue).is_none());
        for queue in order {
            let consumed: Vec<&Consumed> = consumed.iter().filter(|consumed| consumed.queue == queue).collect();
            for consumed in &consumed {
                self.check_order(consumed, is_drain);
            }
            self.receive(queue, &consumed, manner);
            self.end(queue, &consumed);
        }
    }

    fn publish(&mut self, sent: Sent) {
        for (seq, outcome) in (0..).zip(&sent.outcomes) {
            let id = Id { publisher: sent.publisher, seq };
            let transient = sent.is_transient(id);
            self.confirmed += usize::from(*outcome == Outcome::Confirmed);
            for queue in sent.route.targets(seq) {
                let must = *outcome == Outcome::Confirmed && !transient;
                let fate = Fate { must, transient, since: sent.round, seen: None, survived: false, ended: None };
                if *outcome != Outcome::RolledBack {
                    self.fates.insert((*queue, id), fate);
                }
            }
        }
        self.sent.insert(sent.publisher, sent);
    }

    /// Of one publisher, what comes for the first time comes in the order of its publishing.
    fn check_order(&mut self, consumed: &Consumed, is_drain: bool) {
        let queue = &QUEUES[consumed.queue];
        let mut last: HashMap<(u32, u8), u32> = HashMap::new();
        let mut priorities = Vec::new();
        for told in &consumed.told {
            let Told::Received { id, redelivered } = *told else { continue };
            let level = match queue.order {
                Order::ByPriority | Order::FirstTime => id.priority(),
                Order::Kept | Order::Any => 0,
            };
            if queue.order == Order::Any || (redelivered && !(is_drain && queue.order != Order::FirstTime)) {
                continue;
            }
            if let Some(before) = last.insert((id.publisher, level), id.seq)
                && before >= id.seq
            {
                self.fault(format!("{}: {id} came after {before}", queue.name));
            }
            priorities.push(level);
        }
        if is_drain && queue.order == Order::ByPriority && !priorities.is_sorted_by(|a, b| a >= b) {
            self.fault(format!("{}: a lower priority came first", queue.name));
        }
    }

    fn receive(&mut self, queue: usize, consumed: &[&Consumed], manner: Manner) {
        let mut tallies: HashMap<Id, Tally> = HashMap::new();
        for told in consumed.iter().flat_map(|consumed| &consumed.told) {
            match told {
                Told::Received { id, redelivered } => {
                    let tally = tallies.entry(*id).or_default();
                    tally.received += 1;
                    tally.fresh += usize::from(!redelivered);
                }
                Told::Requeued(id) => tallies.entry(*id).or_default().requeued += 1,
                Told::Ended { .. } => {}
            }
        }
        for (id, mut tally) in tallies {
            // A broker that stops closes one connection after the other, and what one had the next may get.
            if manner == Manner::Stopped {
                tally.requeued = tally.received;
            }
            self.received += tally.received;
            self.redelivered += tally.received - tally.fresh;
            if let Err(fault) = self.receive_one(queue, id, &tally) {
                self.fault(format!("{}: {id} {fault}", QUEUES[queue].name));
            }
        }
    }

    fn receive_one(&mut self, queue: usize, id: Id, tally: &Tally) -> Result<(), String> {
        let round = self.round;
        let Some(fate) = self.fates.get(&(queue, id)).copied() else { return Err(self.why_not(queue, id)) };
        let came_back = fate.seen.is_some_and(|seen| seen < round);
        if fate.transient && fate.since < round {
            return Err("is transient and outlived the broker".to_owned());
        }
        if let Some(ended) = fate.ended
            && ended.synced
        {
            return Err(format!("came back, and its end in round {} was on the disk ({:?})", ended.round, ended.how));
        }
        if came_back && tally.fresh > 0 {
            let (since, seen) = (fate.since, fate.seen);
            return Err(format!("was received before, and comes without the mark (published in round {since}, received in {seen:?})"));
        }
        if tally.fresh > 1 || tally.received > 1 + tally.requeued {
            return Err(format!(
                "came {} times in one round ({} for the first time), put back {} times",
                tally.received, tally.fresh, tally.requeued
            ));
        }
        if let Some(to) = next(queue)
            && fate.ended.is_some_and(|ended| ended.how == End::Moved)
            && let Some(moved) = self.fates.remove(&(to, id))
            && (moved.survived || moved.ended.is_some_and(|ended| ended.synced))
        {
            return Err(format!("came back, and is in {} too", QUEUES[to].name));
        }
        let fate = self.fates.get_mut(&(queue, id)).expect("it is there");
        fate.seen = Some(round);
        fate.survived |= fate.since < round;
        fate.ended = None;
        if fate.survived
            && let Some(from) = (0..QUEUES.len()).find(|from| next(*from) == Some(queue))
            && let Some(Fate { ended: Some(ended), .. }) = self.fates.get_mut(&(from, id))
        {
            ended.synced = true;
        }
        Ok(())
    }

    /// Why a message that came is none that could.
    fn why_not(&self, queue: usize, id: Id) -> String {
        if id.publisher < self.retired {
            return "came back after it had ended for good".to_owned();
        }
        match self.sent.get(&id.publisher).and_then(|sent| sent.outcomes.get(id.seq as usize)) {
            None => "was never published".to_owned(),
            Some(Outcome::RolledBack) => "was rolled back".to_owned(),
            Some(_) => format!("was not published to {}", QUEUES[queue].name),
        }
    }

    fn end(&mut self, queue: usize, consumed: &[&Consumed]) {
        let round = self.round;
        for told in consumed.iter().flat_map(|consumed| &consumed.told) {
            let Told::Ended { id, how, synced } = *told else { continue };
            let Some(fate) = self.fates.get_mut(&(queue, id)) else { continue };
            fate.ended = Some(Ended { how, synced, round });
            if let (End::Moved, Some(to)) = (how, next(queue)) {
                let fate = Fate { must: synced, transient: false, since: round, seen: None, survived: false, ended: None };
                self.fates.insert((to, id), fate);
            }
        }
    }

    /// Everything has been taken out of every queue: whatever was not seen this time is not there.
    pub(crate) fn settle(&mut self) {
        let fates = std::mem::take(&mut self.fates);
        let is_there = |queue: usize, id: Id| fates.get(&(queue, id)).is_some_and(|fate| fate.seen == Some(self.round));
        let mut lost = Vec::new();
        for ((queue, id), fate) in &fates {
            let (queue, id) = (*queue, *id);
            let must = fate.must && !is_there(queue, id);
            match (fate.ended, next(queue)) {
                (None, _) if must => lost.push((queue, id, "is lost".to_owned())),
                // What it was moved to says whether it is there; a move that nobody knows the outcome of has one of two.
                (Some(Ended { how: End::Moved, synced: false, .. }), Some(to)) if must => {
                    let moved = fates.get(&(to, id));
                    if !is_there(to, id) && moved.is_some_and(|moved| moved.ended.is_none()) {
                        lost.push((queue, id, format!("is neither there nor in {}", QUEUES[to].name)));
                    }
                }
                _ => {}
            }
        }
        for sent in self.sent.values() {
            lost.extend(torn(sent, &fates));
        }
        lost.sort();
        for (queue, id, what) in lost {
            let confirmed = self.sent[&id.publisher].round;
            self.fault(format!("{}: {id} (of round {confirmed}) {what}", QUEUES[queue].name));
        }
        self.retired = self.sent.keys().max().map_or(self.retired, |last| last + 1);
        self.sent.clear();
    }

    /// Messages that have been published since everything was taken out.
    pub(crate) fn outstanding(&self, queue: usize) -> impl Iterator<Item = Id> {
        self.fates.iter().filter(move |((of, _), fate)| *of == queue && fate.must && fate.ended.is_none()).map(|((_, id), _)| *id)
    }
}

/// Messages that are missing while what was written down together with them is there.
fn torn(sent: &Sent, fates: &HashMap<(usize, Id), Fate>) -> Vec<(usize, Id, String)> {
    let count = u32::try_from(sent.outcomes.len()).expect("fewer messages");
    let mut together: Vec<Vec<(usize, Id)>> = Vec::new();
    let places = |seq: u32| sent.route.targets(seq).iter().map(move |queue| (*queue, Id { publisher: sent.publisher, seq }));
    if sent.transactions.is_empty() && sent.route.queues.len() > 1 {
        together.extend((0..count).map(|seq| places(seq).collect()));
    }
    for (at, first) in sent.transactions.iter().enumerate() {
        let end = sent.transactions.get(at + 1).copied().unwrap_or(count);
        together.push((*first..end).flat_map(places).collect());
    }
    let fate = |place: &(usize, Id)| fates.get(place);
    let torn = together.into_iter().filter(|places| places.iter().any(|place| fate(place).is_some_and(|fate| fate.survived)));
    let missing = torn.flatten().filter(|place| fate(place).is_some_and(|fate| !fate.survived && fate.ended.is_none()));
    missing.map(|(queue, id)| (queue, id, "is missing, while what was published with it is there".to_owned())).collect()
}
