//! `--record`, `leveret record` and `leveret replay`: a session of lapin is recorded, looked at, and played against other brokers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use futures_lite::StreamExt;
use lapin::Connection;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ConnectionProperties, ExchangeKind};

use crate::support::broker::{Broker, End, Scratch, leveret};
use crate::support::client::{channel, confirming, connect, soon};
use crate::support::{eventually, raw::Raw};

fn recorded_broker(scratch: &Scratch) -> (Broker, PathBuf) {
    let file = scratch.path("session.recording");
    let mut command = leveret();
    command.arg("serve").arg("--record").arg(&file);
    (Broker::launch(command, Scratch::new()), file)
}

fn run(words: &[&str], file: &Path, more: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = leveret().args(words).arg(file).args(more).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

fn replay(file: &Path, broker: &Broker, more: &[&str]) -> (i32, String) {
    let url = format!("amqp://{}", broker.address());
    let (code, printed, said) = run(&["replay"], file, &[&[url.as_str()], more].concat());
    assert_eq!(said, "");
    (code, printed)
}

/// Two connections: a publisher with confirms, and a consumer with a queue and a tag of the broker's making, which acks some, rejects some,
/// and takes two with one ack.
async fn session(broker: &Broker) {
    let (publishing, consuming) = (connect(broker).await, connect(broker).await);
    let (publisher, consumer) = (confirming(&publishing).await, channel(&consuming).await);
    let fanout = ExchangeKind::Fanout;
    soon(consumer.exchange_declare("x".into(), fanout, ExchangeDeclareOptions::default(), FieldTable::default()))
        .await
        .expect("an exchange");
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = soon(consumer.queue_declare("".into(), options, FieldTable::default())).await.expect("a queue").name().clone();
    assert!(queue.as_str().starts_with("amq.gen-"), "{queue}");
    let bind = consumer.queue_bind(queue.clone(), "x".into(), "".into(), QueueBindOptions::default(), FieldTable::default());
    soon(bind).await.expect("a binding");
    soon(consumer.basic_qos(10, BasicQosOptions::default())).await.expect("a prefetch");
    let consume = consumer.basic_consume(queue.clone(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
    let mut deliveries = soon(consume).await.expect("a consumer");
    for body in ["one", "two", "three", "four"] {
        let properties = BasicProperties::default().with_message_id(body.into());
        let publish = publisher.basic_publish("x".into(), "k".into(), BasicPublishOptions::default(), body.as_bytes(), properties);
        assert!(soon(soon(publish).await.expect("sent")).await.expect("an answer").is_ack());
    }
    let mut given = Vec::new();
    for _ in 0..4 {
        given.push(soon(deliveries.next()).await.expect("a delivery").expect("no error"));
    }
    soon(given[0].nack(BasicNackOptions::default())).await.expect("sent");
    soon(given[1].nack(BasicNackOptions { requeue: true, ..Default::default() })).await.expect("sent");
    let again = soon(deliveries.next()).await.expect("a delivery").expect("no error");
    assert!(again.redelivered);
    soon(given[3].ack(BasicAckOptions { multiple: true })).await.expect("sent");
    soon(again.ack(BasicAckOptions::default())).await.expect("sent");
    soon(consumer.basic_cancel(deliveries.tag(), BasicCancelOptions::default())).await.expect("cancelled");
    let nothing = soon(consumer.basic_get(queue, BasicGetOptions::default())).await.expect("an answer");
    assert!(nothing.is_none());
    soon(consuming.close(200, "bye".into())).await.expect("closed");
    soon(publishing.close(200, "bye".into())).await.expect("closed");
}

/// The recording of a session, of a broker that has ended.
async fn recorded_session(scratch: &Scratch) -> PathBuf {
    let (broker, file) = recorded_broker(scratch);
    session(&broker).await;
    broker.end(End::InOrder);
    file
}

#[tokio::test]
async fn every_frame_of_both_sides_is_there() {
    let scratch = Scratch::new();
    let file = recorded_session(&scratch).await;
    let (code, shown, _) = run(&["record", "show"], &file, &[]);
    assert_eq!(code, 0);
    for line in [
        "c1.0> protocol-header 0 0 9 1",
        "c1.0< connection.start version_minor=9",
        "c1.0< connection.open-ok",
        "c2> exchange.declare exchange=x type=fanout",
        "c2< exchange.declare-ok",
        "c2< queue.declare-ok queue=amq.gen-",
        "c1> confirm.select",
        "c1> basic.publish exchange=x routing_key=k",
        "c1> header body_size=3 message_id=one",
        "c1> body \"one\"",
        "c1< basic.ack delivery_tag=1",
        "c2< basic.deliver consumer_tag=",
        "c2> basic.nack delivery_tag=2 requeue=true",
        "c2> basic.ack delivery_tag=4 multiple=true",
        "c2< basic.get-empty",
        "c2.0> connection.close reply_code=200 reply_text=bye",
        "c2.0< connection.close-ok",
        "c2: closed",
    ] {
        let said = line.split_once(' ').expect("words");
        let is_there = |shown: &str| shown.split_once(' ').is_some_and(|_| shown.contains(&format!(" {} {}", said.0, said.1)));
        assert!(shown.lines().any(is_there), "{line}\n{shown}");
    }
    let times: Vec<f64> =
        shown.lines().skip(1).map(|line| line.split_whitespace().next().expect("a time").parse().expect("seconds")).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(!shown.contains("not recorded") && !shown.contains("cut off"), "{shown}");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_fresh_broker_answers_the_same() {
    let scratch = Scratch::new();
    let file = recorded_session(&scratch).await;
    for pace in [&["--as-fast-as-possible"][..], &["--speed", "20"]] {
        let broker = Broker::start();
        let (code, printed) = replay(&file, &broker, pace);
        assert_eq!(code, 0, "{printed}");
        let last = printed.lines().last().expect("a summary");
        assert!(last.ends_with(" 0 differences") && !last.starts_with("0 methods"), "{printed}");
        // The messages are settled, and what was exclusive is gone.
        let connection = connect(&broker).await;
        let channel = channel(&connection).await;
        soon(channel.exchange_delete("x".into(), Default::default())).await.expect("it was declared");
    }
}

#[tokio::test]
async fn what_another_broker_says_is_a_difference() {
    let scratch = Scratch::new();
    let file = recorded_session(&scratch).await;
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let declaring = channel(&connection).await;
    let declare = declaring.exchange_declare("x".into(), ExchangeKind::Direct, ExchangeDeclareOptions::default(), FieldTable::default());
    soon(declare).await.expect("an exchange of another type");
    let (code, printed) = replay(&file, &broker, &["--as-fast-as-possible", "--timeout", "0.5"]);
    assert_eq!(code, 1);
    assert!(printed.contains("c2< expected  exchange.declare-ok\n"), "{printed}");
    assert!(
        printed.contains("c2< got       channel.close reply_code=406 reply_text=\"PRECONDITION_FAILED - inequivalent arg 'type'"),
        "{printed}"
    );
}

/// Deliveries come in another order there: acks go to the same messages.
#[tokio::test]
async fn acks_follow_the_message() {
    let scratch = Scratch::new();
    let (recorded, file) = recorded_broker(&scratch);
    let mut left = Vec::new();
    let acks = async |broker: &Broker| {
        let connection: Connection = connect(broker).await;
        let channel = channel(&connection).await;
        soon(channel.queue_declare("q".into(), QueueDeclareOptions::default(), FieldTable::default())).await.expect("a queue");
        for body in ["a", "b"] {
            let publish = channel.basic_publish("".into(), "q".into(), BasicPublishOptions::default(), body.as_bytes(), Default::default());
            soon(publish).await.expect("sent");
        }
        let consume = channel.basic_consume("q".into(), "t".into(), BasicConsumeOptions::default(), FieldTable::default());
        let mut deliveries = soon(consume).await.expect("a consumer");
        let first = soon(deliveries.next()).await.expect("a delivery").expect("no error");
        let _second = soon(deliveries.next()).await.expect("a delivery").expect("no error");
        assert_eq!(first.data, b"a");
        soon(first.ack(BasicAckOptions::default())).await.expect("sent");
        soon(connection.close(200, "bye".into())).await.expect("closed");
    };
    acks(&recorded).await;
    recorded.end(End::InOrder);

    // Something is there already, which is delivered first: the tags are others.
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let other = confirming(&connection).await;
    soon(other.queue_declare("q".into(), QueueDeclareOptions::default(), FieldTable::default())).await.expect("a queue");
    let publish = other.basic_publish("".into(), "q".into(), BasicPublishOptions::default(), b"before", Default::default());
    soon(soon(publish).await.expect("sent")).await.expect("confirmed");
    let (code, printed) = replay(&file, &broker, &["--as-fast-as-possible", "--timeout", "1"]);
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("was not recorded: basic.deliver consumer_tag=t delivery_tag=1 routing_key=q body=\"before\""), "{printed}");
    while let Some(message) = soon(other.basic_get("q".into(), BasicGetOptions { no_ack: true })).await.expect("an answer") {
        left.push(String::from_utf8(message.delivery.data).expect("text"));
    }
    assert_eq!(left, ["before", "b"]);
}

#[tokio::test]
async fn a_client_that_vanishes_and_one_that_is_refused_are_recorded() {
    let scratch = Scratch::new();
    let (broker, file) = recorded_broker(&scratch);
    let mut raw = Raw::connect(&broker);
    raw.send(b"GET / HTTP/1.1\r\n\r\n");
    drop(raw);
    let refused = format!("amqp://guest:wrong@{}", broker.address());
    soon(Connection::connect(&refused, ConnectionProperties::default())).await.expect_err("the wrong password");
    let shown = eventually("what the broker has heard is in the file", || {
        let (_, shown, _) = run(&["record", "show"], &file, &[]);
        (shown.contains("c1: closed") && shown.contains("c2: closed")).then_some(shown)
    });
    assert!(shown.contains(" c1> raw 474554202f"), "{shown}");
    assert!(shown.contains("c2.0< connection.close reply_code=403"), "{shown}");
    let (code, printed) = replay(&file, &broker, &[]);
    assert_eq!((code, printed.lines().last()), (0, Some("0 methods sent, 0 answers as recorded, 0 differences")), "{printed}");
    assert!(printed.contains("c2 was never opened in the recording"), "{printed}");
}

#[tokio::test]
async fn a_capture_of_packets_is_made_of_it() {
    let scratch = Scratch::new();
    let file = recorded_session(&scratch).await;
    let capture = scratch.path("session.pcapng");
    let (code, printed, said) = run(&["record", "export"], &file, &["--pcapng", capture.to_str().expect("a path")]);
    assert_eq!((code, printed.as_str(), said.as_str()), (0, "", ""));
    let bytes = fs::read(capture).expect("the capture");
    assert!(bytes.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]));
    let headers = bytes.windows(8).filter(|window| *window == b"AMQP\x00\x00\x09\x01").count();
    assert_eq!(headers, 2, "one for each connection");
}

#[test]
fn what_cannot_be_done_is_said_in_a_line() {
    let scratch = Scratch::new();
    let there = scratch.file("there", "something of value");
    let mut command = leveret();
    command.args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--record"]).arg(&there);
    let said = crate::command_line::one_line(&mut command, 1);
    assert!(said.starts_with("leveret: cannot record to ") && said.ends_with("File exists (os error 17)"), "{said}");
    assert_eq!(fs::read_to_string(&there).expect("the file"), "something of value");
    let (code, _, said) = run(&["record", "show"], &there, &[]);
    assert_eq!((code, said.trim_end().ends_with("there: it is no recording")), (1, true), "{said}");
}

#[tokio::test]
async fn a_directory_gets_a_file_for_each_start() {
    let scratch = Scratch::new();
    let folder = scratch.path("recordings");
    fs::create_dir(&folder).expect("a folder");
    for count in 1..=2 {
        let mut command = leveret();
        command.arg("--record").arg(&folder);
        let broker = Broker::launch(command, Scratch::new());
        drop(connect(&broker).await);
        broker.end(End::InOrder);
        let files: Vec<_> = fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
        assert_eq!(files.len(), count);
        for file in files {
            assert!(run(&["record", "show"], &file, &[]).1.contains("c1.0< connection.open-ok"));
        }
    }
}
