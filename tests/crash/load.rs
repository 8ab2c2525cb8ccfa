//! Everybody who works with the broker in one round, each on a thread and a connection of their own.

use std::sync::Arc;
use std::thread::JoinHandle;

use crate::client::{Address, Client, Gone, Heard};
use crate::consuming::{self, Consumed, Habit};
use crate::declaring::Definitions;
use crate::message::Id;
use crate::publishing::{self, Sent};
use crate::random::Random;
use crate::stream;
use crate::topology::{CLASSIC, DEAD, FAN_1, FAN_2, MOVED, PRIORITY, QUORUM_QUEUE, REJECTED, ROUTES, Route, TO_MARKS, TX_A};

/// What somebody did until the broker was gone.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) sent: Vec<Sent>,
    pub(crate) consumed: Vec<Consumed>,
    pub(crate) read: Vec<(u64, Id)>,
    pub(crate) definitions: Option<Definitions>,
    pub(crate) faults: Vec<String>,
}

pub(crate) struct Load {
    threads: Vec<JoinHandle<Account>>,
    address: Arc<dyn Address>,
    round: u32,
}

impl Load {
    /// Some of them come, as the seed has it. `publisher` is the next number for one; `stream` how much of it is known.
    pub(crate) fn start(
        address: Arc<dyn Address>,
        round: u32,
        definitions: Definitions,
        stream: usize,
        publisher: &mut u32,
        random: &mut Random,
    ) -> Self {
        let mut load = Self { threads: Vec::new(), address, round };
        for route in &ROUTES {
            if random.percent(70) {
                load.publish(route, publisher, random);
            }
        }
        for queue in [CLASSIC, CLASSIC, QUORUM_QUEUE, PRIORITY, FAN_1, FAN_2, REJECTED, DEAD, TX_A] {
            if random.percent(if queue == DEAD { 40 } else { 70 }) {
                load.consume(queue, publisher, random);
            }
        }
        if random.percent(70) {
            let mut random = Random::new(random.next());
            load.spawn(move |client, account| {
                account.consumed.push(Consumed::new(MOVED));
                consuming::moving(client, &mut account.consumed[0], &mut random)
            });
        }
        let mut own = Random::new(random.next());
        load.spawn(move |client, account| stream::reading(client, stream, &mut account.read, &mut own));
        let mut own = Random::new(random.next());
        load.spawn(move |client, account| account.definitions.insert(definitions).change(client, round, &mut own));
        load
    }

    fn spawn(&mut self, act: impl FnOnce(&mut Client, &mut Account) -> Heard<()> + Send + 'static) {
        let address = self.address.of_their_own();
        self.threads.push(std::thread::spawn(move || {
            let mut account = Account::default();
            match address.connect().and_then(|mut client| act(&mut client, &mut account)) {
                Ok(()) | Err(Gone::Closed) => {}
                Err(Gone::Fault(text)) => account.faults.push(text),
                Err(Gone::Channel(code, text)) => account.faults.push(format!("the broker closed a channel: {code} {text}")),
            }
            account
        }));
    }

    fn publish(&mut self, route: &'static Route, publisher: &mut u32, random: &mut Random) {
        let mut sent = Sent::new(*publisher, route, self.round);
        *publisher += 1;
        let most = if route.key == "stream" { 300 } else { [50, 1000, 5000][random.below(3)] };
        let window = [1, 10, 100, 500][random.below(4)];
        let mut random = Random::new(random.next());
        self.spawn(move |client, account| {
            let heard = match route.key {
                "" if route.exchange.is_empty() => publishing::in_transactions(client, &mut sent, most, &mut random),
                _ => publishing::with_confirms(client, &mut sent, most, window),
            };
            account.sent.push(sent);
            heard
        });
    }

    fn consume(&mut self, queue: usize, publisher: &mut u32, random: &mut Random) {
        let mut marks = Sent::new(*publisher, &TO_MARKS, self.round);
        *publisher += 1;
        let prefetch = [1, 20, 300][random.below(3)];
        let habit = Habit {
            prefetch,
            hold: random.below(usize::from(prefetch).min(100)),
            rejects: if queue == REJECTED { 50 } else { 0 },
            requeues: if queue == DEAD { 0 } else { random.below(4) },
            mark_every: 1 + random.below(100),
        };
        let mut random = Random::new(random.next());
        self.spawn(move |client, account| {
            account.consumed.push(Consumed::new(queue));
            let heard = consuming::with_acks(client, &mut account.consumed[0], &mut marks, habit, &mut random);
            account.sent.push(marks);
            heard
        });
    }

    /// Everybody's account, once the broker is gone.
    pub(crate) fn end(self) -> Vec<Account> {
        let ended = self.threads.into_iter().map(|thread| match thread.join() {
            Ok(account) => account,
            Err(failure) => {
                let text = failure.downcast_ref::<String>().cloned().unwrap_or_else(|| "a client panicked".to_owned());
                Account { faults: vec![text], ..Account::default() }
            }
        });
        ended.collect()
    }
}
