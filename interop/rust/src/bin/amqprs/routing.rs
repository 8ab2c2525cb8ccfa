//! Exchanges and the patterns of work over them.

use super::*;

pub async fn fans_out(own: &Own) {
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

pub async fn routes_topics(own: &Own) {
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

pub async fn routes_headers(own: &Own) {
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

pub async fn routes_onward(own: &Own) {
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

pub async fn balances(own: &Own) {
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

pub async fn calls_over_own_queue(own: &Own) {
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

pub async fn calls_over_direct_reply_to(own: &Own) {
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

pub async fn call(channel: &Channel, requests: &str, reply_to: &str, id: &str) {
    let properties = BasicProperties::default().with_reply_to(reply_to).with_correlation_id(id).finish();
    publish_with(channel, "", requests, b"hare".to_vec(), properties).await;
}

pub async fn serve_upper_case(own: &Own) -> String {
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
