//! What queues can do beyond keeping messages: time, dead letters, priorities, and the other types of queue.

use super::*;
use std::time::{Duration, Instant, SystemTime};

/// A second and a bit: a time of the protocol has whole seconds.
const NEXT_SECOND: Duration = Duration::from_millis(1100);

pub async fn expires_messages(own: &Own) {
    let channel = own.channel().await;
    let brief = queue_with(own, &channel, "brief", [("x-message-ttl", AMQPValue::LongInt(100))]).await;
    let (plain, live) = (own.exclusive_queue(&channel).await, own.exclusive_queue(&channel).await);
    publish(&channel, "", &live, "live", BasicProperties::default()).await;
    for (queue, expiration, body) in [(&live, "1", "dead"), (&brief, "60000", "long"), (&plain, "100", "short")] {
        publish(&channel, "", queue, body, BasicProperties::default().with_expiration(expiration.into())).await;
    }
    for queue in [&brief, &plain] {
        let deadline = Instant::now() + WAIT;
        while message_count(&channel, queue).await > 0 {
            assert!(Instant::now() < deadline, "{queue} keeps its message");
        }
    }
    // The one behind the live message was dead long before, and is still counted.
    assert_eq!(2, message_count(&channel, &live).await);
    assert_eq!(["live"], drain(&channel, &live).await[..]);
}

pub async fn expires_queues(own: &Own) {
    let channel = own.channel().await;
    let expires = || [("x-expires", AMQPValue::LongInt(400))];
    let idle = shared_queue_with(own, &channel, "idle", expires()).await;
    let used = shared_queue_with(own, &channel, "used", expires()).await;
    let inbox = consume(&channel, &used).await;
    let publisher = own.channel().await;
    publisher.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    wait_until_gone(&publisher, &idle).await;
    assert!(!is_gone(&publisher, &used).await);
    channel.basic_cancel(inbox.tag(), BasicCancelOptions::default()).await.unwrap();
    wait_until_gone(&publisher, &used).await;
}

/// A mandatory message is no use of the queue, a declaration is.
async fn is_gone(publisher: &Channel, queue: &str) -> bool {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let confirm = publisher.basic_publish("".into(), queue.into(), options, b"anyone there?", Default::default()).await.unwrap();
    timeout(WAIT, confirm).await.unwrap().unwrap().take_message().is_some()
}

async fn wait_until_gone(publisher: &Channel, queue: &str) {
    let deadline = Instant::now() + WAIT;
    while !is_gone(publisher, queue).await {
        assert!(Instant::now() < deadline, "{queue} stays");
    }
}

pub async fn dead_letters(own: &Own) {
    let channel = own.channel().await;
    let dead = own.exchange(&channel, "dead", ExchangeKind::Fanout, FieldTable::default()).await;
    let mut inbox = consume(&channel, &own.bound_queue(&channel, &dead, "", FieldTable::default()).await).await;
    let reasons = [
        ("rejected", vec![]),
        ("expired", vec![("x-message-ttl", AMQPValue::LongInt(10))]),
        ("maxlen", vec![("x-max-length", AMQPValue::LongInt(0))]),
    ];
    for (reason, mut arguments) in reasons {
        arguments.push(("x-dead-letter-exchange", string(&dead)));
        let source = queue_with(own, &channel, reason, arguments).await;
        let copied = AMQPValue::FieldArray(FieldArray::from(vec![string("copied")]));
        let headers = table([("mine", AMQPValue::LongInt(1)), ("CC", copied)]);
        let properties = BasicProperties::default().with_expiration("60000".into()).with_message_id(reason.into()).with_headers(headers);
        publish(&channel, "", &source, reason, properties).await;
        if reason == "rejected" {
            let delivery = get(&channel, &source, false).await.unwrap();
            delivery.reject(BasicRejectOptions { requeue: false }).await.unwrap();
        }
        let delivery = take(&mut inbox).await;
        assert_eq!((reason, dead.as_str()), (text(&delivery), delivery.exchange.as_str()));
        assert_eq!((source.as_str(), false), (delivery.routing_key.as_str(), delivery.redelivered));
        assert_eq!(None, *delivery.properties.expiration());
        assert_eq!(reason, delivery.properties.message_id().as_ref().unwrap().as_str());
        assert_eq!(Some(AMQPValue::LongInt(1)), header(&delivery, "mine"));
        for (name, expected) in [("reason", reason), ("queue", &source), ("exchange", "")] {
            assert_eq!(Some(string(expected)), header(&delivery, &format!("x-first-death-{name}")));
        }
        let deaths = deaths(&delivery);
        let mut death = deaths[0].inner().clone();
        let Some(AMQPValue::Timestamp(time)) = death.remove("time") else { panic!("no time") };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(time) < 60);
        let keys = FieldArray::from(vec![string(&source), string("copied")]);
        let expected = table([
            ("count", AMQPValue::LongLongInt(1)),
            ("reason", string(reason)),
            ("queue", string(&source)),
            ("exchange", string("")),
            ("routing-keys", AMQPValue::FieldArray(keys)),
            ("original-expiration", string("60000")),
        ]);
        assert_eq!((1, expected.inner()), (deaths.len(), &death));
    }
    delete_exchange(&channel, &dead).await;
}

pub async fn retries_later(own: &Own) {
    let channel = own.channel().await;
    let (work, parking) = (own.names.unused("work"), own.exclusive_queue(&channel).await);
    let mut arguments = dead_letters_to(&work).to_vec();
    arguments.push(("x-message-ttl", AMQPValue::LongInt(20)));
    let wait = queue_with(own, &channel, "wait", arguments).await;
    queue_with(own, &channel, "work", dead_letters_to(&wait)).await;
    let mut inbox = consume(&channel, &work).await;
    publish(&channel, "", &work, "job", BasicProperties::default()).await;
    for expected in [None, Some(1), Some(2)] {
        let job = take(&mut inbox).await;
        assert_eq!(expected, death_count(&job, &work, "rejected"));
        assert_eq!(expected, death_count(&job, &wait, "expired"));
        if expected == Some(2) {
            publish(&channel, "", &parking, text(&job), BasicProperties::default()).await;
            job.ack(BasicAckOptions::default()).await.unwrap();
        } else {
            job.reject(BasicRejectOptions { requeue: false }).await.unwrap();
        }
    }
    assert_eq!(["job"], drain(&channel, &parking).await[..]);
}

pub async fn orders_by_priority(own: &Own) {
    let channel = own.channel().await;
    let queue = queue_with(own, &channel, "priorities", [("x-max-priority", AMQPValue::LongInt(5))]).await;
    publish(&channel, "", &queue, "none", BasicProperties::default()).await;
    for priority in [2, 5, 200, 2, 0] {
        publish(&channel, "", &queue, &priority.to_string(), BasicProperties::default().with_priority(priority)).await;
    }
    let first = get(&channel, &queue, false).await.unwrap();
    first.reject(BasicRejectOptions { requeue: true }).await.unwrap();
    assert_eq!(["5", "200", "2", "2", "none", "0"], drain(&channel, &queue).await[..]);
}

pub async fn takes_over(own: &Own) {
    let (first, second) = (own.connection.create_channel().await.unwrap(), own.channel().await);
    let queue = shared_queue_with(own, &second, "single", [("x-single-active-consumer", AMQPValue::Boolean(true))]).await;
    let mut active = consume(&first, &queue).await;
    let mut waiting = consume(&second, &queue).await;
    publish_numbers(&second, &queue, 1..=2).await;
    take(&mut active).await.ack(BasicAckOptions::default()).await.unwrap();
    let _held = take(&mut active).await;
    assert!(timeout(QUIET, waiting.next()).await.is_err(), "the waiting one got a message");
    first.close(200, "done".into()).await.unwrap();
    let taken = take(&mut waiting).await;
    assert_eq!(("2", true), (text(&taken), taken.redelivered));
    let options = BasicConsumeOptions { exclusive: true, ..Default::default() };
    let exclusive = consume_with(&own.channel().await, &queue, options).await;
    refused(403, &format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"), exclusive);
    delete_queue(&second, &queue).await.unwrap();
}

pub async fn limits_deliveries(own: &Own) {
    let channel = own.channel().await;
    let dead = own.shared_queue(&channel, "limit-dead").await;
    let mut arguments = dead_letters_to(&dead).to_vec();
    arguments.extend([("x-queue-type", string("quorum")), ("x-delivery-limit", AMQPValue::LongInt(2))]);
    let queue = shared_queue_with(own, &channel, "limit", arguments).await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    publish_confirmed(&channel, &queue, 7..=7).await;
    let mut inbox = consume(&channel, &queue).await;
    for turn in 0..3 {
        let delivery = take(&mut inbox).await;
        // Some versions leave the 0 of the first delivery out.
        let count = header(&delivery, "x-delivery-count").unwrap_or(AMQPValue::LongLongInt(0));
        assert_eq!((AMQPValue::LongLongInt(turn), turn > 0), (count, delivery.redelivered));
        delivery.reject(BasicRejectOptions { requeue: true }).await.unwrap();
    }
    let buried = take(&mut consume(&channel, &dead).await).await;
    assert_eq!(Some(1), death_count(&buried, &queue, "delivery_limit"));
    assert!(timeout(QUIET, inbox.next()).await.is_err(), "it came a fourth time");
    for queue in [queue, dead] {
        delete_queue(&channel, &queue).await.unwrap();
    }
}

pub async fn reads_stream(own: &Own) {
    let channel = own.channel().await;
    let stream = shared_queue_with(own, &channel, "stream", [("x-queue-type", string("stream"))]).await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    publish_confirmed(&channel, &stream, 0..=2).await;
    tokio::time::sleep(NEXT_SECOND).await;
    let between = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    tokio::time::sleep(NEXT_SECOND).await;
    publish_confirmed(&channel, &stream, 3..=4).await;
    let starts =
        [(string("first"), 0), (string("last"), 4), (AMQPValue::LongLongInt(2), 2), (AMQPValue::Timestamp(between), 3), (string("1h"), 0)];
    for (start, first) in starts {
        let reader = own.channel().await;
        reader.basic_qos(1, BasicQosOptions::default()).await.unwrap();
        let (options, arguments) = (BasicConsumeOptions::default(), table([("x-stream-offset", start)]));
        let mut inbox = reader.basic_consume(stream.as_str().into(), "".into(), options, arguments).await.unwrap();
        for offset in first..5 {
            let delivery = take(&mut inbox).await;
            assert_eq!(offset.to_string(), text(&delivery));
            assert_eq!(Some(AMQPValue::LongLongInt(offset)), header(&delivery, "x-stream-offset"));
            delivery.ack(BasicAckOptions::default()).await.unwrap();
        }
        assert!(timeout(QUIET, inbox.next()).await.is_err(), "more than there is");
    }
    delete_queue(&channel, &stream).await.unwrap();
}

pub async fn refuses_arguments(own: &Own) {
    let queue = own.names.queue("refused");
    for (argument, value, reason) in [
        ("x-message-ttl", AMQPValue::LongInt(-1), "{value_negative,-1}"),
        ("x-message-ttl", string("100"), "\"expected integer, got longstr\""),
        ("x-expires", AMQPValue::LongInt(0), "{value_zero,0}"),
        ("x-max-priority", AMQPValue::LongInt(256), "{max_value_exceeded,256}"),
        ("x-dead-letter-routing-key", string("k"), "routing_key_but_no_dlx_defined"),
        ("x-queue-type", string("heap"), "\"unsupported queue type 'heap'\""),
    ] {
        let channel = own.channel().await;
        let declared = channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), table([(argument, value)])).await;
        let text = format!("PRECONDITION_FAILED - invalid arg '{argument}' for queue '{queue}' in vhost '/': {reason}");
        refused(406, &text, declared);
    }
}

// Small words the checks are written in

type Argument = (&'static str, AMQPValue);

async fn queue_with(own: &Own, channel: &Channel, suffix: &str, arguments: impl IntoIterator<Item = Argument>) -> String {
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    declare(own, channel, suffix, options, arguments).await
}

async fn shared_queue_with(own: &Own, channel: &Channel, suffix: &str, arguments: impl IntoIterator<Item = Argument>) -> String {
    declare(own, channel, suffix, QueueDeclareOptions::durable(), arguments).await
}

async fn declare(
    own: &Own,
    channel: &Channel,
    suffix: &str,
    options: QueueDeclareOptions,
    arguments: impl IntoIterator<Item = Argument>,
) -> String {
    let queue = own.names.queue(suffix);
    let mut with = FieldTable::default();
    for (name, value) in arguments {
        with.insert(name.into(), value);
    }
    channel.queue_declare(queue.as_str().into(), options, with).await.unwrap();
    queue
}

fn dead_letters_to(queue: &str) -> [Argument; 2] {
    [("x-dead-letter-exchange", string("")), ("x-dead-letter-routing-key", string(queue))]
}

/// One by one: some versions write what comes together as one piece, and deliver it whole.
async fn publish_confirmed(channel: &Channel, queue: &str, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        let (options, body) = (BasicPublishOptions::default(), number.to_string());
        let confirm = channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), Default::default()).await.unwrap();
        assert!(timeout(WAIT, confirm).await.unwrap().unwrap().is_ack());
    }
}

fn header(delivery: &Delivery, name: &str) -> Option<AMQPValue> {
    delivery.properties.headers().as_ref()?.inner().get(name).cloned()
}

fn deaths(delivery: &Delivery) -> Vec<FieldTable> {
    let Some(AMQPValue::FieldArray(deaths)) = header(delivery, "x-death") else { return Vec::new() };
    deaths.as_slice().iter().filter_map(|death| death.as_field_table().cloned()).collect()
}

/// How often the message died in that queue for that reason.
fn death_count(delivery: &Delivery, queue: &str, reason: &str) -> Option<i64> {
    let is = |death: &FieldTable, name: &str, value: &str| death.inner().get(name) == Some(&string(value));
    let deaths = deaths(delivery);
    let death = deaths.iter().find(|death| is(death, "queue", queue) && is(death, "reason", reason))?;
    death.inner().get("count")?.as_long_long_int()
}
