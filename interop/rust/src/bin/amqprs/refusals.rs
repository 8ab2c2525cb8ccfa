//! Errors, by their codes and texts.

use super::*;

pub async fn refuses_missing_queue(own: &Own) {
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

pub async fn refuses_missing_exchange(own: &Own) {
    let missing = own.names.unused("missing");
    let (channel, mut events) = own.channel().await;
    publish(&channel, &missing, "", "lost").await;
    let expected = format!("NOT_FOUND - no exchange '{missing}' in vhost '/'");
    assert_eq!(Event::Closed(404, expected), next(&mut events).await);
}

pub async fn refuses_inequivalent(own: &Own) {
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

pub async fn refuses_unknown_tag(own: &Own) {
    let (channel, mut events) = own.channel().await;
    channel.basic_ack(BasicAckArguments::new(99, false)).await.unwrap();
    let expected = "PRECONDITION_FAILED - unknown delivery tag 99";
    assert_eq!(Event::Closed(406, expected.into()), next(&mut events).await);
}

pub async fn refuses_delete_in_use(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let _inbox = consume(&channel, &queue, "").await;
    let (other, mut events) = own.channel().await;
    let deleted = other.queue_delete(QueueDeleteArguments::new(&queue).if_unused(true).finish()).await;
    let expected = format!("PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use");
    refused(406, &expected, deleted, &mut events).await;
}

pub async fn refuses_foreign_exclusive(own: &Own) {
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

pub async fn refuses_reserved_name(own: &Own) {
    let (channel, mut events) = own.channel().await;
    let declared = channel.queue_declare(QueueDeclareArguments::new("amq.mine").exclusive(true).finish()).await;
    let expected = "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'";
    refused(403, expected, declared, &mut events).await;
    let (channel, mut events) = own.channel().await;
    let declared = channel.exchange_declare(ExchangeDeclareArguments::new("amq.mine", "direct")).await;
    let expected = "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'";
    refused(403, expected, declared, &mut events).await;
}

pub async fn refuses_second_exclusive(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.exclusive_queue(&channel).await;
    let exclusive = BasicConsumeArguments::new(&queue, "").exclusive(true).finish();
    let _first = channel.basic_consume_rx(exclusive).await.unwrap();
    let (other, mut events) = own.channel().await;
    let second = other.basic_consume_rx(BasicConsumeArguments::new(&queue, "")).await;
    let expected = format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use");
    refused(403, &expected, second.map(|_| ()), &mut events).await;
}

pub async fn refuses_immediate(_: &Own) {
    let connection = connect(&arguments()).await;
    let (sender, mut events) = unbounded_channel();
    connection.register_callback(Recorder(sender)).await.unwrap();
    let channel = connection.open_channel(None).await.unwrap();
    let arguments = BasicPublishArguments::new("", "anywhere").immediate(true).finish();
    channel.basic_publish(BasicProperties::default(), b"now".to_vec(), arguments).await.unwrap();
    let expected = "NOT_IMPLEMENTED - immediate=true";
    assert_eq!(Event::Closed(540, expected.into()), next(&mut events).await);
}

pub async fn logs_in_with_amqplain(_: &Own) {
    let credentials = SecurityCredentials::new_amqplain("guest", "guest");
    let connection = connect(arguments().credentials(credentials)).await;
    connection.open_channel(None).await.unwrap().close().await.unwrap();
    connection.close().await.unwrap();
}

pub async fn refuses_password(_: &Own) {
    let wrong = OpenConnectionArguments::new(&host(), port(), "guest", "wrong");
    let opened = timeout(WAIT, Connection::open(&wrong)).await.expect("no end of the handshake");
    match opened.err().expect("the wrong password was accepted") {
        // amqprs does not announce authentication_failure_close, so a broker need not say why.
        Error::NetworkError(_) => {}
        Error::ConnectionOpenError(reason) => assert!(reason.contains("ACCESS_REFUSED"), "{reason}"),
        other => panic!("{other}"),
    }
}

pub async fn refuses_vhost(_: &Own) {
    let opened = Connection::open(arguments().virtual_host("nowhere")).await;
    let Err(Error::ConnectionOpenError(reason)) = opened else { panic!("{:?}", opened.err()) };
    assert!(reason.contains("NOT_ALLOWED - vhost nowhere not found"), "{reason}");
}
