//! How much of the disk is used while messages come and go in every order: little more than what is alive.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::client::{Address, BASIC_ACK, Client, Gone, Heard};
use crate::node::{Node, Scratch};
use crate::random::Random;
use crate::wire::{self, Fields};

const QUEUE: &str = "q";
const LOG_BYTES: u64 = 4 * 1024 * 1024;
/// Beside the body: the envelope, what a segment adds.
const OVERHEAD: u64 = 60;
const MOST: u64 = 12 * 1024 * 1024;
const LEAST: u64 = 1024 * 1024;

fn used(data: &Path) -> u64 {
    let files = fs::read_dir(data).expect("the data directory").filter_map(Result::ok);
    // A file may go between two looks.
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

struct Traffic {
    client: Client,
    random: Random,
    /// Delivered and not acknowledged: tag and length.
    held: Vec<(u64, u64)>,
    /// Bytes of all that is in the queue.
    live: u64,
    published: u64,
    confirmed: u64,
}

impl Traffic {
    fn new(node: &mut Node) -> Heard<Self> {
        let mut client = node.address().connect()?;
        client.open_channel(1)?;
        client.confirm_select(1)?;
        let fields = Fields::new().short(0).text(QUEUE).byte(2).bytes(&[]);
        client.call(1, wire::QUEUE_DECLARE, &fields, wire::QUEUE_DECLARE_OK)?;
        client.consume(1, QUEUE, &[])?;
        Ok(Self { client, random: Random::new(1), held: Vec::new(), live: 0, published: 0, confirmed: 0 })
    }

    /// Publishes some, acknowledges some, and waits until that is on the disk.
    fn step(&mut self, publishes: usize, acks: usize) -> Heard<()> {
        for _ in 0..acks.min(self.held.len()) {
            let at = self.random.below(self.held.len());
            let (tag, length) = self.held.swap_remove(at);
            self.client.ack(1, tag, false);
            self.live -= length;
        }
        for _ in 0..publishes {
            let most = if self.random.percent(5) { 20_000 } else { 2_000 };
            let body = vec![7; 100 + self.random.below(most)];
            self.client.publish(1, "", QUEUE, &Fields::new().short(1 << 12).byte(2).0, &body);
            self.live += body.len() as u64 + OVERHEAD;
            self.published += 1;
        }
        while self.confirmed < self.published {
            let event = self.client.event()?;
            match event.id {
                wire::DELIVER => self.held.push((event.deliver().1, event.body.len() as u64 + OVERHEAD)),
                BASIC_ACK => self.confirmed = event.tag().0,
                id => return Err(Gone::Fault(format!("unasked came {id:?}"))),
            }
        }
        Ok(())
    }
}

#[test]
fn the_disk_holds_little_more_than_what_is_alive() {
    let scratch = Scratch::new("disk-use");
    let mut node = Node::launch(&scratch);
    let mut traffic = Traffic::new(&mut node).expect("a queue");
    let allowed = |live: u64| live * 3 / 2 + 2 * LOG_BYTES;
    for _ in 0..3 {
        for (publishes, acks) in [(60, 20), (20, 60)] {
            let is_enough = |live: u64| if publishes > acks { live >= MOST } else { live <= LEAST };
            while !is_enough(traffic.live) {
                traffic.step(publishes, acks).expect("traffic");
                let used = used(&scratch.data());
                // While a backlog goes at full speed, merging comes a little behind.
                assert!(used <= 2 * allowed(traffic.live), "{used} bytes used for {} alive", traffic.live);
            }
        }
    }
    let began = Instant::now();
    while used(&scratch.data()) > allowed(traffic.live) {
        assert!(began.elapsed() < Duration::from_secs(10), "{} bytes used for {} alive", used(&scratch.data()), traffic.live);
        traffic.step(1, 1).expect("traffic");
    }
}
