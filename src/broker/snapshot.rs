//! A virtual host at one moment, to go back to: what is declared in it, and every message with all that its queue knows of it.
//!
//! A snapshot is what would be left if all connections closed at that moment: what is unacked is ready again, redelivered, and
//! exclusive queues are not part of it. Messages are written as [`super::record`] writes them, so a snapshot shares nothing with its
//! broker and can be kept in a file.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::exchange::ExchangeId;
use super::journal::reason;
use super::policy::Policy;
use super::queue::stream::Stream;
use super::queue::{Entry, Flags, QueueId, QueueType};
use super::record::{self, Enqueue, Record};
use super::topology::NewQueue;
use super::view::BindingView;
use super::{Broker, Declaration, Effects, INTERNAL_USER, Timestamp};
use crate::amqp::Message;

/// How a snapshot begins that is kept as bytes.
const MAGIC: &[u8] = b"leveret snapshot 1\n";

/// What goes back to an exchange that delays is said of queues from here on.
const DELAYED: u64 = 1 << 32;

/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Lists of what is declared, as definitions have it; policies say as well whether they are an operator's.
    definitions: Arc<Map<String, Json>>,
    /// Messages, each with where it goes: the index of a queue in `definitions`, or that of an exchange above `DELAYED`.
    records: Arc<[u8]>,
    messages: u64,
}

/// Messages of a queue are on a disk alone, and have to be loaded before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotInMemory {
    pub queue: Arc<str>,
    /// It is a stream, which loads pages for its readers only.
    pub is_stream: bool,
}

impl Snapshot {
    #[must_use]
    pub fn queues(&self) -> usize {
        self.list("queues").len()
    }

    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// The same without messages.
    #[must_use]
    pub fn definitions_only(&self) -> Self {
        Self { records: Arc::default(), messages: 0, ..self.clone() }
    }

    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let definitions = Json::Object(Map::clone(&self.definitions)).to_string();
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&(definitions.len() as u64).to_le_bytes());
        bytes.extend_from_slice(definitions.as_bytes());
        bytes.extend_from_slice(&self.records);
        bytes
    }

    /// What [`Snapshot::to_bytes`] has written.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin as a snapshot does")?;
        let (length, rest) = rest.split_first_chunk::<8>().ok_or("it ends too early")?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| "it ends too early")?;
        let (definitions, records) = rest.split_at_checked(length).ok_or("it ends too early")?;
        let definitions: Map<String, Json> = serde_json::from_slice(definitions).map_err(|error| error.to_string())?;
        let mut left = records;
        let mut messages = 0;
        while !left.is_empty() {
            let offset = records.len() - left.len();
            match record::one(&mut left) {
                Some(Record::Enqueue(_)) => messages += 1,
                Some(Record::Message(stored)) if Message::from_stored(stored).is_some() => {}
                _ => return Err(format!("there is no message {offset} bytes behind its definitions")),
            }
        }
        Ok(Self { definitions: Arc::new(definitions), records: records.into(), messages })
    }

    fn list(&self, name: &str) -> &[Json] {
        self.definitions.get(name).and_then(Json::as_array).map_or(&[], Vec::as_slice)
    }
}

/// Messages as they are written.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    messages: u64,
}

impl Writer {
    fn entry(&mut self, queue: u64, entry: &Entry, redelivered: bool) {
        let Entry { position, expires, returns, uncounted_returns, priority, .. } = *entry;
        let at = expires.0;
        self.message(&entry.message, Enqueue { queue, level: priority, position, at, redelivered, returns, uncounted: uncounted_returns });
    }

    fn message(&mut self, message: &Message, place: Enqueue) {
        let mut stored = Vec::with_capacity(message.stored_len());
        message.store(&mut stored);
        Record::Message(&stored).write(&mut self.bytes);
        Record::Enqueue(place).write(&mut self.bytes);
        self.messages += 1;
    }
}

impl Broker {
    /// Asks for all messages that are on a disk alone; `false` when there are none.
    pub fn load_all(&mut self) -> bool {
        let paged: Vec<QueueId> = self.queues.iter().filter(|(_, queue)| queue.ready.is_paged()).map(|(id, _)| id).collect();
        paged.iter().for_each(|id| self.want_all(*id));
        !paged.is_empty()
    }

    /// The virtual host as it is.
    ///
    /// # Errors
    /// When messages of a queue are on a disk alone: [`Broker::load_all`] asks for them.
    pub fn snapshot(&self) -> Result<Snapshot, NotInMemory> {
        let mut unacked: BTreeMap<QueueId, Vec<&Entry>> = BTreeMap::new();
        let channels = self.connections.iter().flatten().flat_map(|connection| connection.channels.values());
        for delivery in channels.flat_map(|channel| channel.held()) {
            unacked.entry(delivery.queue).or_default().push(&delivery.entry);
        }
        let mut writer = Writer::default();
        let mut queues = Vec::new();
        for view in self.queue_views() {
            let Some(definition) = view.to_definition() else { continue };
            let id = self.queue_names[&view.name];
            self.write_messages(queues.len() as u64, id, unacked.remove(&id).unwrap_or_default(), &mut writer)?;
            queues.push(Json::Object(definition));
        }
        let mut exchanges = Vec::new();
        for view in self.exchange_views() {
            let Some(definition) = view.to_definition() else { continue };
            let delayed = self.exchanges[self.exchange_names[&view.name]].delayed.as_ref();
            for (due, position, message) in delayed.into_iter().flat_map(|delayed| delayed.iter()) {
                let queue = DELAYED + exchanges.len() as u64;
                writer.message(message, Enqueue { queue, position, at: due.0, ..Enqueue::default() });
            }
            exchanges.push(Json::Object(definition));
        }
        let bindings: Vec<Json> = self.binding_views().iter().filter_map(BindingView::to_definition).map(Json::Object).collect();
        let policies = [false, true].into_iter().flat_map(|operator| self.policies.all(operator).map(move |policy| (operator, policy)));
        let policies: Vec<Json> =
            policies.map(|(operator, policy)| json!({"name": policy.name, "operator": operator, "policy": policy.to_json()})).collect();
        let all = [("queues", queues), ("exchanges", exchanges), ("bindings", bindings), ("policies", policies)];
        let definitions = all.into_iter().map(|(name, list)| (name.to_owned(), Json::Array(list))).collect();
        Ok(Snapshot { definitions: Arc::new(definitions), records: writer.bytes.into(), messages: writer.messages })
    }

    fn write_messages(&self, index: u64, id: QueueId, mut unacked: Vec<&Entry>, writer: &mut Writer) -> Result<(), NotInMemory> {
        let queue = &self.queues[id];
        let not_in_memory = |is_stream| NotInMemory { queue: Arc::clone(&queue.name), is_stream };
        if let Some(stream) = &queue.stream {
            if stream.in_memory().messages != stream.len() as u64 {
                return Err(not_in_memory(true));
            }
            for (offset, appended, message) in stream.entries() {
                writer.message(message, Enqueue { queue: index, position: offset, at: appended.0, ..Enqueue::default() });
            }
            return Ok(());
        }
        if queue.ready.is_paged() {
            return Err(not_in_memory(false));
        }
        // What consumers hold has been handed out. It comes back to its place, in a quorum queue before all else.
        unacked.sort_by_key(|entry| entry.position);
        let held = unacked.into_iter().map(|entry| (entry, true));
        let mut all: Vec<(&Entry, bool)> = held.chain(queue.ready.iter().map(|entry| (entry, entry.redelivered))).collect();
        if queue.kind != QueueType::Quorum {
            all.sort_by_key(|(entry, _)| (Reverse(entry.priority), entry.position));
        }
        all.into_iter().for_each(|(entry, redelivered)| writer.entry(index, entry, redelivered));
        Ok(())
    }

    /// The virtual host becomes what it was: what is in it now goes, and consumers are told so.
    ///
    /// # Errors
    /// What cannot be declared in this virtual host; it is empty then, or nearly.
    pub(super) fn restore_snapshot(&mut self, snapshot: &Snapshot, effects: &mut Effects) -> Result<(), String> {
        self.reset(effects);
        for policy in snapshot.list("policies") {
            let operator = policy["operator"] == true;
            let name = policy["name"].as_str().unwrap_or_default();
            let policy = Policy::from_json(operator, name, &policy["policy"])?;
            self.set_policy(operator, &policy, INTERNAL_USER, effects);
        }
        let mut delaying = Vec::new();
        for exchange in snapshot.list("exchanges") {
            let declaration = Declaration::exchange(exchange)?;
            self.import(&declaration, INTERNAL_USER, effects).map_err(|error| error.reply_text())?;
            delaying.push(self.exchange_names.get(declaration.name()).copied());
        }
        let mut queues = Vec::new();
        for queue in snapshot.list("queues") {
            let declaration = Declaration::queue(queue)?;
            queues.push(self.declare_again(&declaration, effects)?);
        }
        for binding in snapshot.list("bindings") {
            self.import(&Declaration::binding(binding)?, INTERNAL_USER, effects).map_err(|error| error.reply_text())?;
        }
        let mut left = &*snapshot.records;
        let mut message = None;
        while let Some(record) = record::one(&mut left) {
            match record {
                Record::Message(stored) => message = Message::from_stored(stored),
                Record::Enqueue(place) => {
                    let Some(message) = message.take() else { continue };
                    self.memory += message.memory() as u64;
                    self.log.next_message();
                    let index = usize::try_from(place.queue % DELAYED).unwrap_or(usize::MAX);
                    match place.queue.checked_sub(DELAYED) {
                        Some(_) => self.delay_again(delaying.get(index).copied().flatten(), place, message),
                        None => self.enqueue_again(queues.get(index).copied(), place, message),
                    }
                }
                _ => {}
            }
        }
        for id in queues {
            // What has expired meanwhile goes, and clocks are set.
            self.retire(id);
            self.settle_head(id);
            self.note_used(id);
        }
        Ok(())
    }

    /// Server-named queues as well, which nobody could declare under their names.
    fn declare_again(&mut self, declaration: &Declaration, effects: &mut Effects) -> Result<QueueId, String> {
        let refused = |error: super::Error| error.reply_text();
        if let Declaration::Queue { name, durable, auto_delete, arguments, .. } = declaration
            && name.starts_with("amq.")
        {
            let flags = Flags { durable: *durable, exclusive: false, auto_delete: *auto_delete };
            let new = NewQueue { name: name.clone(), was_named: false, flags, owner: None, arguments: arguments.clone() };
            return self.create_queue(new, INTERNAL_USER).map_err(refused);
        }
        self.import(declaration, INTERNAL_USER, effects).map_err(refused)?;
        let id = self.queue_names.get(declaration.name());
        id.copied().ok_or_else(|| format!("queue '{}' was not declared", declaration.name()))
    }

    fn enqueue_again(&mut self, id: Option<QueueId>, place: Enqueue, message: Message) {
        let Some(queue) = id.and_then(|id| self.queues.get_mut(id)) else { return self.release(message) };
        if let Some(stream) = &mut queue.stream {
            if stream.is_empty() {
                stream.restore(&[], place.position);
            }
            if queue.number != 0 {
                self.log.enqueue(&message, Enqueue { queue: queue.number, ..place });
            }
            stream.append(message, Timestamp(place.at), &queue.effective);
            self.memory += Stream::MEMORY;
            return;
        }
        if let Some(deduplication) = &mut queue.deduplication {
            deduplication.change(&mut self.memory, |seen| seen.remember(message.properties(), self.now));
        }
        let Enqueue { level: priority, at, redelivered, returns, uncounted, .. } = place;
        let entry = queue.ready.entry(message);
        let entry = Entry { expires: Timestamp(at), returns, uncounted_returns: uncounted, priority, redelivered, ..entry };
        self.memory += Entry::MEMORY;
        Self::write_enqueue(&mut self.log, queue, &entry);
        queue.ready.push(entry);
    }

    fn delay_again(&mut self, id: Option<ExchangeId>, place: Enqueue, message: Message) {
        let Some(id) = id else { return self.release(message) };
        let queue = self.exchanges[id].number;
        if queue != 0 {
            self.log.enqueue(&message, Enqueue { queue, ..place });
        }
        self.keep_delayed(id, place.position, Timestamp(place.at), message);
    }

    /// Nothing that is ready, delayed or in a stream stays; what consumers hold is theirs.
    pub(super) fn empty(&mut self) {
        for id in self.queues.keys().collect::<Vec<QueueId>>() {
            self.drop_ready(id, reason::PURGED);
            let queue = &mut self.queues[id];
            let number = queue.number;
            let Some(stream) = &mut queue.stream else { continue };
            let (first, next, bytes) = (stream.first(), stream.next(), stream.bytes());
            let messages: Vec<Message> = stream.drain().collect();
            if number != 0 && first < next {
                self.log.drop_all(number, 0, (first, next - 1), bytes);
            }
            messages.into_iter().for_each(|message| self.release_stored(message));
        }
        for id in self.exchanges.keys().collect::<Vec<ExchangeId>>() {
            self.empty_delayed(id);
            self.remember_nothing(id);
        }
    }
}
