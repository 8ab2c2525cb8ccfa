//! Exchanges and the patterns of work over them.

use super::*;

pub async fn fans_out(own: &Own) {
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

pub async fn routes_topics(own: &Own) {
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

pub async fn routes_headers(own: &Own) {
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

pub async fn routes_onward(own: &Own) {
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

pub async fn balances(own: &Own) {
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

pub async fn calls_over_own_queue(own: &Own) {
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

pub async fn calls_over_direct_reply_to(own: &Own) {
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

pub async fn call(channel: &Channel, requests: &str, reply_to: &str, id: &str) {
    let properties = BasicProperties::default().with_reply_to(reply_to.into()).with_correlation_id(id.into());
    publish(channel, "", requests, "hare", properties).await;
}

pub async fn serve_upper_case(own: &Own) -> String {
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
