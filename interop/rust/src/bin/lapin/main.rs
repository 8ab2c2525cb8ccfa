//! What a program on lapin does with a broker, checked one promise at a time.

mod features;

use features::*;
use futures_lite::StreamExt;
use interop::{IDLE, Names, QUIET, Relay, Section, WAIT, host, mebibyte, port};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, Error, ErrorKind, ExchangeKind,
    message::Delivery,
    options::*,
    types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable},
};
use std::{
    fmt::Debug,
    process::ExitCode,
    sync::{Arc, Mutex},
};
use tokio::time::timeout;

#[tokio::main]
async fn main() -> ExitCode {
    let mut section = Section::of("lapin");
    let names = Names::new("lapin");
    macro_rules! check {
        ($what:literal, $body:ident) => {
            let names = names.clone();
            let body = async move {
                let connection = connect(&uri("")).await;
                let own = Own { connection, names, channels: Mutex::default() };
                $body(&own).await;
                own.connection.close(200, "done".into()).await.unwrap();
            };
            section.check($what, body).await
        };
    }
    check!("publish, consume, ack: in order, not redelivered", consumes_in_order);
    check!("nack with requeue: back to the original order, redelivered", requeues);
    check!("reject without requeue: the message is gone", rejects);
    check!("basic.get: message, remaining count, empty", gets);
    check!("qos: at most prefetch messages unacked", prefetches);
    check!("recover: everything unacked comes back redelivered", recovers);
    check!("purge and delete report their message counts", counts_on_purge);
    check!("publisher confirms: every publish confirmed", confirms);
    check!("mandatory: returned with 312 NO_ROUTE, then confirmed", returns);
    check!("reject-publish: a full queue's publish is nacked", nacks);
    check!("fanout exchange: a copy for every queue", fans_out);
    check!("topic exchange: the patterns choose the queues", routes_topics);
    check!("headers exchange: x-match all and any", routes_headers);
    check!("exchange bound to exchange, alternate exchange", routes_onward);
    check!("load balancing: prefetch 1, a busy consumer gets no more", balances);
    check!("rpc over an exclusive server-named queue", calls_over_own_queue);
    check!("rpc over direct reply-to", calls_over_direct_reply_to);
    check!("connection loss: unacked messages come back redelivered", survives_loss);
    check!("connection loss: automatic recovery of channel and consumer", recovers_automatically);
    check!("404 for a missing queue, the connection stays usable", refuses_missing_queue);
    check!("404 for a publish to a missing exchange", refuses_missing_exchange);
    check!("406 for an inequivalent declare", refuses_inequivalent);
    check!("406 for an unknown delivery tag", refuses_unknown_tag);
    check!("406 for deleting a queue in use if-unused", refuses_delete_in_use);
    check!("405 for another connection's exclusive queue", refuses_foreign_exclusive);
    check!("403 for declaring an amq. name", refuses_reserved_name);
    check!("403 for a second consumer beside an exclusive one", refuses_second_exclusive);
    check!("540 for immediate closes the connection with its reason", refuses_immediate);
    check!("a wrong password is an ACCESS_REFUSED protocol error", refuses_password);
    check!("530 for an unknown vhost", refuses_vhost);
    check!("1 MiB body, every property and header type, unchanged", carries_everything);
    check!("an empty body", carries_nothing);
    check!("heartbeat negotiated to 1 s, idle connection stays open", keeps_idle_open);
    check!("tx: commit publishes, rollback does not", transacts);
    check!("consumer cancel notification when its queue is deleted", notifies_cancel);
    check!("update-secret is answered", updates_secret);
    check!("time to live: queue's and message's, the shorter of both, only at the head", expires_messages);
    check!("x-expires: an unused queue goes, one with a consumer stays", expires_queues);
    check!("dead letters: rejected, expired and overflowing messages with their history", dead_letters);
    check!("delayed retry: TTL and back, deaths counted, parked after three attempts", retries_later);
    check!("priorities: higher first, in order within one", orders_by_priority);
    check!("single active consumer: the next one takes over", takes_over);
    check!("quorum queue: x-delivery-count, and the delivery limit that dead-letters", limits_deliveries);
    check!("stream: first, last, an offset, a time and an age; offsets in headers", reads_stream);
    check!("406 for wrong arguments", refuses_arguments);
    check!("nothing left behind", leaves_nothing);
    section.end()
}

/// A check's own connection.
struct Own {
    connection: Connection,
    names: Arc<Names>,
    /// A dropped channel closes itself at some later time, which would race with
    /// the connection's close.
    channels: Mutex<Vec<Channel>>,
}

// Delivery and settlement

async fn consumes_in_order(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=3).await;
    let mut inbox = consume(&channel, &queue).await;
    for expected in ["1", "2", "3"] {
        let delivery = take(&mut inbox).await;
        assert_eq!(expected, text(&delivery));
        assert!(!delivery.redelivered);
        assert_eq!(queue, delivery.routing_key.as_str());
        assert!(delivery.ack(BasicAckOptions::default()).await.unwrap());
    }
    assert_eq!(0, message_count(&channel, &queue).await);
}

async fn requeues(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=5).await;
    let mut inbox = consume(&channel, &queue).await;
    let mut deliveries = Vec::new();
    for _ in 0..5 {
        deliveries.push(take(&mut inbox).await);
    }
    channel.basic_cancel(inbox.tag(), BasicCancelOptions::default()).await.unwrap();
    deliveries[1].ack(BasicAckOptions::default()).await.unwrap();
    for number in [5, 1, 4, 3] {
        let requeue = BasicNackOptions { requeue: true, multiple: false };
        deliveries[number - 1].nack(requeue).await.unwrap();
    }
    for expected in ["1", "3", "4", "5"] {
        let delivery = get(&channel, &queue, true).await.unwrap();
        assert_eq!(expected, text(&delivery));
        assert!(delivery.redelivered);
    }
    assert_eq!(None, get(&channel, &queue, true).await);
}

async fn rejects(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=3).await;
    let first = get(&channel, &queue, false).await.unwrap();
    first.reject(BasicRejectOptions { requeue: false }).await.unwrap();
    get(&channel, &queue, false).await.unwrap();
    let last = get(&channel, &queue, false).await.unwrap();
    last.nack(BasicNackOptions { requeue: false, multiple: true }).await.unwrap();
    assert_eq!(None, get(&channel, &queue, true).await);
}

async fn gets(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=2).await;
    let got = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await.unwrap();
    let first = got.unwrap();
    assert_eq!("1", text(&first.delivery));
    assert_eq!(1, first.message_count);
    first.delivery.ack(BasicAckOptions::default()).await.unwrap();
    assert_eq!(["2"], drain(&channel, &queue).await[..]);
}

async fn prefetches(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=4).await;
    channel.basic_qos(2, BasicQosOptions::default()).await.unwrap();
    let mut inbox = consume(&channel, &queue).await;
    assert_eq!("1", text(&take(&mut inbox).await));
    let second = take(&mut inbox).await;
    assert!(timeout(QUIET, inbox.next()).await.is_err(), "a third message came");
    second.ack(BasicAckOptions { multiple: true }).await.unwrap();
    assert_eq!("3", text(&take(&mut inbox).await));
    assert_eq!("4", text(&take(&mut inbox).await));
}

async fn recovers(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=2).await;
    let mut inbox = consume(&channel, &queue).await;
    take(&mut inbox).await;
    take(&mut inbox).await;
    channel.basic_recover(BasicRecoverOptions { requeue: true }).await.unwrap();
    for expected in ["1", "2"] {
        let delivery = take(&mut inbox).await;
        assert_eq!(expected, text(&delivery));
        assert!(delivery.redelivered);
    }
}

async fn counts_on_purge(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=3).await;
    let purged = channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await;
    assert_eq!(3, purged.unwrap());
    publish_numbers(&channel, &queue, 4..=4).await;
    assert_eq!(1, delete_queue(&channel, &queue).await.unwrap());
}

// Publisher confirms and returns

async fn confirms(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let mut confirms = Vec::new();
    for number in 0..500 {
        let options = BasicPublishOptions::default();
        let body = number.to_string();
        let confirm = channel.basic_publish("".into(), queue.as_str().into(), options, body.as_bytes(), persistent.clone()).await;
        confirms.push(confirm.unwrap());
    }
    for confirm in confirms {
        assert_eq!(Confirmation::Ack(None), timeout(WAIT, confirm).await.unwrap().unwrap());
    }
    assert_eq!(500, message_count(&channel, &queue).await);
}

async fn returns(own: &Own) {
    let channel = own.channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let key = own.names.unused("nowhere");
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let confirm = channel.basic_publish("amq.direct".into(), key.as_str().into(), options, b"back", Default::default()).await.unwrap();
    let confirmation = timeout(WAIT, confirm).await.unwrap().unwrap();
    assert!(confirmation.is_ack());
    let returned = confirmation.take_message().unwrap();
    assert_eq!(312, returned.reply_code);
    assert_eq!("NO_ROUTE", returned.reply_text.as_str());
    assert_eq!("amq.direct", returned.delivery.exchange.as_str());
    assert_eq!(key, returned.delivery.routing_key.as_str());
    assert_eq!("back", text(&returned.delivery));
}

async fn nacks(own: &Own) {
    let channel = own.channel().await;
    let full = table([("x-max-length", AMQPValue::LongInt(1)), ("x-overflow", string("reject-publish"))]);
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), options, full).await.unwrap().name().clone();
    own.names.server_named(queue.as_str());
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    for (body, expected) in [("kept", Confirmation::Ack(None)), ("refused", Confirmation::Nack(None))] {
        let options = BasicPublishOptions::default();
        let confirm = channel.basic_publish("".into(), queue.clone(), options, body.as_bytes(), Default::default()).await.unwrap();
        assert_eq!(expected, timeout(WAIT, confirm).await.unwrap().unwrap());
    }
    assert_eq!(["kept"], drain(&channel, queue.as_str()).await[..]);
}

// Routing

async fn fans_out(own: &Own) {
    let channel = own.channel().await;
    let fanout = own.exchange(&channel, "fanout", ExchangeKind::Fanout, FieldTable::default()).await;
    let mut inboxes = Vec::new();
    for _ in 0..3 {
        let queue = own.bound_queue(&channel, &fanout, "", FieldTable::default()).await;
        inboxes.push(consume(&channel, &queue).await);
    }
    publish(&channel, &fanout, "ignored", "for all", BasicProperties::default()).await;
    for inbox in &mut inboxes {
        let delivery = take(inbox).await;
        assert_eq!("for all", text(&delivery));
        assert_eq!(fanout, delivery.exchange.as_str());
    }
    delete_exchange(&channel, &fanout).await;
}

async fn routes_topics(own: &Own) {
    let channel = own.channel().await;
    let topic = own.exchange(&channel, "topic", ExchangeKind::Topic, FieldTable::default()).await;
    let errors = own.bound_queue(&channel, &topic, "*.error", FieldTable::default()).await;
    let orders = own.bound_queue(&channel, &topic, "orders.#", FieldTable::default()).await;
    let all = own.bound_queue(&channel, &topic, "#", FieldTable::default()).await;
    bind(&channel, &all, &topic, "orders.*", FieldTable::default()).await;
    let keys = ["orders.error", "orders.eu.paid", "orders", "stock.error", ""];
    for key in keys {
        publish(&channel, &topic, key, key, BasicProperties::default()).await;
    }
    assert_eq!(["orders.error", "stock.error"], drain(&channel, &errors).await[..]);
    assert_eq!(keys[..3], drain(&channel, &orders).await[..]);
    assert_eq!(keys, drain(&channel, &all).await[..]);
    let (queue, exchange) = (errors.as_str().into(), topic.as_str().into());
    channel.queue_unbind(queue, exchange, "*.error".into(), FieldTable::default()).await.unwrap();
    publish(&channel, &topic, "late.error", "late.error", BasicProperties::default()).await;
    assert!(drain(&channel, &errors).await.is_empty());
    delete_exchange(&channel, &topic).await;
}

async fn routes_headers(own: &Own) {
    let channel = own.channel().await;
    let none = FieldTable::default();
    let exchange = own.exchange(&channel, "headers", ExchangeKind::Headers, none).await;
    let conditions = |x_match| table([("x-match", string(x_match)), ("kind", string("a")), ("size", AMQPValue::LongInt(1))]);
    let both = own.bound_queue(&channel, &exchange, "", conditions("all")).await;
    let either = own.bound_queue(&channel, &exchange, "", conditions("any")).await;
    for (body, kind, size) in [("both", "a", 1), ("one", "a", 2), ("none", "b", 2)] {
        let headers = table([("kind", string(kind)), ("size", AMQPValue::LongInt(size))]);
        let properties = BasicProperties::default().with_headers(headers);
        publish(&channel, &exchange, "", body, properties).await;
    }
    assert_eq!(["both"], drain(&channel, &both).await[..]);
    assert_eq!(["both", "one"], drain(&channel, &either).await[..]);
    delete_exchange(&channel, &exchange).await;
}

async fn routes_onward(own: &Own) {
    let channel = own.channel().await;
    let none = FieldTable::default;
    let spare = own.exchange(&channel, "spare", ExchangeKind::Fanout, none()).await;
    let alternate = table([("alternate-exchange", string(&spare))]);
    let first = own.exchange(&channel, "first", ExchangeKind::Direct, alternate).await;
    let second = own.exchange(&channel, "second", ExchangeKind::Topic, none()).await;
    let ends = || (second.as_str().into(), first.as_str().into());
    let (destination, source) = ends();
    let options = ExchangeBindOptions::default();
    channel.exchange_bind(destination, source, "go".into(), options, none()).await.unwrap();
    let reached = own.bound_queue(&channel, &second, "go", none()).await;
    let stray = own.bound_queue(&channel, &spare, "", none()).await;
    publish(&channel, &first, "go", "onward", BasicProperties::default()).await;
    publish(&channel, &first, "elsewhere", "stray", BasicProperties::default()).await;
    assert_eq!(["onward"], drain(&channel, &reached).await[..]);
    assert_eq!(["stray"], drain(&channel, &stray).await[..]);
    let (destination, source) = ends();
    let options = ExchangeUnbindOptions::default();
    channel.exchange_unbind(destination, source, "go".into(), options, none()).await.unwrap();
    publish(&channel, &first, "go", "unbound", BasicProperties::default()).await;
    assert_eq!(["unbound"], drain(&channel, &stray).await[..]);
    for exchange in [first, second, spare] {
        delete_exchange(&channel, &exchange).await;
    }
}

// Patterns of work

async fn balances(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let (busy, quick) = (own.channel().await, own.channel().await);
    busy.basic_qos(1, BasicQosOptions::default()).await.unwrap();
    quick.basic_qos(1, BasicQosOptions::default()).await.unwrap();
    let mut kept = consume(&busy, &queue).await;
    let mut done = consume(&quick, &queue).await;
    publish_numbers(&channel, &queue, 0..=9).await;
    let first = take(&mut kept).await;
    assert_eq!("0", text(&first));
    for number in 1..=9 {
        let delivery = take(&mut done).await;
        assert_eq!(number.to_string(), text(&delivery));
        delivery.ack(BasicAckOptions::default()).await.unwrap();
    }
    assert!(timeout(QUIET, kept.next()).await.is_err(), "the busy consumer got a second message");
}

async fn calls_over_own_queue(own: &Own) {
    let channel = own.channel().await;
    let requests = serve_upper_case(own).await;
    let replies = own.exclusive_queue(&channel).await;
    assert!(replies.starts_with("amq.gen-"), "{replies}");
    let mut inbox = consume(&channel, &replies).await;
    call(&channel, &requests, &replies, "call-7").await;
    let reply = take(&mut inbox).await;
    assert_eq!("HARE", text(&reply));
    assert_eq!("call-7", reply.properties.correlation_id().as_ref().unwrap().as_str());
}

async fn calls_over_direct_reply_to(own: &Own) {
    const REPLY_TO: &str = "amq.rabbitmq.reply-to";
    let channel = own.channel().await;
    let requests = serve_upper_case(own).await;
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut inbox = consume_with(&channel, REPLY_TO, options).await.unwrap();
    for id in ["call-1", "call-2"] {
        call(&channel, &requests, REPLY_TO, id).await;
        let reply = take(&mut inbox).await;
        assert_eq!("HARE", text(&reply));
        assert_eq!(id, reply.properties.correlation_id().as_ref().unwrap().as_str());
    }
}

async fn call(channel: &Channel, requests: &str, reply_to: &str, id: &str) {
    let properties = BasicProperties::default().with_reply_to(reply_to.into()).with_correlation_id(id.into());
    publish(channel, "", requests, "hare", properties).await;
}

async fn serve_upper_case(own: &Own) -> String {
    let channel = own.channel().await;
    let requests = own.exclusive_queue(&channel).await;
    let mut inbox = consume(&channel, &requests).await;
    tokio::spawn(async move {
        while let Some(Ok(request)) = inbox.next().await {
            let id = request.properties.correlation_id().clone().unwrap();
            let reply_to = request.properties.reply_to().clone().unwrap();
            let properties = BasicProperties::default().with_correlation_id(id);
            let body = text(&request).to_uppercase();
            publish(&channel, "", reply_to.as_str(), &body, properties).await;
            request.ack(BasicAckOptions::default()).await.unwrap();
        }
    });
    requests
}

// Connection loss

async fn survives_loss(own: &Own) {
    let channel = own.channel().await;
    let queue = own.shared_queue(&channel, "loss").await;
    publish_numbers(&channel, &queue, 1..=3).await;
    let relay = Relay::start().unwrap();
    let lost = connect(&format!("amqp://guest:guest@127.0.0.1:{}/%2f", relay.port)).await;
    let lost_channel = lost.create_channel().await.unwrap();
    let mut inbox = consume(&lost_channel, &queue).await;
    take(&mut inbox).await.ack(BasicAckOptions::default()).await.unwrap();
    take(&mut inbox).await;
    take(&mut inbox).await;
    message_count(&lost_channel, &queue).await; // its answer proves that the ack before it arrived
    relay.cut();

    let mut again = consume(&channel, &queue).await;
    for expected in ["2", "3"] {
        let delivery = take(&mut again).await;
        assert_eq!(expected, text(&delivery));
        assert!(delivery.redelivered);
    }
    delete_queue(&channel, &queue).await.unwrap();
    let error = timeout(WAIT, inbox.next()).await.unwrap().unwrap().unwrap_err();
    assert!(error.is_io_error(), "{error}");
}

async fn recovers_automatically(own: &Own) {
    let channel = own.channel().await;
    let queue = own.shared_queue(&channel, "again").await;
    let relay = Relay::start().unwrap();
    let properties = ConnectionProperties::default().enable_auto_recover().configure_backoff(|backoff| backoff.with_max_times(20));
    let uri = format!("amqp://guest:guest@127.0.0.1:{}/%2f", relay.port);
    let connection = Connection::connect(&uri, properties).await.unwrap();
    let recovering = connection.create_channel().await.unwrap();
    let mut inbox = consume(&recovering, &queue).await;
    relay.cut();
    publish_numbers(&channel, &queue, 1..=1).await;
    let delivery = loop {
        // The consumer first tells of the loss.
        match timeout(WAIT, inbox.next()).await.expect("no delivery came").expect("consumer ended") {
            Ok(delivery) => break delivery,
            Err(error) => assert!(error.is_io_error(), "{error}"),
        }
    };
    assert_eq!("1", text(&delivery));
    delivery.ack(BasicAckOptions::default()).await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
    delete_queue(&channel, &queue).await.unwrap();
}

// Errors

async fn refuses_missing_queue(own: &Own) {
    let missing = own.names.unused("missing");
    let expected = format!("NOT_FOUND - no queue '{missing}' in vhost '/'");
    let channel = own.channel().await;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = channel.queue_declare(missing.as_str().into(), options, FieldTable::default()).await;
    refused(404, &expected, declared);
    assert!(!channel.status().connected());
    let channel = own.channel().await;
    refused(404, &expected, consume_with(&channel, &missing, Default::default()).await);
    own.exclusive_queue(&own.channel().await).await;
}

async fn refuses_missing_exchange(own: &Own) {
    let missing = own.names.unused("missing");
    let channel = own.channel().await;
    // Nothing answers a publish, but a consumer hears why its channel was closed.
    let mut inbox = consume(&channel, &own.exclusive_queue(&channel).await).await;
    publish(&channel, &missing, "", "lost", BasicProperties::default()).await;
    let next = timeout(WAIT, inbox.next()).await.expect("no close came").unwrap();
    refused(404, &format!("NOT_FOUND - no exchange '{missing}' in vhost '/'"), next);
}

async fn refuses_inequivalent(own: &Own) {
    let channel = own.channel().await;
    let queue = own.shared_queue(&channel, "plain").await;
    let place = format!("for queue '{queue}' in vhost '/'");
    let declare = async |options, arguments| own.channel().await.queue_declare(queue.as_str().into(), options, arguments).await;
    let expected = format!("PRECONDITION_FAILED - inequivalent arg 'durable' {place}: received 'false' but current is 'true'");
    refused(406, &expected, declare(QueueDeclareOptions::default(), FieldTable::default()).await);
    let expected = format!(
        "PRECONDITION_FAILED - inequivalent arg 'x-max-length' {place}: \
         received the value '9' of type 'signedint' but current is none"
    );
    let arguments = table([("x-max-length", AMQPValue::LongInt(9))]);
    refused(406, &expected, declare(QueueDeclareOptions::durable(), arguments).await);
    delete_queue(&channel, &queue).await.unwrap();
}

async fn refuses_unknown_tag(own: &Own) {
    let channel = own.channel().await;
    let mut inbox = consume(&channel, &own.exclusive_queue(&channel).await).await;
    channel.basic_ack(99, BasicAckOptions::default()).await.unwrap();
    let next = timeout(WAIT, inbox.next()).await.expect("no close came").unwrap();
    refused(406, "PRECONDITION_FAILED - unknown delivery tag 99", next);
}

async fn refuses_delete_in_use(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let _inbox = consume(&channel, &queue).await;
    let options = QueueDeleteOptions { if_unused: true, ..Default::default() };
    let deleted = own.channel().await.queue_delete(queue.as_str().into(), options).await;
    refused(406, &format!("PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use"), deleted);
}

async fn refuses_foreign_exclusive(own: &Own) {
    let queue = own.exclusive_queue(&own.channel().await).await;
    let other = connect(&uri("")).await;
    let channel = other.create_channel().await.unwrap();
    let expected = format!(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It could be \
         originally declared on another connection or the exclusive property value does not match that of the \
         original declaration."
    );
    refused(405, &expected, consume_with(&channel, &queue, Default::default()).await);
    other.close(200, "done".into()).await.unwrap();
}

async fn refuses_reserved_name(own: &Own) {
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let declared = own.channel().await.queue_declare("amq.mine".into(), options, FieldTable::default()).await;
    refused(403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'", declared);
    let declared =
        own.channel().await.exchange_declare("amq.mine".into(), ExchangeKind::Direct, Default::default(), FieldTable::default()).await;
    refused(403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'", declared);
}

async fn refuses_second_exclusive(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let options = BasicConsumeOptions { exclusive: true, ..Default::default() };
    let _first = consume_with(&channel, &queue, options).await.unwrap();
    let second = consume_with(&own.channel().await, &queue, Default::default()).await;
    refused(403, &format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"), second);
}

async fn refuses_immediate(own: &Own) {
    let connection = connect(&uri("")).await;
    let channel = connection.create_channel().await.unwrap();
    let mut inbox = consume(&channel, &own.exclusive_queue(&channel).await).await;
    let options = BasicPublishOptions { immediate: true, ..Default::default() };
    channel.basic_publish("".into(), "anywhere".into(), options, b"now", Default::default()).await.unwrap();
    let next = timeout(WAIT, inbox.next()).await.expect("no close came").unwrap();
    refused(540, "NOT_IMPLEMENTED - immediate=true", next);
    assert!(!connection.status().connected());
}

async fn refuses_password(_: &Own) {
    let uri = format!("amqp://guest:wrong@{}:{}/%2f", host(), port());
    let connected = Connection::connect(&uri, ConnectionProperties::default()).await;
    let expected = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
                    For details see the broker logfile.";
    refused(403, expected, connected.map(|_| ()));
}

async fn refuses_vhost(_: &Own) {
    let uri = format!("amqp://guest:guest@{}:{}/nowhere", host(), port());
    let connected = Connection::connect(&uri, ConnectionProperties::default()).await;
    refused(530, "NOT_ALLOWED - vhost nowhere not found", connected.map(|_| ()));
}

// Content

async fn carries_everything(own: &Own) {
    let list = FieldArray::from(vec![AMQPValue::LongInt(1), string("two"), AMQPValue::Double(3.5)]);
    let inner = table([("deep", AMQPValue::LongInt(1))]);
    let headers = table([
        ("text", string("ünïcode")),
        ("bool", AMQPValue::Boolean(true)),
        ("i8", AMQPValue::ShortShortInt(-8)),
        ("u8", AMQPValue::ShortShortUInt(200)),
        ("i16", AMQPValue::ShortInt(-16000)),
        ("u16", AMQPValue::ShortUInt(60000)),
        ("i32", AMQPValue::LongInt(-32)),
        ("u32", AMQPValue::LongUInt(4_000_000_000)),
        ("i64", AMQPValue::LongLongInt(i64::MIN)),
        ("f32", AMQPValue::Float(1.5)),
        ("f64", AMQPValue::Double(std::f64::consts::PI)),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 12345 })),
        ("time", AMQPValue::Timestamp(1_700_000_000)),
        ("nothing", AMQPValue::Void),
        ("bytes", AMQPValue::ByteArray(ByteArray::from(vec![0, 1, 206, 255]))),
        ("list", AMQPValue::FieldArray(list)),
        ("table", AMQPValue::FieldTable(table([("inner", AMQPValue::FieldTable(inner))]))),
    ]);
    let properties = BasicProperties::default()
        .with_content_type("application/octet-stream".into())
        .with_content_encoding("identity".into())
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_priority(5)
        .with_correlation_id("correlation".into())
        .with_reply_to("reply".into())
        .with_expiration("60000".into())
        .with_message_id("message".into())
        .with_timestamp(1_600_000_000)
        .with_type("type".into())
        .with_user_id("guest".into())
        .with_app_id("app".into())
        .with_cluster_id("cluster".into());
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let body = mebibyte();
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), queue.as_str().into(), options, &body, properties.clone());
    sent.await.unwrap();
    let delivery = take(&mut consume(&channel, &queue).await).await;
    assert!(body == delivery.data, "the body changed");
    assert_eq!(properties, delivery.properties);
}

async fn carries_nothing(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish(&channel, "", &queue, "", BasicProperties::default()).await;
    let delivery = take(&mut consume(&channel, &queue).await).await;
    assert!(delivery.data.is_empty());
    assert_eq!(BasicProperties::default(), delivery.properties);
}

// The rest

async fn keeps_idle_open(_: &Own) {
    let connection = connect(&uri("?heartbeat=1")).await;
    assert_eq!(1, connection.configuration().heartbeat());
    tokio::time::sleep(IDLE).await;
    assert!(connection.status().connected());
    let channel = connection.create_channel().await.unwrap();
    channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

async fn transacts(own: &Own) {
    let (channel, observer) = (own.channel().await, own.channel().await);
    let queue = own.exclusive_queue(&channel).await;
    channel.tx_select().await.unwrap();
    publish_numbers(&channel, &queue, 1..=1).await;
    message_count(&channel, &queue).await; // its answer proves that the publish before it arrived
    assert_eq!(0, message_count(&observer, &queue).await);
    channel.tx_commit().await.unwrap();
    assert_eq!(1, message_count(&observer, &queue).await);
    publish_numbers(&channel, &queue, 2..=2).await;
    channel.tx_rollback().await.unwrap();
    assert_eq!(1, message_count(&observer, &queue).await);
}

async fn notifies_cancel(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let mut inbox = consume(&channel, &queue).await;
    delete_queue(&own.channel().await, &queue).await.unwrap();
    assert!(timeout(WAIT, inbox.next()).await.expect("no cancel came").is_none());
    assert!(channel.status().connected());
    own.exclusive_queue(&channel).await;
}

async fn updates_secret(own: &Own) {
    own.connection.update_secret("guest".into(), "renewed".into()).await.unwrap();
}

async fn leaves_nothing(own: &Own) {
    for queue in own.names.queues() {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let channel = own.channel().await;
        let found = channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await;
        refused(404, &format!("NOT_FOUND - no queue '{queue}' in vhost '/'"), found);
    }
    for exchange in own.names.exchanges() {
        let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
        let channel = own.channel().await;
        let kind = ExchangeKind::Direct;
        let found = channel.exchange_declare(exchange.as_str().into(), kind, options, FieldTable::default()).await;
        refused(404, &format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'"), found);
    }
}

// Small words the checks are written in

fn uri(query: &str) -> String {
    format!("amqp://guest:guest@{}:{}/%2f{query}", host(), port())
}

async fn connect(uri: &str) -> Connection {
    Connection::connect(uri, ConnectionProperties::default()).await.unwrap()
}

impl Own {
    async fn channel(&self) -> Channel {
        let channel = self.connection.create_channel().await.unwrap();
        self.channels.lock().unwrap().push(channel.clone());
        channel
    }

    async fn exclusive_queue(&self, channel: &Channel) -> String {
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap();
        self.names.server_named(queue.name().as_str());
        queue.name().to_string()
    }

    async fn shared_queue(&self, channel: &Channel, suffix: &str) -> String {
        let queue = self.names.queue(suffix);
        let options = QueueDeclareOptions::durable();
        channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await.unwrap();
        queue
    }

    async fn exchange(&self, channel: &Channel, suffix: &str, kind: ExchangeKind, arguments: FieldTable) -> String {
        let exchange = self.names.exchange(suffix);
        let options = ExchangeDeclareOptions::default();
        channel.exchange_declare(exchange.as_str().into(), kind, options, arguments).await.unwrap();
        exchange
    }

    async fn bound_queue(&self, channel: &Channel, exchange: &str, key: &str, arguments: FieldTable) -> String {
        let queue = self.exclusive_queue(channel).await;
        bind(channel, &queue, exchange, key, arguments).await;
        queue
    }
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str, arguments: FieldTable) {
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.into(), exchange.into(), key.into(), options, arguments).await.unwrap();
}

async fn publish(channel: &Channel, exchange: &str, key: &str, body: &str, properties: BasicProperties) {
    let options = BasicPublishOptions::default();
    channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties).await.unwrap();
}

async fn publish_numbers(channel: &Channel, queue: &str, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        publish(channel, "", queue, &number.to_string(), BasicProperties::default()).await;
    }
}

async fn consume(channel: &Channel, queue: &str) -> Consumer {
    consume_with(channel, queue, BasicConsumeOptions::default()).await.unwrap()
}

async fn consume_with(channel: &Channel, queue: &str, options: BasicConsumeOptions) -> lapin::Result<Consumer> {
    channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await
}

async fn take(inbox: &mut Consumer) -> Delivery {
    let next = timeout(WAIT, inbox.next()).await.expect("no delivery came");
    next.expect("the consumer ended").unwrap()
}

async fn get(channel: &Channel, queue: &str, no_ack: bool) -> Option<Delivery> {
    let got = channel.basic_get(queue.into(), BasicGetOptions { no_ack }).await.unwrap();
    got.map(|message| message.delivery)
}

async fn drain(channel: &Channel, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(delivery) = get(channel, queue, true).await {
        bodies.push(text(&delivery).to_owned());
    }
    bodies
}

async fn message_count(channel: &Channel, queue: &str) -> u32 {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap().message_count()
}

async fn delete_queue(channel: &Channel, queue: &str) -> lapin::Result<u32> {
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await
}

async fn delete_exchange(channel: &Channel, exchange: &str) {
    channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await.unwrap();
}

fn refused<T: Debug>(code: u16, text: &str, result: Result<T, Error>) {
    let error = result.expect_err(text);
    let ErrorKind::ProtocolError(error) = error.kind() else { panic!("expected {text}, got {error}") };
    assert_eq!(text, error.get_message().as_str());
    assert_eq!(code, error.get_id());
}

fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert(key.into(), value);
    }
    table
}

fn string(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn text(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.data).unwrap()
}
