//! The handshake, methods and their replies, errors of channels.

use leveret::amqp::{AMQPClass, FieldTable, ShortString, access, basic, exchange, queue, tx};
use leveret::client::{Error, Options, Publication};

use super::{Broker, closed_by_server, confirming, connect, connect_with, declare, open, ready, soon};
use crate::{call_queue, declaring};

fn text(name: &str) -> ShortString {
    name.into()
}

#[tokio::test]
async fn logins_and_virtual_hosts_are_refused_with_the_reason() {
    let broker = Broker::start();
    let refused = connect_with(&broker, Options::plain("guest", "wrong", "/")).await.expect_err("refused");
    let Error::Refused(why) = refused else { panic!("{refused:?}") };
    assert!(why.starts_with("403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN"), "{why}");
    let refused = connect_with(&broker, Options::plain("guest", "guest", "elsewhere")).await.expect_err("refused");
    let Error::Refused(why) = refused else { panic!("{refused:?}") };
    assert!(why.starts_with("530 NOT_ALLOWED - vhost elsewhere not found"), "{why}");
    let refused = connect_with(&broker, Options::with_mechanism("CRAM-MD5", Vec::new(), "/")).await.expect_err("refused");
    let Error::Refused(why) = refused else { panic!("{refused:?}") };
    assert!(why.contains("PLAIN AMQPLAIN") && why.contains("CRAM-MD5"), "{why}");
}

#[test]
fn a_password_is_not_shown() {
    let options = Options::plain("guest", "swordfish", "/");
    assert!(!format!("{options:?}").contains("swordfish") && !format!("{options:?}").contains(&format!("{:?}", options.response)));
}

#[tokio::test]
async fn every_synchronous_method_has_its_reply() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    let declare_x = |name: &str| exchange::Declare {
        exchange: text(name),
        kind: text("fanout"),
        passive: false,
        durable: false,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: FieldTable::default(),
    };
    let (destination, source, routing_key) = (text("to"), text("from"), text("key"));
    let arguments = FieldTable::default();
    let bind_x = exchange::Bind {
        destination: destination.clone(),
        source: source.clone(),
        routing_key: routing_key.clone(),
        nowait: false,
        arguments: arguments.clone(),
    };
    let unbind_x = exchange::Unbind { destination, source, routing_key: routing_key.clone(), nowait: false, arguments: arguments.clone() };
    let (q, x) = (text("q"), text("from"));
    let bind = queue::Bind {
        queue: q.clone(),
        exchange: x.clone(),
        routing_key: routing_key.clone(),
        nowait: false,
        arguments: arguments.clone(),
    };
    let unbind = queue::Unbind { queue: q.clone(), exchange: x.clone(), routing_key, arguments };
    use {basic::AMQPMethod as B, exchange::AMQPMethod as E, queue::AMQPMethod as Q};
    let calls = [
        AMQPClass::Exchange(E::Declare(declare_x("from"))),
        AMQPClass::Exchange(E::Declare(declare_x("to"))),
        AMQPClass::Exchange(E::Bind(bind_x)),
        AMQPClass::Exchange(E::Unbind(unbind_x)),
        AMQPClass::Queue(Q::Declare(declaring("q"))),
        AMQPClass::Queue(Q::Bind(bind)),
        AMQPClass::Queue(Q::Unbind(unbind)),
        AMQPClass::Queue(Q::Purge(queue::Purge { queue: q.clone(), nowait: false })),
        AMQPClass::Queue(Q::Delete(queue::Delete { queue: q, if_unused: false, if_empty: false, nowait: false })),
        AMQPClass::Exchange(E::Delete(exchange::Delete { exchange: x, if_unused: false, nowait: false })),
        AMQPClass::Basic(B::Qos(basic::Qos { prefetch_count: 3, global: false })),
        AMQPClass::Basic(B::Recover(basic::Recover { requeue: true })),
        AMQPClass::Access(access::AMQPMethod::Request(access::Request::default())),
        AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {})),
        AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {})),
        AMQPClass::Tx(tx::AMQPMethod::Rollback(tx::Rollback {})),
    ];
    for call in calls {
        let asked = (call.get_amqp_class_id(), call.get_amqp_method_id());
        let reply = soon(channel.call(call)).await.expect("a reply");
        let answered = (reply.get_amqp_class_id(), reply.get_amqp_method_id());
        assert_eq!(answered, (asked.0, if asked == (40, 40) { 51 } else { asked.1 + 1 }));
    }
    soon(channel.close()).await.expect("closed in order");
    soon(connection.close()).await.expect("closed in order");
}

#[tokio::test]
async fn replies_are_told_apart_when_many_are_under_way() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    let mut tasks = Vec::new();
    for n in 0..200 {
        let channel = channel.clone();
        tasks.push(tokio::spawn(async move {
            let name = format!("q{n}");
            let declared = declare(&channel, &name).await.queue;
            // Something that answers otherwise, in between.
            assert!(soon(channel.get(&name, true)).await.expect("an answer").is_none());
            assert_eq!(declared.as_str(), name);
        }));
    }
    for task in tasks {
        soon(task).await.expect("its own reply");
    }
}

#[tokio::test]
async fn an_error_ends_its_channel_alone_and_everybody_on_it_hears_why() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let (channel, other) = (open(&connection).await, open(&connection).await);
    declare(&other, "q").await;
    let passive = |name: &str| queue::AMQPMethod::Declare(queue::Declare { passive: true, ..declaring(name) });
    let (first, second) = tokio::join!(call_queue(&channel, passive("missing")), call_queue(&channel, passive("q")));
    let (first, second) = (first.expect_err("404"), second.expect_err("the channel is gone"));
    let text = "NOT_FOUND - no queue 'missing' in vhost '/'";
    assert_eq!(closed_by_server(&first), (404, text, Some(channel.number())));
    assert_eq!(closed_by_server(&second), (404, text, Some(channel.number())));
    let Error::Closed { class, method, .. } = first else { panic!("{first:?}") };
    assert_eq!((class, method), (50, 10));
    // And so does whoever comes later.
    let later = soon(channel.publish(Publication::new("", "q", "x"))).await.expect_err("the channel is gone");
    assert_eq!(later.code(), Some(404));
    let changed = queue::Declare { durable: true, ..declaring("q") };
    let error = call_queue(&open(&connection).await, queue::AMQPMethod::Declare(changed)).await.expect_err("406");
    assert_eq!(error.code(), Some(406));
    assert_eq!(ready(&other, "q").await, 0);
}

#[tokio::test]
async fn a_number_is_used_again_and_the_old_handle_does_not_speak_for_it() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let old = open(&connection).await;
    let missing = queue::Declare { passive: true, ..declaring("missing") };
    call_queue(&old, queue::AMQPMethod::Declare(missing)).await.expect_err("404");
    let new = open(&connection).await;
    assert_eq!(new.number(), old.number());
    assert_eq!(soon(old.confirm_select()).await.expect_err("it is gone").code(), Some(404));
    drop(old);
    declare(&new, "q").await;
    soon(new.close()).await.expect("closed");
    assert!(matches!(soon(new.confirm_select()).await, Err(Error::Closed { by_server: false, .. })));
    assert_eq!(open(&connection).await.number(), 1);
}

#[tokio::test]
async fn channels_end_with_their_handles_and_run_out() {
    let broker = Broker::start();
    let options = Options { channel_max: 2, ..Options::plain("guest", "guest", "/") };
    let connection = connect_with(&broker, options).await.expect("a connection");
    let (one, two) = (open(&connection).await, open(&connection).await);
    assert!(matches!(soon(connection.channel()).await, Err(Error::Protocol(_))));
    drop(one);
    // Free when the server has agreed, which it has once it answers what came after.
    declare(&two, "q").await;
    assert_eq!(open(&connection).await.number(), 1);
}

#[tokio::test]
async fn what_nothing_answers_is_not_called() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    let nowait = AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare { nowait: true, ..declaring("q") }));
    assert!(matches!(soon(channel.call(nowait.clone())).await, Err(Error::Protocol(_))));
    soon(channel.send(nowait)).await.expect("sent");
    assert_eq!(ready(&channel, "q").await, 0);
    let get = AMQPClass::Basic(basic::AMQPMethod::Get(basic::Get { queue: "q".into(), no_ack: true }));
    assert!(matches!(soon(channel.call(get.clone())).await, Err(Error::Protocol(_))));
    assert!(matches!(soon(channel.send(get)).await, Err(Error::Protocol(_))));
    assert!(matches!(soon(channel.get(&"q".repeat(256), true)).await, Err(Error::Protocol(_))));
}

#[tokio::test]
async fn gets_tell_what_is_left_and_settle() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    for body in ["one", "two", "three"] {
        soon(channel.publish(Publication::new("", "q", body))).await.expect("confirmed");
    }
    let one = soon(channel.get("q", false)).await.expect("an answer").expect("a message");
    assert_eq!((&one.body[..], one.message_count, one.redelivered), (&b"one"[..], Some(2), false));
    assert_eq!((&one.exchange[..], &one.routing_key[..], &one.consumer_tag[..]), (&b""[..], &b"q"[..], &b""[..]));
    let two = soon(channel.get("q", false)).await.expect("an answer").expect("a message");
    soon(channel.nack(two.delivery_tag, true, true)).await.expect("sent");
    let again = soon(channel.get("q", false)).await.expect("an answer").expect("a message");
    assert_eq!((&again.body[..], again.redelivered), (&b"one"[..], true));
    soon(channel.ack(again.delivery_tag, false)).await.expect("sent");
    let two = soon(channel.get("q", false)).await.expect("an answer").expect("a message");
    soon(channel.reject(two.delivery_tag, false)).await.expect("sent");
    let three = soon(channel.get("q", true)).await.expect("an answer").expect("a message");
    assert_eq!((&three.body[..], three.message_count), (&b"three"[..], Some(0)));
    assert!(soon(channel.get("q", false)).await.expect("an answer").is_none());
    // A tag that is settled already.
    soon(channel.ack(two.delivery_tag, false)).await.expect("sent");
    let error = soon(channel.get("q", false)).await.expect_err("406");
    assert!(matches!(closed_by_server(&error), (406, text, _) if text.contains("unknown delivery tag")), "{error}");
}
