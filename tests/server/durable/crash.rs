//! What the broker has answered holds, even if it is killed the moment after.

use crate::support::broker::{End, Home};
use crate::support::client::{self, publish_with, soon};
use crate::support::raw::Raw;
use crate::support::wire::{self, Fields, Id};

use super::{Client, persistent};

const EXCHANGE_DECLARE: Id = (40, 10);
const EXCHANGE_DECLARE_OK: Id = (40, 11);
const EXCHANGE_DELETE: Id = (40, 20);
const EXCHANGE_DELETE_OK: Id = (40, 21);
const QUEUE_UNBIND: Id = (50, 50);
const QUEUE_UNBIND_OK: Id = (50, 51);
const QUEUE_PURGE: Id = (50, 30);
const QUEUE_PURGE_OK: Id = (50, 31);

/// One method whose answer is the last thing that the broker does.
fn last_word(home: &Home, method: Id, arguments: &Fields, answer: Id) {
    let broker = home.start();
    let mut raw = Raw::channel(&broker);
    raw.send(&wire::method(1, method, arguments));
    raw.expect(answer);
    broker.end(End::Killed);
}

fn durable_exchange(name: &str) -> Fields {
    Fields::new().short(0).text(name).text("direct").byte(2).bytes(&[])
}

fn binding(queue: &str, exchange: &str, key: &str) -> Fields {
    Fields::new().short(0).text(queue).text(exchange).text(key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn each_answer_holds() {
    let home = Home::new();
    last_word(&home, EXCHANGE_DECLARE, &durable_exchange("x"), EXCHANGE_DECLARE_OK);
    last_word(&home, wire::QUEUE_DECLARE, &Fields::new().short(0).text("q").byte(2).bytes(&[]), wire::QUEUE_DECLARE_OK);
    last_word(&home, wire::QUEUE_BIND, &binding("q", "x", "k").byte(0).bytes(&[]), wire::QUEUE_BIND_OK);
    {
        let broker = home.start();
        let client = Client::of(&broker).await;
        assert!(client.is_routed("x", "k", Default::default()).await);
        client.fill("q", &["1", "2"]).await;
        broker.end(End::Killed);
    }
    last_word(&home, QUEUE_PURGE, &Fields::new().short(0).text("q").byte(0), QUEUE_PURGE_OK);
    {
        let broker = home.start();
        let client = Client::of(&broker).await;
        assert_eq!(client.ready("q").await, 0);
        client.fill("q", &["3"]).await;
        broker.end(End::Killed);
    }
    last_word(&home, QUEUE_UNBIND, &binding("q", "x", "k").bytes(&[]), QUEUE_UNBIND_OK);
    {
        let broker = home.start();
        let client = Client::of(&broker).await;
        assert!(!client.is_routed("x", "k", Default::default()).await);
        client.bind("q", "x", "again").await;
        broker.end(End::Killed);
    }
    last_word(&home, EXCHANGE_DELETE, &Fields::new().short(0).text("x").byte(0), EXCHANGE_DELETE_OK);
    {
        let broker = home.start();
        let client = Client::of(&broker).await;
        assert!(!client.has_exchange("x").await);
        client.exchange("x", "direct", &[]).await;
        assert!(!client.is_routed("x", "again", Default::default()).await, "bindings go with their exchange");
        assert_eq!(client.ready("q").await, 1);
        broker.end(End::Killed);
    }
    last_word(&home, wire::QUEUE_DELETE, &Fields::new().short(0).text("q").byte(0), wire::QUEUE_DELETE_OK);
    let broker = home.start();
    assert!(!Client::of(&broker).await.has_queue("q").await);
}

/// Every confirm that came before the broker was killed holds, and what comes back is a beginning of what was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_confirmed_before_a_crash_in_the_middle_is_there() {
    const SENT: u64 = 3000;
    let home = Home::new();
    let broker = home.start();
    let mut raw = Raw::channel(&broker);
    raw.declare("q", 2);
    raw.send(&wire::method(1, wire::CONFIRM_SELECT, &Fields::new().byte(0)));
    raw.expect(wire::CONFIRM_SELECT_OK);
    let all: Vec<u8> = (0..SENT).flat_map(|n| wire::publish_persistent(1, "", "q", &n.to_be_bytes())).collect();
    raw.send(&all);
    let mut confirmed = 0;
    while confirmed < SENT / 3 {
        confirmed = confirmed.max(wire::delivery_tag(raw.expect(wire::ACK).arguments()));
    }
    broker.end(End::Killed);
    // Those that were on their way when it ended.
    while let Some(frame) = raw.next() {
        assert_eq!(frame.id(), wire::ACK);
        confirmed = confirmed.max(wire::delivery_tag(frame.arguments()));
    }

    let broker = home.start();
    let client = Client::of(&broker).await;
    let messages = client.drain("q").await;
    let numbers: Vec<u64> = messages.iter().map(|message| u64::from_be_bytes(message.data[..].try_into().expect("a number"))).collect();
    assert!(numbers.len() as u64 >= confirmed, "{} of {confirmed} that were confirmed", numbers.len());
    assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "in order, without gaps");
}

/// A commit without its answer may have happened or not, but as a whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_commit_that_was_not_answered_is_whole_or_nothing() {
    for n in 0..4 {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        for queue in ["a", "b"] {
            client.queue(queue, &[]).await;
        }
        let transacted = client::channel(&client.connection).await;
        soon(transacted.tx_select()).await.expect("a transaction");
        for body in 0..20 {
            for queue in ["a", "b"] {
                publish_with(&transacted, "", queue, format!("{body}").as_bytes(), persistent()).await;
            }
        }
        soon(transacted.queue_declare("a".into(), super::DURABLE, Default::default())).await.expect("all is heard");
        let commit = transacted.tx_commit();
        let killed = async {
            // A different moment each time.
            for _ in 0..n * n * 10 {
                tokio::task::yield_now().await;
            }
            broker.end(End::Killed);
        };
        let (committed, ()) = futures_lite::future::zip(commit, killed).await;

        let broker = home.start();
        let client = Client::of(&broker).await;
        let counts = (client.ready("a").await, client.ready("b").await);
        let expected: &[(u32, u32)] = if committed.is_ok() { &[(20, 20)] } else { &[(0, 0), (20, 20)] };
        assert!(expected.contains(&counts), "{counts:?}, and the answer was {committed:?}");
    }
}
