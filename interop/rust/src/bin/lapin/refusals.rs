//! Errors, by their codes and texts.

use super::*;

pub async fn refuses_missing_queue(own: &Own) {
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

pub async fn refuses_missing_exchange(own: &Own) {
    let missing = own.names.unused("missing");
    let channel = own.channel().await;
    // Nothing answers a publish, but a consumer hears why its channel was closed.
    let mut inbox = consume(&channel, &own.exclusive_queue(&channel).await).await;
    publish(&channel, &missing, "", "lost", BasicProperties::default()).await;
    let next = timeout(WAIT, inbox.next()).await.expect("no close came").unwrap();
    refused(404, &format!("NOT_FOUND - no exchange '{missing}' in vhost '/'"), next);
}

pub async fn refuses_inequivalent(own: &Own) {
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

pub async fn refuses_unknown_tag(own: &Own) {
    let channel = own.channel().await;
    let mut inbox = consume(&channel, &own.exclusive_queue(&channel).await).await;
    channel.basic_ack(99, BasicAckOptions::default()).await.unwrap();
    let next = timeout(WAIT, inbox.next()).await.expect("no close came").unwrap();
    refused(406, "PRECONDITION_FAILED - unknown delivery tag 99", next);
}

pub async fn refuses_delete_in_use(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let _inbox = consume(&channel, &queue).await;
    let options = QueueDeleteOptions { if_unused: true, ..Default::default() };
    let deleted = own.channel().await.queue_delete(queue.as_str().into(), options).await;
    refused(406, &format!("PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use"), deleted);
}

pub async fn refuses_foreign_exclusive(own: &Own) {
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

pub async fn refuses_reserved_name(own: &Own) {
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let declared = own.channel().await.queue_declare("amq.mine".into(), options, FieldTable::default()).await;
    refused(403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'", declared);
    let declared =
        own.channel().await.exchange_declare("amq.mine".into(), ExchangeKind::Direct, Default::default(), FieldTable::default()).await;
    refused(403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'", declared);
}

pub async fn refuses_second_exclusive(own: &Own) {
    let channel = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let options = BasicConsumeOptions { exclusive: true, ..Default::default() };
    let _first = consume_with(&channel, &queue, options).await.unwrap();
    let second = consume_with(&own.channel().await, &queue, Default::default()).await;
    refused(403, &format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"), second);
}

pub async fn refuses_immediate(own: &Own) {
    let connection = connect(&uri("")).await;
    let channel = connection.create_channel().await.unwrap();
    let mut inbox = consume(&channel, &own.exclusive_queue(&channel).await).await;
    let options = BasicPublishOptions { immediate: true, ..Default::default() };
    channel.basic_publish("".into(), "anywhere".into(), options, b"now", Default::default()).await.unwrap();
    let next = timeout(WAIT, inbox.next()).await.expect("no close came").unwrap();
    refused(540, "NOT_IMPLEMENTED - immediate=true", next);
    assert!(!connection.status().connected());
}

pub async fn refuses_password(_: &Own) {
    let uri = format!("amqp://guest:wrong@{}:{}/%2f", host(), port());
    let connected = Connection::connect(&uri, ConnectionProperties::default()).await;
    let expected = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
                    For details see the broker logfile.";
    refused(403, expected, connected.map(|_| ()));
}

pub async fn refuses_vhost(_: &Own) {
    let uri = format!("amqp://guest:guest@{}:{}/nowhere", host(), port());
    let connected = Connection::connect(&uri, ConnectionProperties::default()).await;
    refused(530, "NOT_ALLOWED - vhost nowhere not found", connected.map(|_| ()));
}
