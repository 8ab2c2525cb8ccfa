//! Servers that do what a broker does not: wrong frames, wrong order, nothing at all.

use bytes::Bytes;
use leveret::amqp::{AMQPClass, FieldTable, Output, basic, channel, confirm, connection, queue};
use leveret::client::{Channel, Consume, Error, Options, Publication};
use tokio::time::Duration;

use super::peer::{Peer, TUNE, Tune};
use super::{declaring, soon};

/// A call that waits for its reply.
fn calling(channel: &Channel) -> tokio::task::JoinHandle<Result<AMQPClass, Error>> {
    let channel = channel.clone();
    tokio::spawn(async move { channel.call(AMQPClass::Queue(queue::AMQPMethod::Declare(declaring("q")))).await })
}

/// The bytes of a frame.
fn frame(kind: u8, channel: u16, payload: &[u8], end: u8) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&channel.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(payload.len()).expect("small").to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes.push(end);
    bytes
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_is_told_and_left() {
    let deliver_to_nobody = [&[0, 60, 0, 60, 1, b'c'][..], &[0; 8], &[0, 0, 0]].concat();
    let nested = {
        // blocked with an argument that does not end.
        [0, 10, 0, 60, 9, b'x'].to_vec()
    };
    let cases: [(&str, Vec<u8>, u16); 11] = [
        ("no frame end", frame(1, 1, &[0, 50, 0, 11], 0), 501),
        ("an unknown type", frame(5, 1, &[], 0xCE), 501),
        ("a frame that is too large", [&[1, 0, 1][..], &200_000_u32.to_be_bytes()].concat(), 501),
        ("a method too short to be one", frame(1, 1, &[0, 50], 0xCE), 501),
        ("a method that does not exist", frame(1, 1, &[0, 99, 0, 1], 0xCE), 501),
        ("arguments that do not fit", frame(1, 0, &nested, 0xCE), 501),
        ("a channel that is not open", frame(1, 2, &[0, 60, 0, 11], 0xCE), 504),
        ("a reply to nothing", frame(1, 1, &[0, 60, 0, 11], 0xCE), 503),
        ("a body without a method", frame(3, 1, b"body", 0xCE), 505),
        ("a method in the middle of a content", [frame(1, 1, &deliver_to_nobody, 0xCE), frame(1, 1, &[0, 60, 0, 11], 0xCE)].concat(), 505),
        ("a confirm of nothing", frame(1, 1, &[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0], 0xCE), 503),
    ];
    for (what, bytes, code) in cases {
        let (connection, channel, mut peer) = Peer::with_channel().await;
        let call = calling(&channel);
        peer.hear().await;
        peer.send(&bytes).await;
        assert_eq!(peer.hear_close().await.reply_code, code, "{what}");
        let told = soon(call).await.expect("no panic").expect_err("the connection has ended").to_string();
        assert_eq!(soon(connection.closed()).await.to_string(), told, "{what}");
        assert!(soon(peer.command()).await.is_none(), "{what}");
    }
}

#[tokio::test]
async fn contents_are_checked_against_their_header() {
    let deliver = frame(1, 1, &[&[0, 60, 0, 60, 1, b'c'][..], &[0; 8], &[0, 0, 0]].concat(), 0xCE);
    let header = |class: u16, size: u64, properties: &[u8]| {
        frame(2, 1, &[&class.to_be_bytes()[..], &[0, 0], &size.to_be_bytes(), properties].concat(), 0xCE)
    };
    let cases = [
        ("more than announced", [deliver.clone(), header(60, 3, &[0, 0]), frame(3, 1, b"four", 0xCE)].concat()),
        ("another class", [deliver.clone(), header(50, 3, &[0, 0])].concat()),
        ("an absurd size", [deliver.clone(), header(60, 1 << 40, &[0, 0])].concat()),
        ("malformed properties", [deliver.clone(), header(60, 3, &[0x80, 0, 9])].concat()),
        ("no header", [deliver.clone(), frame(3, 1, b"x", 0xCE)].concat()),
        ("two headers", [deliver, header(60, 3, &[0, 0]), header(60, 3, &[0, 0])].concat()),
    ];
    for (what, bytes) in cases {
        let (connection, _channel, mut peer) = Peer::with_channel().await;
        peer.send(&bytes).await;
        assert_eq!(peer.hear_close().await.reply_code, 501, "{what}");
        assert!(matches!(soon(connection.closed()).await, Error::Protocol(_)), "{what}");
    }
}

#[tokio::test]
async fn confirms_in_any_shape() {
    let (_connection, channel, mut peer) = Peer::with_channel().await;
    let selecting = tokio::spawn({
        let channel = channel.clone();
        async move { channel.confirm_select().await }
    });
    peer.hear().await;
    peer.send_method(1, AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {}))).await;
    soon(selecting).await.expect("no panic").expect("confirms");
    let mut confirms = Vec::new();
    for n in 0..8 {
        let publication = Publication::new("", format!("k{n}"), "x").mandatory();
        confirms.push(Box::pin(soon(channel.start_publish(publication)).await.expect("sent")));
    }
    let mut output = Output::default();
    let returned = |n: u64| {
        let mut output = Output::default();
        let message = leveret::amqp::Message::new(b"", format!("k{n}").as_bytes(), &[0, 0], b"x");
        let to = leveret::amqp::encoder::Recipient { channel: 1, consumer_tag: &[], frame_max: 131_072 };
        output.basic_return(to, 312, "NO_ROUTE", &message);
        output.to_vec()
    };
    // Out of order, one by one, several at once; a return far ahead of its confirm; all that is left.
    output.basic_ack(1, 3, false);
    peer.send(&output.to_vec()).await;
    peer.send(&returned(5)).await;
    output.clear();
    output.basic_nack(1, 4, true);
    output.basic_ack(1, 6, false);
    output.basic_ack(1, 0, true);
    peer.send(&output.to_vec()).await;
    let mut outcomes = Vec::new();
    for confirm in confirms {
        let confirmation = soon(confirm).await.expect("confirmed");
        outcomes.push((confirmation.acked, confirmation.returned.is_some()));
    }
    let (acked, nacked, returned) = ((true, false), (false, false), (true, true));
    assert_eq!(outcomes, [nacked, nacked, acked, nacked, acked, returned, acked, acked]);
}

#[tokio::test]
async fn channels_closed_by_both_sides_at_once() {
    let (connection, channel, mut peer) = Peer::with_channel().await;
    let closing = tokio::spawn({
        let channel = channel.clone();
        async move { channel.close().await }
    });
    assert!(matches!(peer.hear().await, AMQPClass::Channel(channel::AMQPMethod::Close(_))));
    let close = channel::Close { reply_code: 404, reply_text: "NOT_FOUND".into(), class_id: 50, method_id: 10 };
    peer.send_method(1, AMQPClass::Channel(channel::AMQPMethod::Close(close))).await;
    assert!(matches!(peer.hear().await, AMQPClass::Channel(channel::AMQPMethod::CloseOk(_))));
    // The number is not free before the answer to our own.
    let opening = tokio::spawn({
        let connection = connection.clone();
        async move { connection.channel().await }
    });
    assert!(matches!(soon(peer.command()).await, Some(leveret::amqp::Command::Method(2, _))));
    peer.send_method(2, AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {}))).await;
    soon(opening).await.expect("no panic").expect("a channel");
    peer.send_method(1, AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}))).await;
    soon(closing).await.expect("no panic").expect("closed");
    assert_eq!(soon(channel.confirm_select()).await.expect_err("closed").code(), Some(404));
}

#[tokio::test]
async fn what_comes_for_a_consumer_that_was_given_up_goes_back() {
    let (_connection, channel, mut peer) = Peer::with_channel().await;
    soon(channel.send(AMQPClass::Basic(basic::AMQPMethod::Qos(basic::Qos::default())))).await.expect_err("it has a reply");
    let consuming = tokio::spawn({
        let channel = channel.clone();
        async move { channel.consume(Consume { consumer_tag: "c".to_owned(), ..Consume::from("q") }).await }
    });
    assert!(matches!(soon(peer.command()).await, Some(leveret::amqp::Command::Qos { prefetch_count: 1000, .. })));
    assert!(matches!(peer.hear().await, AMQPClass::Basic(basic::AMQPMethod::Consume(_))));
    peer.send_method(1, AMQPClass::Basic(basic::AMQPMethod::QosOk(basic::QosOk {}))).await;
    let consume_ok = basic::ConsumeOk { consumer_tag: "c".into() };
    peer.send_method(1, AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(consume_ok))).await;
    let mut consumer = soon(consuming).await.expect("no panic").expect("a consumer");
    for tag in 1..=3 {
        peer.deliver("c", tag, b"x").await;
    }
    assert_eq!(super::next(&mut consumer).await.delivery_tag, 1);
    super::next(&mut consumer).await;
    drop(consumer);
    assert!(matches!(peer.hear().await, AMQPClass::Basic(basic::AMQPMethod::Cancel(_))));
    let rejected = |command| matches!(command, Some(leveret::amqp::Command::Reject { requeue: true, .. }));
    assert!(rejected(soon(peer.command()).await), "what it had not handed out");
    peer.deliver("c", 4, b"x").await;
    assert!(rejected(soon(peer.command()).await), "what crossed the cancel");
}

#[tokio::test]
async fn a_queue_may_answer_later_than_the_channel() {
    let (_connection, channel, mut peer) = Peer::with_channel().await;
    let cancelling = |tag: &'static [u8]| {
        let channel = channel.clone();
        tokio::spawn(async move { channel.cancel(tag).await })
    };
    let (one, two) = (cancelling(b"one"), cancelling(b"two"));
    peer.hear().await;
    peer.hear().await;
    let call = calling(&channel);
    peer.hear().await;
    let declare_ok = queue::DeclareOk { queue: "q".into(), message_count: 0, consumer_count: 0 };
    peer.send_method(1, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(declare_ok))).await;
    soon(call).await.expect("no panic").expect("its reply");
    assert!(!one.is_finished() && !two.is_finished());
    for (tag, answered) in [("two", two), ("one", one)] {
        let cancel_ok = basic::CancelOk { consumer_tag: tag.into() };
        peer.send_method(1, AMQPClass::Basic(basic::AMQPMethod::CancelOk(cancel_ok))).await;
        soon(answered).await.expect("no panic").expect("its reply");
    }
}

#[tokio::test]
async fn limits_are_agreed_on() {
    let options =
        |frame_max, channel_max, heartbeat_s| Options { frame_max, channel_max, heartbeat_s, ..Options::plain("guest", "guest", "/") };
    let cases = [
        (options(0, 0, 10), TUNE, (131_072, 2047, 10)),
        (options(8192, 5, 100), TUNE, (8192, 5, 60)),
        (options(0, 0, 0), Tune { channel_max: 0, frame_max: 0, heartbeat: 60 }, (131_072, 0, 0)),
        (options(1 << 20, 9, 7), Tune { channel_max: 3, frame_max: 65_536, heartbeat: 0 }, (65_536, 3, 7)),
    ];
    for (options, tune, agreed) in cases {
        let (_connection, _peer, tune_ok) = Peer::connected(options, tune).await;
        assert_eq!((tune_ok.frame_max, tune_ok.channel_max, tune_ok.heartbeat), agreed);
    }
}

#[tokio::test]
async fn a_handshake_that_comes_to_nothing_says_why() {
    let (opening, peer) = Peer::unconnected();
    peer.hang_up().await;
    let Err(Error::Refused(why)) = soon(opening).await.expect("no panic") else { panic!("not refused") };
    assert!(why.contains("closed the socket"), "{why}");
    let (opening, mut peer) = Peer::unconnected();
    peer.send(b"AMQP\x03\x01\x00\x00").await;
    let Err(Error::Refused(why)) = soon(opening).await.expect("no panic") else { panic!("not refused") };
    assert!(why.contains("does not speak"), "{why}");
    let (opening, mut peer) = Peer::unconnected();
    peer.send(b"HTTP/1.1 400 Bad Request\r\n").await;
    assert!(matches!(soon(opening).await.expect("no panic"), Err(Error::Refused(_))));
    let (opening, mut peer) = Peer::unconnected();
    let start_ok = peer.start().await;
    assert_eq!((start_ok.mechanism.as_str(), start_ok.response.as_bytes()), ("PLAIN", &b"\0guest\0guest"[..]));
    let close = connection::Close { reply_code: 403, reply_text: "ACCESS_REFUSED - no".into(), class_id: 0, method_id: 0 };
    peer.say(0, connection::AMQPMethod::Close(close)).await;
    let Err(Error::Refused(why)) = soon(opening).await.expect("no panic") else { panic!("not refused") };
    assert_eq!(why, "403 ACCESS_REFUSED - no");
    assert!(matches!(peer.hear().await, AMQPClass::Connection(connection::AMQPMethod::CloseOk(_))));
}

#[tokio::test]
async fn a_table_nested_without_end_is_refused() {
    let (opening, mut peer) = Peer::unconnected();
    let mut nested = Vec::new();
    for _ in 0..20_000 {
        let length = u32::try_from(nested.len()).expect("small");
        nested = [&[1, b'k', b'F'][..], &length.to_be_bytes(), &nested].concat();
        if nested.len() > 60_000 {
            break;
        }
    }
    let length = u32::try_from(nested.len()).expect("small").to_be_bytes();
    let start = [&[0, 10, 0, 10, 0, 9][..], &length, &nested, &[0, 0, 0, 5], b"PLAIN", &[0, 0, 0, 0]].concat();
    peer.send(&frame(1, 0, &start, 0xCE)).await;
    assert!(matches!(soon(opening).await.expect("no panic"), Err(Error::Refused(_))));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_given_up_after_two_intervals() {
    let options = Options { heartbeat_s: 4, ..Options::plain("guest", "guest", "/") };
    let (connection, mut peer, _) = Peer::connected(options, TUNE).await;
    let began = tokio::time::Instant::now();
    // Ours come every half interval meanwhile.
    for n in 1..=3 {
        assert_eq!(peer.bytes(8).await, leveret::amqp::frame::HEARTBEAT_FRAME);
        assert_eq!(began.elapsed().as_secs(), n * 2);
    }
    let error = connection.closed().await;
    assert_eq!(began.elapsed().as_secs(), 8);
    assert!(matches!(&error, Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_heard_of_is_not_given_up() {
    let options = Options { heartbeat_s: 4, ..Options::plain("guest", "guest", "/") };
    let (connection, mut peer, _) = Peer::connected(options, TUNE).await;
    let began = tokio::time::Instant::now();
    for _ in 0..10 {
        assert!(tokio::time::timeout(Duration::from_secs(7), connection.closed()).await.is_err(), "after {:?}", began.elapsed());
        peer.send(&leveret::amqp::frame::HEARTBEAT_FRAME).await;
    }
    let without = Options { heartbeat_s: 0, ..Options::plain("guest", "guest", "/") };
    let (connection, _peer, _) = Peer::connected(without, TUNE).await;
    assert!(tokio::time::timeout(Duration::from_secs(100_000), connection.closed()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_a_close_is_left() {
    let (connection, mut peer, _) = Peer::connected(Options::plain("guest", "guest", "/"), TUNE).await;
    let began = tokio::time::Instant::now();
    connection.close().await.expect("closed");
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(peer.hear_close().await.reply_code, 200);
    assert!(peer.command().await.is_none());
}

#[tokio::test]
async fn a_peer_that_does_not_read_holds_publishers_back() {
    let (connection, channel, peer) = Peer::with_channel().await;
    let body = Bytes::from(vec![7; 100_000]);
    let mut sent = 0;
    // What fits: the pipe, what is being written, what waits.
    while tokio::time::timeout(Duration::from_millis(200), channel.publish(Publication::new("", "q", body.clone()))).await.is_ok() {
        sent += body.len();
        assert!(sent < 4 * leveret::client::OUTPUT_HIGH, "nothing holds it back");
    }
    assert!(sent > leveret::client::OUTPUT_HIGH);
    // Who waits for room hears of the end.
    let waiting = tokio::spawn(async move { channel.publish(Publication::new("", "q", body)).await });
    drop(peer);
    assert!(soon(waiting).await.expect("no panic").is_err());
    soon(connection.closed()).await;
}

#[tokio::test]
async fn the_properties_say_what_is_understood() {
    let (_opening, mut peer) = Peer::unconnected();
    let start_ok = peer.start().await;
    let properties: &FieldTable = &start_ok.client_properties;
    let Some(leveret::amqp::AMQPValue::FieldTable(capabilities)) = properties.inner().get("capabilities") else { panic!("{properties:?}") };
    for capability in ["consumer_cancel_notify", "connection.blocked", "publisher_confirms", "basic.nack", "authentication_failure_close"] {
        assert_eq!(capabilities.inner().get(capability), Some(&leveret::amqp::AMQPValue::Boolean(true)), "{capability}");
    }
}
