//! Disks that have no room: publishers wait, nothing that was confirmed is lost, and all goes on when there is room again
//! (behaviour C27, O6).

use std::process::Command;

use super::Client;
use crate::support::broker::{Broker, End, Home, leveret};
use crate::support::client;
use crate::support::raw::{Frame, Raw};
use crate::support::volume::Volume;
use crate::support::wire::{self, Fields};
use crate::support::{PATIENCE, eventually};

const SIZE: usize = 100_000;

/// How a disk gets full.
enum Room {
    /// It is a small one, and a file takes the rest of it.
    Volume(Volume),
    /// The system lets the process write no further than this into any file.
    Limit,
}

impl Room {
    fn command(&self) -> Command {
        match self {
            Self::Volume(volume) => volume.leveret(),
            Self::Limit => {
                let mut command = Command::new("sh");
                // Writes are to fail instead of ending the process.
                command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(leveret().get_program());
                command
            }
        }
    }

    fn shrink(&self, broker: &Broker) {
        match self {
            Self::Volume(volume) => volume.fill(34),
            Self::Limit => limit(broker, "1500000"),
        }
    }

    fn grow(&self, broker: &Broker) {
        match self {
            Self::Volume(volume) => volume.clear(),
            Self::Limit => limit(broker, "unlimited"),
        }
    }
}

fn limit(broker: &Broker, bytes: &str) {
    let status = Command::new("prlimit").args([format!("--pid={}", broker.pid()), format!("--fsize={bytes}:")]).status();
    assert!(status.expect("prlimit").success());
}

fn assert_is_blocked_by_the_disk(blocked: &Frame) {
    assert_eq!(blocked.arguments(), Fields::new().text("low on disk").0);
}

/// A connection that publishes persistent messages and counts their confirms.
struct Publisher {
    raw: Raw,
    sent: u64,
    confirmed: u64,
}

impl Publisher {
    fn new(broker: &Broker) -> Self {
        let mut raw = Raw::channel(broker);
        raw.declare("q", 2);
        raw.send(&wire::method(1, wire::CONFIRM_SELECT, &Fields::new().byte(0)));
        raw.expect(wire::CONFIRM_SELECT_OK);
        Self { raw, sent: 0, confirmed: 0 }
    }

    fn message(&self) -> Vec<u8> {
        let mut body = vec![b'x'; SIZE];
        body[..8].copy_from_slice(&self.sent.to_be_bytes());
        wire::publish_persistent(1, "", "q", &body)
    }

    fn publish(&mut self) {
        self.raw.send(&self.message());
        self.sent += 1;
    }

    /// The next frame that is no confirm; those are counted.
    fn next_other(&mut self) -> Frame {
        loop {
            let frame = self.raw.next().expect("the broker does not close");
            if frame.id() != wire::ACK {
                return frame;
            }
            self.confirmed = self.confirmed.max(wire::delivery_tag(frame.arguments()));
        }
    }

    /// Publishes one message at a time until the broker says that it takes no more.
    fn publish_until_blocked(&mut self) {
        for _ in 0..2000 {
            self.publish();
            // Either is the answer to it, sooner or later.
            let frame = self.raw.next().expect("the broker does not close");
            if frame.id() == wire::BLOCKED {
                return assert_is_blocked_by_the_disk(&frame);
            }
            assert_eq!(frame.id(), wire::ACK);
            self.confirmed = wire::delivery_tag(frame.arguments());
        }
        panic!("nothing stops a publisher");
    }

    fn until_confirmed(&mut self) {
        while self.confirmed < self.sent {
            let frame = self.raw.expect(wire::ACK);
            self.confirmed = self.confirmed.max(wire::delivery_tag(frame.arguments()));
        }
    }
}

async fn a_full_disk(home: &Home, room: &Room) {
    let broker = home.start_with(room.command());
    let mut publisher = Publisher::new(&broker);
    publisher.publish();
    publisher.until_confirmed();
    room.shrink(&broker);
    publisher.publish_until_blocked();
    let confirmed = publisher.confirmed;
    assert!(confirmed + 1 >= publisher.sent, "one at a time");
    let log = broker.log();
    assert!(log.contains("publishers are blocked, and it is tried again"), "{log}");
    // A blocked publisher that goes on is not read; others are served what needs no disk.
    publisher.publish();
    let other = Client::of(&broker).await;
    assert!(other.ready("q").await >= u32::try_from(confirmed).expect("a few"));

    room.grow(&broker);
    assert_eq!(publisher.next_other().id(), wire::UNBLOCKED);
    publisher.until_confirmed();
    eventually("the log says so", || broker.log().contains("works again").then_some(()));
    for _ in 0..20 {
        publisher.publish();
    }
    publisher.until_confirmed();
    broker.end(End::Killed);
    assert_all_there(home, room, publisher.sent).await;
}

async fn assert_all_there(home: &Home, room: &Room, sent: u64) {
    let broker = home.start_with(room.command());
    let client = Client::of(&broker).await;
    let messages = client.drain("q").await;
    let numbers = messages.iter().map(|message| u64::from_be_bytes(*message.data.first_chunk().expect("a number")));
    assert!(numbers.eq(0..sent), "each once, in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn publishers_wait_while_writing_fails() {
    a_full_disk(&Home::with_config("disk_free_limit.absolute = 0\n"), &Room::Limit).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn publishers_wait_while_the_disk_is_full() {
    let home = Home::with_config("disk_free_limit.absolute = 0\n");
    let room = Volume::new(&home.data(), 64).map_or(Room::Limit, Room::Volume);
    a_full_disk(&home, &room).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_confirmed_outlives_a_crash_on_a_full_disk() {
    let home = Home::with_config("disk_free_limit.absolute = 0\n");
    let room = Volume::new(&home.data(), 64).map_or(Room::Limit, Room::Volume);
    let broker = home.start_with(room.command());
    let mut publisher = Publisher::new(&broker);
    publisher.publish();
    publisher.until_confirmed();
    room.shrink(&broker);
    publisher.publish_until_blocked();
    broker.end(End::Killed);
    if let Room::Volume(volume) = &room {
        volume.clear();
    }
    let broker = home.start_with(room.command());
    let client = Client::of(&broker).await;
    let messages = client.drain("q").await;
    let numbers: Vec<u64> = messages.iter().map(|message| u64::from_be_bytes(*message.data.first_chunk().expect("a number"))).collect();
    assert!(numbers.len() as u64 >= publisher.confirmed, "{} of {}", numbers.len(), publisher.confirmed);
    assert!(numbers.into_iter().eq(0..messages.len() as u64), "each once, in order");
}

#[test]
fn a_broker_stops_in_order_while_its_disk_is_full() {
    let home = Home::with_config("disk_free_limit.absolute = 0\n");
    let room = Room::Limit;
    let broker = home.start_with(room.command());
    let mut publisher = Publisher::new(&broker);
    room.shrink(&broker);
    publisher.publish_until_blocked();
    let began = std::time::Instant::now();
    broker.end(End::InOrder);
    assert!(began.elapsed() < PATIENCE / 2);
}

#[test]
fn too_little_free_room_raises_the_alarm_at_the_start() {
    let home = Home::with_config("disk_free_limit.absolute = 1000000G\n");
    let broker = home.start();
    eventually("the log says so", || broker.log().contains("free disk space is below its limit").then_some(()));
    let mut publisher = Publisher::new(&broker);
    publisher.publish();
    assert_is_blocked_by_the_disk(&publisher.next_other());
    // Who does not publish is served.
    let mut other = Raw::channel(&broker);
    other.declare("other", 2);
    other.send(&wire::get(1, "other"));
    other.expect((60, 72));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_alarm_ends_when_there_is_room() {
    let home = Home::with_config("disk_free_limit.absolute = 40MiB\n");
    // Where the system lets nobody have a volume, its own has more than enough room: there is no alarm at all.
    let volume = Volume::new(&home.data(), 100);
    let broker = home.start_with(volume.as_ref().map_or_else(leveret, Volume::leveret));
    let client = Client::of(&broker).await;
    client.queue("q", &[]).await;
    client.fill("q", &["1"]).await;
    if let Some(volume) = volume {
        let mut publisher = Publisher::new(&broker);
        publisher.publish();
        publisher.until_confirmed();
        volume.fill(70);
        assert_is_blocked_by_the_disk(&publisher.next_other());
        publisher.publish();
        volume.clear();
        assert_eq!(publisher.next_other().id(), wire::UNBLOCKED);
        publisher.until_confirmed();
        assert!(broker.log().contains("disk alarm cleared"));
    }
    client::publish(&client.channel, "", "q", b"2").await;
}
