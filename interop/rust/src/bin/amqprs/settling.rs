//! Delivery and settlement, publisher confirms and returns.

use super::*;

pub async fn consumes_in_order(own: &Own) {
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

pub async fn requeues(own: &Own) {
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

pub async fn rejects(own: &Own) {
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

pub async fn gets(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=2).await;
    let first = get(&channel, &queue, false).await.unwrap();
    assert_eq!("1", first.body);
    assert_eq!(Some(1), first.remaining);
    channel.basic_ack(BasicAckArguments::new(first.tag, false)).await.unwrap();
    assert_eq!(["2"], drain(&channel, &queue).await[..]);
}

pub async fn prefetches(own: &Own) {
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

pub async fn recovers(own: &Own) {
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

pub async fn counts_on_purge(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    publish_numbers(&channel, &queue, 1..=3).await;
    assert_eq!(Some(3), channel.queue_purge(QueuePurgeArguments::new(&queue)).await.unwrap());
    publish_numbers(&channel, &queue, 4..=4).await;
    assert_eq!(Some(1), channel.queue_delete(QueueDeleteArguments::new(&queue)).await.unwrap());
}

pub async fn confirms(own: &Own) {
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

pub async fn returns(own: &Own) {
    let (channel, mut events) = own.channel().await;
    channel.confirm_select(ConfirmSelectArguments::default()).await.unwrap();
    let key = own.names.unused("nowhere");
    let arguments = BasicPublishArguments::new("amq.direct", &key).mandatory(true).finish();
    channel.basic_publish(BasicProperties::default(), b"back".to_vec(), arguments).await.unwrap();
    let returned = Event::Returned { code: 312, text: "NO_ROUTE".into(), exchange: "amq.direct".into(), key, body: b"back".to_vec() };
    assert_eq!(returned, next(&mut events).await);
    assert_eq!(Event::Acked { tag: 1, multiple: false }, next(&mut events).await);
}

pub async fn nacks(own: &Own) {
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
