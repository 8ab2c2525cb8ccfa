//! What a program on amqprs does with a broker, checked one promise at a time.

use amqprs::{
    Ack, BasicProperties, ByteArray, Cancel, Close, CloseChannel, DecimalValue, FieldArray, FieldTable, FieldValue, Nack, Return,
    callbacks::{ChannelCallback, ConnectionCallback},
    channel::*,
    connection::{Connection, OpenConnectionArguments},
    error::Error,
    security::SecurityCredentials,
};
use async_trait::async_trait;
use interop::{IDLE, Names, QUIET, Relay, Section, WAIT, host, mebibyte, port};
use std::{
    fmt::Debug,
    process::ExitCode,
    sync::{Arc, Mutex},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};

#[tokio::main]
async fn main() -> ExitCode {
    let mut section = Section::of("amqprs");
    let names = Names::new("amqprs");
    macro_rules! check {
        ($what:literal, $body:ident) => {
            let names = names.clone();
            let body = async move {
                let own = Own::new(names, &arguments()).await;
                $body(&own).await;
                own.close().await;
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
    check!("404 for a missing queue, the connection stays usable", refuses_missing_queue);
    check!("404 for a publish to a missing exchange", refuses_missing_exchange);
    check!("406 for an inequivalent declare", refuses_inequivalent);
    check!("406 for an unknown delivery tag", refuses_unknown_tag);
    check!("406 for deleting a queue in use if-unused", refuses_delete_in_use);
    check!("405 for another connection's exclusive queue", refuses_foreign_exclusive);
    check!("403 for declaring an amq. name", refuses_reserved_name);
    check!("403 for a second consumer beside an exclusive one", refuses_second_exclusive);
    check!("540 for immediate closes the connection with its reason", refuses_immediate);
    check!("AMQPLAIN logs in", logs_in_with_amqplain);
    check!("a wrong password opens no connection", refuses_password);
    check!("530 for an unknown vhost", refuses_vhost);
    check!("1 MiB body, every property and header type, unchanged", carries_everything);
    check!("an empty body", carries_nothing);
    check!("heartbeat negotiated to 1 s, idle connection stays open", keeps_idle_open);
    check!("tx: commit publishes, rollback does not", transacts);
    check!("consumer cancel notification when its queue is deleted", notifies_cancel);
    check!("channel.flow and update-secret are answered", answers_the_rest);
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

/// What the broker sent without being asked, in order.
#[derive(Debug, PartialEq)]
enum Event {
    Closed(u16, String),
    Cancelled(String),
    Acked { tag: u64, multiple: bool },
    Nacked(u64),
    Returned { code: u16, text: String, exchange: String, key: String, body: Vec<u8> },
}

struct Recorder(UnboundedSender<Event>);

impl Recorder {
    fn record(&self, event: Event) {
        // A check that has ended takes no more events.
        let _ = self.0.send(event);
    }
}

#[async_trait]
impl ConnectionCallback for Recorder {
    async fn close(&mut self, _: &Connection, close: Close) -> Result<(), Error> {
        self.record(Event::Closed(close.reply_code(), close.reply_text().clone()));
        Ok(())
    }

    async fn blocked(&mut self, _: &Connection, _: String) {}

    async fn unblocked(&mut self, _: &Connection) {}

    async fn secret_updated(&mut self, _: &Connection) {}
}

#[async_trait]
impl ChannelCallback for Recorder {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), Error> {
        self.record(Event::Closed(close.reply_code(), close.reply_text().clone()));
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, cancel: Cancel) -> Result<(), Error> {
        self.record(Event::Cancelled(cancel.consumer_tag().clone()));
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.record(Event::Acked { tag: ack.delivery_tag(), multiple: ack.mutiple() });
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        self.record(Event::Nacked(nack.delivery_tag()));
    }

    async fn publish_return(&mut self, _: &Channel, ret: Return, _: BasicProperties, body: Vec<u8>) {
        self.record(Event::Returned {
            code: ret.reply_code(),
            text: ret.reply_text().clone(),
            exchange: ret.exchange().clone(),
            key: ret.routing_key().clone(),
            body,
        });
    }
}

type Events = UnboundedReceiver<Event>;
type Inbox = UnboundedReceiver<ConsumerMessage>;

// Delivery and settlement

async fn consumes_in_order(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=3).await;
    let mut inbox = consume(&channel, &queue, "").await;
    for expected in ["1", "2", "3"] {
        let delivery = take(&mut inbox).await;
        assert_eq!(expected, delivery.body);
        assert!(!delivery.redelivered);
        assert_eq!(queue, delivery.key);
        channel.basic_ack(BasicAckArguments::new(delivery.tag, false)).await.unwrap();
    }
    assert_eq!(0, message_count(&channel, &queue).await);
}

async fn requeues(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=5).await;
    let mut inbox = consume(&channel, &queue, "reader").await;
    let mut tags = Vec::new();
    for _ in 0..5 {
        tags.push(take(&mut inbox).await.tag);
    }
    channel.basic_cancel(BasicCancelArguments::new("reader")).await.unwrap();
    channel.basic_ack(BasicAckArguments::new(tags[1], false)).await.unwrap();
    for number in [5, 1, 4, 3] {
        channel.basic_nack(BasicNackArguments::new(tags[number - 1], false, true)).await.unwrap();
    }
    for expected in ["1", "3", "4", "5"] {
        let got = get(&channel, &queue, true).await.unwrap();
        assert_eq!(expected, got.body);
        assert!(got.redelivered);
    }
    assert!(get(&channel, &queue, true).await.is_none());
}

async fn rejects(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=3).await;
    let first = get(&channel, &queue, false).await.unwrap();
    channel.basic_reject(BasicRejectArguments::new(first.tag, false)).await.unwrap();
    get(&channel, &queue, false).await.unwrap();
    let last = get(&channel, &queue, false).await.unwrap();
    channel.basic_nack(BasicNackArguments::new(last.tag, true, false)).await.unwrap();
    assert!(get(&channel, &queue, true).await.is_none());
}

async fn gets(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=2).await;
    let first = get(&channel, &queue, false).await.unwrap();
    assert_eq!("1", first.body);
    assert_eq!(Some(1), first.remaining);
    channel.basic_ack(BasicAckArguments::new(first.tag, false)).await.unwrap();
    assert_eq!(["2"], drain(&channel, &queue).await[..]);
}

async fn prefetches(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=4).await;
    channel.basic_qos(BasicQosArguments::new(0, 2, false)).await.unwrap();
    let mut inbox = consume(&channel, &queue, "").await;
    assert_eq!("1", take(&mut inbox).await.body);
    let second = take(&mut inbox).await;
    assert!(timeout(QUIET, inbox.recv()).await.is_err(), "a third message came");
    channel.basic_ack(BasicAckArguments::new(second.tag, true)).await.unwrap();
    assert_eq!("3", take(&mut inbox).await.body);
    assert_eq!("4", take(&mut inbox).await.body);
}

async fn recovers(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=2).await;
    let mut inbox = consume(&channel, &queue, "").await;
    take(&mut inbox).await;
    take(&mut inbox).await;
    channel.basic_recover(true).await.unwrap();
    for expected in ["1", "2"] {
        let delivery = take(&mut inbox).await;
        assert_eq!(expected, delivery.body);
        assert!(delivery.redelivered);
    }
}

async fn counts_on_purge(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=3).await;
    assert_eq!(Some(3), channel.queue_purge(QueuePurgeArguments::new(&queue)).await.unwrap());
    publish_numbers(&channel, &queue, 4..=4).await;
    assert_eq!(Some(1), channel.queue_delete(QueueDeleteArguments::new(&queue)).await.unwrap());
}

// Publisher confirms and returns

async fn confirms(own: &Own) {
    let (channel, mut events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    channel.confirm_select(ConfirmSelectArguments::default()).await.unwrap();
    let persistent = BasicProperties::default().with_delivery_mode(2).finish();
    for _ in 0..500 {
        publish_with(&channel, "", &queue, b"x".to_vec(), persistent.clone()).await;
    }
    let mut open: Vec<u64> = (1..=500).collect();
    while !open.is_empty() {
        match next(&mut events).await {
            Event::Acked { tag, multiple: true } => open.retain(|&published| published > tag),
            Event::Acked { tag, multiple: false } => open.retain(|&published| published != tag),
            other => panic!("expected an ack, got {other:?}"),
        }
    }
    assert_eq!(500, message_count(&channel, &queue).await);
}

async fn returns(own: &Own) {
    let (channel, mut events) = own.channel().await;
    channel.confirm_select(ConfirmSelectArguments::default()).await.unwrap();
    let key = own.names.unused("nowhere");
    let arguments = BasicPublishArguments::new("amq.direct", &key).mandatory(true).finish();
    channel.basic_publish(BasicProperties::default(), b"back".to_vec(), arguments).await.unwrap();
    let returned = Event::Returned { code: 312, text: "NO_ROUTE".into(), exchange: "amq.direct".into(), key, body: b"back".to_vec() };
    assert_eq!(returned, next(&mut events).await);
    assert_eq!(Event::Acked { tag: 1, multiple: false }, next(&mut events).await);
}

async fn nacks(own: &Own) {
    let (channel, mut events) = own.channel().await;
    let full = table([("x-max-length", FieldValue::I(1)), ("x-overflow", string("reject-publish"))]);
    let declare = QueueDeclareArguments::exclusive_server_named().arguments(full).finish();
    let (queue, ..) = channel.queue_declare(declare).await.unwrap().unwrap();
    own.names.server_named(&queue);
    channel.confirm_select(ConfirmSelectArguments::default()).await.unwrap();
    publish(&channel, "", &queue, "kept").await;
    assert_eq!(Event::Acked { tag: 1, multiple: false }, next(&mut events).await);
    publish(&channel, "", &queue, "refused").await;
    assert_eq!(Event::Nacked(2), next(&mut events).await);
    assert_eq!(["kept"], drain(&channel, &queue).await[..]);
}

// Routing

async fn fans_out(own: &Own) {
    let (channel, _events) = own.channel().await;
    let fanout = own.exchange(&channel, "fanout", "fanout", FieldTable::new()).await;
    let mut inboxes = Vec::new();
    for number in 0..3 {
        let queue = own.bound_queue(&channel, &fanout, "", FieldTable::new()).await;
        inboxes.push(consume(&channel, &queue, &number.to_string()).await);
    }
    publish(&channel, &fanout, "ignored", "for all").await;
    for inbox in &mut inboxes {
        let delivery = take(inbox).await;
        assert_eq!("for all", delivery.body);
        assert_eq!(fanout, delivery.exchange);
    }
    delete_exchange(&channel, &fanout).await;
}

async fn routes_topics(own: &Own) {
    let (channel, _events) = own.channel().await;
    let topic = own.exchange(&channel, "topic", "topic", FieldTable::new()).await;
    let errors = own.bound_queue(&channel, &topic, "*.error", FieldTable::new()).await;
    let orders = own.bound_queue(&channel, &topic, "orders.#", FieldTable::new()).await;
    let all = own.bound_queue(&channel, &topic, "#", FieldTable::new()).await;
    channel.queue_bind(QueueBindArguments::new(&all, &topic, "orders.*")).await.unwrap();
    let keys = ["orders.error", "orders.eu.paid", "orders", "stock.error", ""];
    for key in keys {
        publish(&channel, &topic, key, key).await;
    }
    assert_eq!(["orders.error", "stock.error"], drain(&channel, &errors).await[..]);
    assert_eq!(keys[..3], drain(&channel, &orders).await[..]);
    assert_eq!(keys, drain(&channel, &all).await[..]);
    channel.queue_unbind(QueueUnbindArguments::new(&errors, &topic, "*.error")).await.unwrap();
    publish(&channel, &topic, "late.error", "late.error").await;
    assert!(drain(&channel, &errors).await.is_empty());
    delete_exchange(&channel, &topic).await;
}

async fn routes_headers(own: &Own) {
    let (channel, _events) = own.channel().await;
    let exchange = own.exchange(&channel, "headers", "headers", FieldTable::new()).await;
    let conditions = |x_match| table([("x-match", string(x_match)), ("kind", string("a")), ("size", FieldValue::I(1))]);
    let both = own.bound_queue(&channel, &exchange, "", conditions("all")).await;
    let either = own.bound_queue(&channel, &exchange, "", conditions("any")).await;
    for (body, kind, size) in [("both", "a", 1), ("one", "a", 2), ("none", "b", 2)] {
        let headers = table([("kind", string(kind)), ("size", FieldValue::I(size))]);
        let properties = BasicProperties::default().with_headers(headers).finish();
        publish_with(&channel, &exchange, "", body.into(), properties).await;
    }
    assert_eq!(["both"], drain(&channel, &both).await[..]);
    assert_eq!(["both", "one"], drain(&channel, &either).await[..]);
    delete_exchange(&channel, &exchange).await;
}

async fn routes_onward(own: &Own) {
    let (channel, _events) = own.channel().await;
    let spare = own.exchange(&channel, "spare", "fanout", FieldTable::new()).await;
    let alternate = table([("alternate-exchange", string(&spare))]);
    let first = own.exchange(&channel, "first", "direct", alternate).await;
    let second = own.exchange(&channel, "second", "topic", FieldTable::new()).await;
    channel.exchange_bind(ExchangeBindArguments::new(&second, &first, "go")).await.unwrap();
    let reached = own.bound_queue(&channel, &second, "go", FieldTable::new()).await;
    let stray = own.bound_queue(&channel, &spare, "", FieldTable::new()).await;
    publish(&channel, &first, "go", "onward").await;
    publish(&channel, &first, "elsewhere", "stray").await;
    assert_eq!(["onward"], drain(&channel, &reached).await[..]);
    assert_eq!(["stray"], drain(&channel, &stray).await[..]);
    channel.exchange_unbind(ExchangeUnbindArguments::new(&second, &first, "go")).await.unwrap();
    publish(&channel, &first, "go", "unbound").await;
    assert_eq!(["unbound"], drain(&channel, &stray).await[..]);
    for exchange in [first, second, spare] {
        delete_exchange(&channel, &exchange).await;
    }
}

// Patterns of work

async fn balances(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let ((busy, _), (quick, _)) = (own.channel().await, own.channel().await);
    busy.basic_qos(BasicQosArguments::new(0, 1, false)).await.unwrap();
    quick.basic_qos(BasicQosArguments::new(0, 1, false)).await.unwrap();
    let mut kept = consume(&busy, &queue, "").await;
    let mut done = consume(&quick, &queue, "").await;
    publish_numbers(&channel, &queue, 0..=9).await;
    assert_eq!("0", take(&mut kept).await.body);
    for number in 1..=9 {
        let delivery = take(&mut done).await;
        assert_eq!(number.to_string(), delivery.body);
        quick.basic_ack(BasicAckArguments::new(delivery.tag, false)).await.unwrap();
    }
    assert!(timeout(QUIET, kept.recv()).await.is_err(), "the busy consumer got a second message");
}

async fn calls_over_own_queue(own: &Own) {
    let (channel, _events) = own.channel().await;
    let requests = serve_upper_case(own).await;
    let replies = own.exclusive_queue(&channel).await;
    assert!(replies.starts_with("amq.gen-"), "{replies}");
    let mut inbox = consume(&channel, &replies, "").await;
    call(&channel, &requests, &replies, "call-7").await;
    let reply = take(&mut inbox).await;
    assert_eq!("HARE", reply.body);
    assert_eq!("call-7", reply.properties.correlation_id().unwrap());
}

async fn calls_over_direct_reply_to(own: &Own) {
    const REPLY_TO: &str = "amq.rabbitmq.reply-to";
    let (channel, _events) = own.channel().await;
    let requests = serve_upper_case(own).await;
    let arguments = BasicConsumeArguments::new(REPLY_TO, "").auto_ack(true).finish();
    let (_, mut inbox) = channel.basic_consume_rx(arguments).await.unwrap();
    for id in ["call-1", "call-2"] {
        call(&channel, &requests, REPLY_TO, id).await;
        let reply = take(&mut inbox).await;
        assert_eq!("HARE", reply.body);
        assert_eq!(id, reply.properties.correlation_id().unwrap());
    }
}

async fn call(channel: &Channel, requests: &str, reply_to: &str, id: &str) {
    let properties = BasicProperties::default().with_reply_to(reply_to).with_correlation_id(id).finish();
    publish_with(channel, "", requests, b"hare".to_vec(), properties).await;
}

async fn serve_upper_case(own: &Own) -> String {
    let (channel, _) = own.channel().await;
    let requests = own.exclusive_queue(&channel).await;
    let mut inbox = consume(&channel, &requests, "").await;
    tokio::spawn(async move {
        while let Some(message) = inbox.recv().await {
            let request = Message::from(message);
            let id = request.properties.correlation_id().unwrap();
            let properties = BasicProperties::default().with_correlation_id(id).finish();
            let reply_to = request.properties.reply_to().unwrap();
            publish_with(&channel, "", reply_to, request.body.to_uppercase().into(), properties).await;
            channel.basic_ack(BasicAckArguments::new(request.tag, false)).await.unwrap();
        }
    });
    requests
}

// Connection loss

async fn survives_loss(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.shared_queue(&channel, "loss").await;
    publish_numbers(&channel, &queue, 1..=3).await;
    let relay = Relay::start().unwrap();
    let lost = connect(OpenConnectionArguments::new("127.0.0.1", relay.port, "guest", "guest").heartbeat(0)).await;
    let lost_channel = lost.open_channel(None).await.unwrap();
    let mut inbox = consume(&lost_channel, &queue, "").await;
    let first = take(&mut inbox).await;
    lost_channel.basic_ack(BasicAckArguments::new(first.tag, false)).await.unwrap();
    take(&mut inbox).await;
    take(&mut inbox).await;
    message_count(&lost_channel, &queue).await; // its answer proves that the ack before it arrived
    relay.cut();
    assert!(timeout(WAIT, lost.listen_network_io_failure()).await.expect("the loss went unnoticed"));

    let mut again = consume(&channel, &queue, "").await;
    for expected in ["2", "3"] {
        let delivery = take(&mut again).await;
        assert_eq!(expected, delivery.body);
        assert!(delivery.redelivered);
    }
    channel.queue_delete(QueueDeleteArguments::new(&queue)).await.unwrap();
}

// Errors

async fn refuses_missing_queue(own: &Own) {
    let missing = own.names.unused("missing");
    let expected = format!("NOT_FOUND - no queue '{missing}' in vhost '/'");
    let (channel, mut events) = own.channel().await;
    let found = channel.queue_declare(QueueDeclareArguments::new(&missing).passive(true).finish()).await;
    refused(404, &expected, found, &mut events).await;
    assert!(!channel.is_open());
    let (channel, mut events) = own.channel().await;
    let consumed = channel.basic_consume_rx(BasicConsumeArguments::new(&missing, "")).await;
    refused(404, &expected, consumed.map(|_| ()), &mut events).await;
    own.exclusive_queue(&own.channel().await.0).await;
}

async fn refuses_missing_exchange(own: &Own) {
    let missing = own.names.unused("missing");
    let (channel, mut events) = own.channel().await;
    publish(&channel, &missing, "", "lost").await;
    let expected = format!("NOT_FOUND - no exchange '{missing}' in vhost '/'");
    assert_eq!(Event::Closed(404, expected), next(&mut events).await);
}

async fn refuses_inequivalent(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.shared_queue(&channel, "plain").await;
    let place = format!("for queue '{queue}' in vhost '/'");
    let (other, mut events) = own.channel().await;
    let declared = other.queue_declare(QueueDeclareArguments::new(&queue)).await;
    let expected = format!("PRECONDITION_FAILED - inequivalent arg 'durable' {place}: received 'false' but current is 'true'");
    refused(406, &expected, declared, &mut events).await;
    let (other, mut events) = own.channel().await;
    let arguments = table([("x-max-length", FieldValue::I(9))]);
    let declare = QueueDeclareArguments::durable_client_named(&queue).arguments(arguments).finish();
    let expected = format!(
        "PRECONDITION_FAILED - inequivalent arg 'x-max-length' {place}: \
         received the value '9' of type 'signedint' but current is none"
    );
    refused(406, &expected, other.queue_declare(declare).await, &mut events).await;
    channel.queue_delete(QueueDeleteArguments::new(&queue)).await.unwrap();
}

async fn refuses_unknown_tag(own: &Own) {
    let (channel, mut events) = own.channel().await;
    channel.basic_ack(BasicAckArguments::new(99, false)).await.unwrap();
    let expected = "PRECONDITION_FAILED - unknown delivery tag 99";
    assert_eq!(Event::Closed(406, expected.into()), next(&mut events).await);
}

async fn refuses_delete_in_use(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let _inbox = consume(&channel, &queue, "").await;
    let (other, mut events) = own.channel().await;
    let deleted = other.queue_delete(QueueDeleteArguments::new(&queue).if_unused(true).finish()).await;
    let expected = format!("PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use");
    refused(406, &expected, deleted, &mut events).await;
}

async fn refuses_foreign_exclusive(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let other = Own::new(own.names.clone(), &arguments()).await;
    let (foreign, mut events) = other.channel().await;
    let consumed = foreign.basic_consume_rx(BasicConsumeArguments::new(&queue, "")).await;
    let expected = format!(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It could be \
         originally declared on another connection or the exclusive property value does not match that of the \
         original declaration."
    );
    refused(405, &expected, consumed.map(|_| ()), &mut events).await;
    other.close().await;
}

async fn refuses_reserved_name(own: &Own) {
    let (channel, mut events) = own.channel().await;
    let declared = channel.queue_declare(QueueDeclareArguments::new("amq.mine").exclusive(true).finish()).await;
    let expected = "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'";
    refused(403, expected, declared, &mut events).await;
    let (channel, mut events) = own.channel().await;
    let declared = channel.exchange_declare(ExchangeDeclareArguments::new("amq.mine", "direct")).await;
    let expected = "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'";
    refused(403, expected, declared, &mut events).await;
}

async fn refuses_second_exclusive(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let exclusive = BasicConsumeArguments::new(&queue, "").exclusive(true).finish();
    let _first = channel.basic_consume_rx(exclusive).await.unwrap();
    let (other, mut events) = own.channel().await;
    let second = other.basic_consume_rx(BasicConsumeArguments::new(&queue, "")).await;
    let expected = format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use");
    refused(403, &expected, second.map(|_| ()), &mut events).await;
}

async fn refuses_immediate(_: &Own) {
    let connection = connect(&arguments()).await;
    let (sender, mut events) = unbounded_channel();
    connection.register_callback(Recorder(sender)).await.unwrap();
    let channel = connection.open_channel(None).await.unwrap();
    let arguments = BasicPublishArguments::new("", "anywhere").immediate(true).finish();
    channel.basic_publish(BasicProperties::default(), b"now".to_vec(), arguments).await.unwrap();
    let expected = "NOT_IMPLEMENTED - immediate=true";
    assert_eq!(Event::Closed(540, expected.into()), next(&mut events).await);
}

async fn logs_in_with_amqplain(_: &Own) {
    let credentials = SecurityCredentials::new_amqplain("guest", "guest");
    let connection = connect(arguments().credentials(credentials)).await;
    connection.open_channel(None).await.unwrap().close().await.unwrap();
    connection.close().await.unwrap();
}

async fn refuses_password(_: &Own) {
    let wrong = OpenConnectionArguments::new(&host(), port(), "guest", "wrong");
    let opened = timeout(WAIT, Connection::open(&wrong)).await.expect("no end of the handshake");
    match opened.err().expect("the wrong password was accepted") {
        // amqprs does not announce authentication_failure_close, so a broker need not say why.
        Error::NetworkError(_) => {}
        Error::ConnectionOpenError(reason) => assert!(reason.contains("ACCESS_REFUSED"), "{reason}"),
        other => panic!("{other}"),
    }
}

async fn refuses_vhost(_: &Own) {
    let opened = Connection::open(arguments().virtual_host("nowhere")).await;
    let Err(Error::ConnectionOpenError(reason)) = opened else { panic!("{:?}", opened.err()) };
    assert!(reason.contains("NOT_ALLOWED - vhost nowhere not found"), "{reason}");
}

// Content

async fn carries_everything(own: &Own) {
    let list = vec![FieldValue::I(1), string("two"), FieldValue::d(3.5)];
    let inner = table([("deep", FieldValue::I(1))]);
    let headers = table([
        ("text", string("ünïcode")),
        ("bool", FieldValue::t(true)),
        ("i8", FieldValue::b(-8)),
        ("u8", FieldValue::B(200)),
        ("i16", FieldValue::s(-16000)),
        ("u16", FieldValue::u(60000)),
        ("i32", FieldValue::I(-32)),
        ("u32", FieldValue::i(4_000_000_000)),
        ("i64", FieldValue::l(i64::MIN)),
        ("f32", FieldValue::f(1.5)),
        ("f64", FieldValue::d(std::f64::consts::PI)),
        ("decimal", FieldValue::D(DecimalValue::new(2, 12345))),
        ("time", FieldValue::T(1_700_000_000)),
        ("nothing", FieldValue::V),
        ("bytes", FieldValue::x(ByteArray::try_from(vec![0, 1, 206, 255]).unwrap())),
        ("list", FieldValue::A(FieldArray::try_from(list).unwrap())),
        ("table", FieldValue::F(table([("inner", FieldValue::F(inner))]))),
    ]);
    let properties = BasicProperties::default()
        .with_content_type("application/octet-stream")
        .with_content_encoding("identity")
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_priority(5)
        .with_correlation_id("correlation")
        .with_reply_to("reply")
        .with_expiration("60000")
        .with_message_id("message")
        .with_timestamp(1_600_000_000)
        .with_message_type("type")
        .with_user_id("guest")
        .with_app_id("app")
        .with_cluster_id("cluster")
        .finish();
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let body = mebibyte();
    publish_with(&channel, "", &queue, body.clone(), properties.clone()).await;
    let mut inbox = consume(&channel, &queue, "").await;
    let message = timeout(WAIT, inbox.recv()).await.expect("no delivery came").unwrap();
    assert!(Some(body) == message.content, "the body changed");
    let received = message.basic_properties.unwrap();
    assert_eq!(properties.headers(), received.headers());
    assert_eq!(properties.content_type(), received.content_type());
    assert_eq!(properties.content_encoding(), received.content_encoding());
    assert_eq!(properties.delivery_mode(), received.delivery_mode());
    assert_eq!(properties.priority(), received.priority());
    assert_eq!(properties.correlation_id(), received.correlation_id());
    assert_eq!(properties.reply_to(), received.reply_to());
    assert_eq!(properties.expiration(), received.expiration());
    assert_eq!(properties.message_id(), received.message_id());
    assert_eq!(properties.timestamp(), received.timestamp());
    assert_eq!(properties.message_type(), received.message_type());
    assert_eq!(properties.user_id(), received.user_id());
    assert_eq!(properties.app_id(), received.app_id());
    assert_eq!(properties.cluster_id(), received.cluster_id());
}

async fn carries_nothing(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish(&channel, "", &queue, "").await;
    let mut inbox = consume(&channel, &queue, "").await;
    assert_eq!("", take(&mut inbox).await.body);
}

// The rest

async fn keeps_idle_open(_: &Own) {
    let connection = connect(arguments().heartbeat(1)).await;
    assert_eq!(1, connection.heartbeat());
    tokio::time::sleep(IDLE).await;
    assert!(connection.is_open());
    connection.open_channel(None).await.unwrap().close().await.unwrap();
    connection.close().await.unwrap();
}

async fn transacts(own: &Own) {
    let ((channel, _), (observer, _)) = (own.channel().await, own.channel().await);
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
    let (channel, mut events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let _inbox = consume(&channel, &queue, "reader").await;
    let (other, _) = own.channel().await;
    other.queue_delete(QueueDeleteArguments::new(&queue)).await.unwrap();
    assert_eq!(Event::Cancelled("reader".into()), next(&mut events).await);
    assert!(channel.is_open());
    own.exclusive_queue(&channel).await;
}

async fn answers_the_rest(own: &Own) {
    let (channel, _events) = own.channel().await;
    assert!(channel.flow(true).await.unwrap());
    own.connection.update_secret("guest", "renewed").await.unwrap();
}

async fn leaves_nothing(own: &Own) {
    for queue in own.names.queues() {
        let (channel, mut events) = own.channel().await;
        let found = channel.queue_declare(QueueDeclareArguments::new(&queue).passive(true).finish()).await;
        refused(404, &format!("NOT_FOUND - no queue '{queue}' in vhost '/'"), found, &mut events).await;
    }
    for exchange in own.names.exchanges() {
        let (channel, mut events) = own.channel().await;
        let declare = ExchangeDeclareArguments::new(&exchange, "").passive(true).finish();
        let found = channel.exchange_declare(declare).await;
        refused(404, &format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'"), found, &mut events).await;
    }
}

// Small words the checks are written in

fn arguments() -> OpenConnectionArguments {
    OpenConnectionArguments::new(&host(), port(), "guest", "guest")
}

async fn connect(arguments: &OpenConnectionArguments) -> Connection {
    Connection::open(arguments).await.unwrap()
}

impl Own {
    async fn new(names: Arc<Names>, arguments: &OpenConnectionArguments) -> Self {
        Self { connection: connect(arguments).await, names, channels: Mutex::default() }
    }

    async fn close(self) {
        for channel in self.channels.into_inner().unwrap() {
            channel.close().await.unwrap();
        }
        self.connection.close().await.unwrap();
    }

    async fn channel(&self) -> (Channel, Events) {
        let channel = self.connection.open_channel(None).await.unwrap();
        let (sender, events) = unbounded_channel();
        channel.register_callback(Recorder(sender)).await.unwrap();
        self.channels.lock().unwrap().push(channel.clone());
        (channel, events)
    }

    async fn exclusive_queue(&self, channel: &Channel) -> String {
        let declared = channel.queue_declare(QueueDeclareArguments::exclusive_server_named()).await;
        let (queue, ..) = declared.unwrap().unwrap();
        self.names.server_named(&queue);
        queue
    }

    async fn shared_queue(&self, channel: &Channel, suffix: &str) -> String {
        let queue = self.names.queue(suffix);
        channel.queue_declare(QueueDeclareArguments::durable_client_named(&queue)).await.unwrap();
        queue
    }

    async fn exchange(&self, channel: &Channel, suffix: &str, kind: &str, arguments: FieldTable) -> String {
        let exchange = self.names.exchange(suffix);
        let declare = ExchangeDeclareArguments::new(&exchange, kind).arguments(arguments).finish();
        channel.exchange_declare(declare).await.unwrap();
        exchange
    }

    async fn bound_queue(&self, channel: &Channel, exchange: &str, key: &str, arguments: FieldTable) -> String {
        let queue = self.exclusive_queue(channel).await;
        let bind = QueueBindArguments::new(&queue, exchange, key).arguments(arguments).finish();
        channel.queue_bind(bind).await.unwrap();
        queue
    }
}

async fn publish_with(channel: &Channel, exchange: &str, key: &str, body: Vec<u8>, properties: BasicProperties) {
    let arguments = BasicPublishArguments::new(exchange, key);
    channel.basic_publish(properties, body, arguments).await.unwrap();
}

async fn publish(channel: &Channel, exchange: &str, key: &str, body: &str) {
    publish_with(channel, exchange, key, body.into(), BasicProperties::default()).await;
}

async fn publish_numbers(channel: &Channel, queue: &str, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        publish(channel, "", queue, &number.to_string()).await;
    }
}

/// A delivered or fetched message.
struct Message {
    body: String,
    tag: u64,
    redelivered: bool,
    exchange: String,
    key: String,
    properties: BasicProperties,
    /// How many are left, which only basic.get tells.
    remaining: Option<u32>,
}

impl From<ConsumerMessage> for Message {
    fn from(message: ConsumerMessage) -> Self {
        let deliver = message.deliver.unwrap();
        Self {
            body: String::from_utf8(message.content.unwrap()).unwrap(),
            tag: deliver.delivery_tag(),
            redelivered: deliver.redelivered(),
            exchange: deliver.exchange().clone(),
            key: deliver.routing_key().clone(),
            properties: message.basic_properties.unwrap(),
            remaining: None,
        }
    }
}

async fn consume(channel: &Channel, queue: &str, tag: &str) -> Inbox {
    let arguments = BasicConsumeArguments::new(queue, tag).manual_ack(true).finish();
    channel.basic_consume_rx(arguments).await.unwrap().1
}

async fn take(inbox: &mut Inbox) -> Message {
    let next = timeout(WAIT, inbox.recv()).await.expect("no delivery came");
    next.expect("the consumer ended").into()
}

async fn get(channel: &Channel, queue: &str, no_ack: bool) -> Option<Message> {
    let arguments = BasicGetArguments::new(queue).no_ack(no_ack).finish();
    let (get_ok, properties, body) = channel.basic_get(arguments).await.unwrap()?;
    Some(Message {
        body: String::from_utf8(body).unwrap(),
        tag: get_ok.delivery_tag(),
        redelivered: get_ok.redelivered(),
        exchange: get_ok.exchange().clone(),
        key: get_ok.routing_key().clone(),
        properties,
        remaining: Some(get_ok.message_count()),
    })
}

async fn drain(channel: &Channel, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(message) = get(channel, queue, true).await {
        bodies.push(message.body);
    }
    bodies
}

async fn message_count(channel: &Channel, queue: &str) -> u32 {
    let declare = QueueDeclareArguments::new(queue).passive(true).finish();
    channel.queue_declare(declare).await.unwrap().unwrap().1
}

async fn delete_exchange(channel: &Channel, exchange: &str) {
    channel.exchange_delete(ExchangeDeleteArguments::new(exchange)).await.unwrap();
}

async fn next(events: &mut Events) -> Event {
    let next = timeout(WAIT, events.recv()).await.expect("the broker sent nothing");
    next.expect("the channel has ended")
}

async fn refused<T: Debug>(code: u16, text: &str, result: Result<T, Error>, events: &mut Events) {
    result.expect_err(text);
    assert_eq!(Event::Closed(code, text.into()), next(events).await);
}

fn table<const N: usize>(entries: [(&str, FieldValue); N]) -> FieldTable {
    let mut table = FieldTable::new();
    for (key, value) in entries {
        table.insert(key.try_into().unwrap(), value);
    }
    table
}

fn string(text: &str) -> FieldValue {
    FieldValue::S(text.try_into().unwrap())
}
