//! Messages that died: their history goes with them, and none gets lost on its way.

use lapin::message::Delivery;
use lapin::options::BasicRejectOptions;
use lapin::types::AMQPValue;

use super::{BOTH, Client, header, persistent};
use crate::support::broker::Home;
use crate::support::client::{eventually_ready, soon, text, words};

/// Queue, reason and count of each entry of x-death.
fn deaths(message: &Delivery) -> Vec<(String, String, i64)> {
    let AMQPValue::FieldArray(entries) = header(message, "x-death") else { panic!("no array") };
    let of = |entry: &AMQPValue| {
        let AMQPValue::FieldTable(entry) = entry else { panic!("no table") };
        let word = |name: &str| match entry.inner().get(name) {
            Some(AMQPValue::LongString(word)) => word.to_string(),
            other => panic!("{name} is {other:?}"),
        };
        let Some(AMQPValue::LongLongInt(count)) = entry.inner().get("count") else { panic!("no count") };
        (word("queue"), word("reason"), *count)
    };
    entries.as_slice().iter().map(of).collect()
}

/// A message goes round between a queue that it is rejected from and one where it waits, over restarts.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_history_of_a_message_goes_on_after_a_restart() {
    for how in BOTH {
        let home = Home::new();
        let mut broker = home.start();
        let mut client = Client::of(&broker).await;
        let to = |key: &'static str| [("x-dead-letter-exchange", words("")), ("x-dead-letter-routing-key", words(key))];
        client.queue("work", &to("wait")).await;
        client.queue("wait", &[&to("work")[..], &[("x-message-ttl", AMQPValue::LongInt(50))]].concat()).await;
        client.publish_with("", "work", b"1", persistent().with_message_id("id".into())).await;
        for round in 1..=3 {
            let got = client.get("work").await.expect("a message");
            soon(got.reject(BasicRejectOptions { requeue: false })).await.expect("sent");
            eventually_ready(&client.channel, "work", 1).await;
            // Nobody was promised that; what is declared now is, and with it all that came before.
            client.queue(&format!("safe-{round}"), &[]).await;
            broker.end(how);
            broker = home.start();
            client = Client::of(&broker).await;
            let got = client.get("work").await.expect("a message");
            assert_eq!(deaths(&got), [("wait".to_owned(), "expired".to_owned(), round), ("work".to_owned(), "rejected".to_owned(), round)]);
            assert_eq!(header(&got, "x-first-death-reason"), words("rejected"), "after {how:?}");
            assert_eq!(header(&got, "x-last-death-queue"), words("wait"), "after {how:?}");
            assert_eq!(got.properties.message_id(), &Some("id".into()));
            soon(got.reject(BasicRejectOptions { requeue: true })).await.expect("sent");
            eventually_ready(&client.channel, "work", 1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_dead_letter_of_a_crash_is_in_one_queue_only() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.queue("dead", &[]).await;
        let bounded =
            [("x-max-length", AMQPValue::LongInt(2)), ("x-dead-letter-exchange", words("")), ("x-dead-letter-routing-key", words("dead"))];
        client.queue("q", &bounded).await;
        client.fill("q", &["1", "2", "3", "4", "5"]).await;
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        assert_eq!(client.bodies("dead").await, ["1", "2", "3"], "after {how:?}");
        assert_eq!(client.bodies("q").await, ["4", "5"], "after {how:?}");
    }
}

/// Held until the queue behind the exchange takes them, over restarts (behaviour Q16).
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn dead_letters_that_wait_for_their_queue_are_not_lost() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.exchange("dead", "fanout", &[]).await;
        let safe = [
            ("x-queue-type", words("quorum")),
            ("x-dead-letter-exchange", words("dead")),
            ("x-dead-letter-strategy", words("at-least-once")),
            ("x-overflow", words("reject-publish")),
        ];
        client.queue("q", &safe).await;
        client.fill("q", &["1", "2"]).await;
        client.publish_with("", "q", b"3", persistent().with_expiration("0".into())).await;
        for _ in 0..2 {
            let got = client.get("q").await.expect("a message");
            soon(got.reject(BasicRejectOptions { requeue: false })).await.expect("sent");
        }
        eventually_ready(&client.channel, "q", 0).await;
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        client.queue("late", &[]).await;
        client.bind("late", "dead", "").await;
        let mut bodies = Vec::new();
        let all = async {
            while bodies.len() < 3 {
                for message in client.drain("late").await {
                    bodies.push((text(&message.data), deaths(&message)[0].1.clone()));
                }
                // What was rejected before a crash may be asked for again.
                if let Some(got) = client.get("q").await {
                    soon(got.reject(BasicRejectOptions { requeue: false })).await.expect("sent");
                }
            }
        };
        soon(all).await;
        bodies.sort();
        let of = |body: &str, reason: &str| (body.to_owned(), reason.to_owned());
        assert_eq!(bodies, [of("1", "rejected"), of("2", "rejected"), of("3", "expired")], "after {how:?}");
        assert_eq!(client.ready("q").await, 0);
    }
}
