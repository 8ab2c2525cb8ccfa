//! Delivery and settlement, publisher confirms and returns.

use super::*;

pub async fn consumes_in_order(own: &Own) {
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

pub async fn requeues(own: &Own) {
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

pub async fn rejects(own: &Own) {
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

pub async fn gets(own: &Own) {
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

pub async fn prefetches(own: &Own) {
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

pub async fn recovers(own: &Own) {
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

pub async fn counts_on_purge(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=3).await;
    let purged = channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await;
    assert_eq!(3, purged.unwrap());
    publish_numbers(&channel, &queue, 4..=4).await;
    assert_eq!(1, delete_queue(&channel, &queue).await.unwrap());
}

pub async fn confirms(own: &Own) {
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

pub async fn returns(own: &Own) {
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

pub async fn nacks(own: &Own) {
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
