//! A broker that is killed again and again, and what is known of it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::client::{Address, BASIC_ACK, Client, Gone, Heard, PATIENCE};
use crate::consuming::{Consumed, End, Told};
use crate::declaring::Definitions;
use crate::ledger::{Ledger, Manner};
use crate::load::{Account, Load};
use crate::message::Id;
use crate::node::Brokers;
use crate::publishing::Sent;
use crate::random::Random;
use crate::stream::{self, Stream};
use crate::topology::{self, DELAYED, PROOF, QUEUES, ROUTES, STREAM};
use crate::wire::Fields;

/// A delayed message is due by then, whenever it was published before.
const DELAY_MAX: Duration = Duration::from_millis(400);

pub(crate) struct World {
    pub(crate) random: Random,
    /// The command for the same seed.
    again: String,
    brokers: Box<dyn Brokers>,
    books: Books,
    kills: u32,
    stops: u32,
    judged: u32,
    began: Instant,
}

impl World {
    pub(crate) fn new(seed: u64, again: String, brokers: Box<dyn Brokers>) -> Self {
        Self { random: Random::new(seed), again, brokers, books: Books::default(), kills: 0, stops: 0, judged: 0, began: Instant::now() }
    }

    /// Declares what the load goes through; the broker is killed as soon as it has answered.
    pub(crate) fn begin(&mut self) {
        let address = self.brokers.start(&mut self.random);
        self.brokers.run_during(&mut || {
            let mut client = address.connect().expect("a connection");
            client.open_channel(1).and_then(|()| topology::declare(&mut client)).expect("queues and exchanges");
        });
        self.end(Manner::Killed);
    }

    fn end(&mut self, manner: Manner) {
        self.brokers.end(manner);
        *(if manner == Manner::Stopped { &mut self.stops } else { &mut self.kills }) += 1;
    }

    /// Load for a while, then the end of the broker.
    pub(crate) fn round(&mut self) {
        self.books.ledger.round += 1;
        let address = self.brokers.start(&mut self.random);
        let definitions = self.books.definitions.clone();
        let (round, stream) = (self.books.ledger.round, self.books.stream.len());
        let load = Load::start(address, round, definitions, stream, &mut self.books.next_publisher, &mut self.random);
        self.brokers.run(Duration::from_micros(5_000 + self.random.next() % 1_495_000));
        let manner = if self.random.percent(10) { Manner::Stopped } else { Manner::Killed };
        self.end(manner);
        self.books.enter(load.end(), manner);
        self.fail_if_faulty();
    }

    fn fail_if_faulty(&self) {
        if let Some(verdict) = self.books.ledger.verdict() {
            panic!("{verdict}run again with: {}\n{}", self.again, self.brokers.about());
        }
    }

    /// Takes everything out of every queue and compares it with what must be there.
    pub(crate) fn judge(&mut self) {
        self.books.ledger.round += 1;
        self.judged += 1;
        let address = self.brokers.start(&mut self.random);
        let books = &mut self.books;
        self.brokers.run_during(&mut || match books.drain(address.as_ref()) {
            Ok(()) => books.ledger.settle(),
            Err(gone) => books.ledger.fault(format!("while everything was taken out: {gone:?}")),
        });
        self.fail_if_faulty();
        self.end(Manner::Killed);
    }

    pub(crate) fn report(&self) {
        let Self { again, books: Books { ledger, .. }, kills, stops, judged, began, .. } = self;
        #[expect(clippy::print_stdout, reason = "how much was tried is part of the proof")]
        {
            println!(
                "{again}: {kills} kills, {stops} stops, {judged} times all was taken out; {} messages confirmed, {} received, \
                 {} of them again; nothing lost; {:?}",
                ledger.confirmed,
                ledger.received,
                ledger.redelivered,
                began.elapsed()
            );
        }
    }
}

/// Everything that is known of what brokers were given and gave.
#[derive(Debug, Default)]
struct Books {
    ledger: Ledger,
    stream: Stream,
    definitions: Definitions,
    next_publisher: u32,
}

impl Books {
    fn enter(&mut self, accounts: Vec<Account>, manner: Manner) {
        let (mut sent, mut consumed) = (Vec::new(), Vec::new());
        for account in accounts {
            sent.extend(account.sent);
            consumed.extend(account.consumed);
            account.faults.into_iter().for_each(|fault| self.ledger.fault(fault));
            if let Err(fault) = self.stream.check(&account.read) {
                self.ledger.fault(fault);
            }
            // Whoever found no broker any more has changed nothing.
            if let Some(definitions) = account.definitions {
                self.definitions = definitions;
            }
        }
        sent.iter().filter(|sent| sent.route.key == topology::STREAM).for_each(|sent| self.stream.publish(sent));
        self.ledger.enter(sent, &consumed, manner);
    }

    fn drain(&mut self, address: &dyn Address) -> Heard<()> {
        let serving = Instant::now();
        let mut client = address.connect()?;
        client.open_channel(1)?;
        topology::check(&mut client)?;
        self.definitions.check(&mut address.connect()?)?;
        let mut consumed = Vec::new();
        for queue in 0..QUEUES.len() {
            let due: HashSet<Id> = if queue == DELAYED { self.ledger.outstanding(queue).collect() } else { HashSet::new() };
            let mut emptying = Emptying { client: address.connect()?, consumed: Consumed::new(queue), due, serving };
            let heard = emptying.run();
            consumed.push(emptying.consumed);
            heard?;
        }
        self.ledger.enter(Vec::new(), &consumed, Manner::Drained);
        let route = ROUTES.iter().find(|route| route.key == STREAM).expect("a way to the stream");
        let mut last = Sent::new(self.next_publisher, route, self.ledger.round);
        self.next_publisher += 1;
        let read = stream::read_all(&mut address.connect()?, &mut last)?;
        self.stream.publish(&last);
        self.stream.settle(&read).map_err(Gone::Fault)
    }
}

/// Takes everything out of a queue, and sees to it that this is on the disk.
struct Emptying {
    client: Client,
    consumed: Consumed,
    /// What has to come although it is not ready yet.
    due: HashSet<Id>,
    /// Since when the broker serves.
    serving: Instant,
}

impl Emptying {
    fn run(&mut self) -> Heard<()> {
        let queue = QUEUES[self.consumed.queue].name;
        self.client.open_channel(1)?;
        self.client.open_channel(2)?;
        self.client.confirm_select(2)?;
        let mut left = self.client.count(1, queue)?;
        self.client.prefetch(1, 500)?;
        self.client.consume(1, queue, &[])?;
        let began = Instant::now();
        while left > 0 || !self.is_complete() {
            if let Some(event) = self.client.event_within(Duration::from_millis(20))? {
                let (tag, id) = self.consumed.receive(&event)?;
                self.client.ack(1, tag, false);
                self.consumed.told.push(Told::Ended { id, how: End::Acked, synced: true });
                self.due.remove(&id);
                left = left.saturating_sub(1);
            } else if began.elapsed() > PATIENCE {
                return Err(Gone::Fault(format!("{queue}: {left} of its messages do not come, and {} that are late", self.due.len())));
            }
        }
        self.client.publish(2, "", PROOF, &Fields::new().short(1 << 12).byte(2).0, b"what came before is on the disk");
        let confirm = self.client.event()?;
        if confirm.id != BASIC_ACK {
            return Err(Gone::Fault(format!("{queue}: {:?} after its last message", confirm.id)));
        }
        // A queue may take a look at the disk to find that nothing is left.
        while self.client.count(1, queue)? > 0 {
            let more = self.client.event_within(Duration::from_millis(20))?;
            if more.is_some() || began.elapsed() > PATIENCE {
                return Err(Gone::Fault(format!("{queue}: more messages than it said: {:?}", more.map(|event| event.id))));
            }
        }
        Ok(())
    }

    /// Whether nothing can be on its way to the queue.
    fn is_complete(&self) -> bool {
        self.consumed.queue != DELAYED || (self.due.is_empty() && self.serving.elapsed() > DELAY_MAX)
    }
}
