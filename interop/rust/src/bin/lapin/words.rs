//! Small words the checks are written in.

use super::*;

/// A check's own connection.
pub struct Own {
    pub connection: Connection,
    pub names: Arc<Names>,
    /// A dropped channel closes itself at some later time, which would race with
    /// the connection's close.
    pub channels: Mutex<Vec<Channel>>,
}

pub fn uri(query: &str) -> String {
    format!("amqp://guest:guest@{}:{}/%2f{query}", host(), port())
}

pub async fn connect(uri: &str) -> Connection {
    Connection::connect(uri, ConnectionProperties::default()).await.unwrap()
}

impl Own {
    pub async fn channel(&self) -> Channel {
        let channel = self.connection.create_channel().await.unwrap();
        self.channels.lock().unwrap().push(channel.clone());
        channel
    }

    pub async fn exclusive_queue(&self, channel: &Channel) -> String {
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap();
        self.names.server_named(queue.name().as_str());
        queue.name().to_string()
    }

    pub async fn shared_queue(&self, channel: &Channel, suffix: &str) -> String {
        let queue = self.names.queue(suffix);
        let options = QueueDeclareOptions::durable();
        channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await.unwrap();
        queue
    }

    pub async fn exchange(&self, channel: &Channel, suffix: &str, kind: ExchangeKind, arguments: FieldTable) -> String {
        let exchange = self.names.exchange(suffix);
        let options = ExchangeDeclareOptions::default();
        channel.exchange_declare(exchange.as_str().into(), kind, options, arguments).await.unwrap();
        exchange
    }

    pub async fn bound_queue(&self, channel: &Channel, exchange: &str, key: &str, arguments: FieldTable) -> String {
        let queue = self.exclusive_queue(channel).await;
        bind(channel, &queue, exchange, key, arguments).await;
        queue
    }
}

pub async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str, arguments: FieldTable) {
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.into(), exchange.into(), key.into(), options, arguments).await.unwrap();
}

pub async fn publish(channel: &Channel, exchange: &str, key: &str, body: &str, properties: BasicProperties) {
    let options = BasicPublishOptions::default();
    channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties).await.unwrap();
}

pub async fn publish_numbers(channel: &Channel, queue: &str, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        publish(channel, "", queue, &number.to_string(), BasicProperties::default()).await;
    }
}

pub async fn consume(channel: &Channel, queue: &str) -> Consumer {
    consume_with(channel, queue, BasicConsumeOptions::default()).await.unwrap()
}

pub async fn consume_with(channel: &Channel, queue: &str, options: BasicConsumeOptions) -> lapin::Result<Consumer> {
    channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await
}

pub async fn take(inbox: &mut Consumer) -> Delivery {
    let next = timeout(WAIT, inbox.next()).await.expect("no delivery came");
    next.expect("the consumer ended").unwrap()
}

pub async fn get(channel: &Channel, queue: &str, no_ack: bool) -> Option<Delivery> {
    let got = channel.basic_get(queue.into(), BasicGetOptions { no_ack }).await.unwrap();
    got.map(|message| message.delivery)
}

pub async fn drain(channel: &Channel, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(delivery) = get(channel, queue, true).await {
        bodies.push(text(&delivery).to_owned());
    }
    bodies
}

pub async fn message_count(channel: &Channel, queue: &str) -> u32 {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap().message_count()
}

pub async fn delete_queue(channel: &Channel, queue: &str) -> lapin::Result<u32> {
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await
}

pub async fn delete_exchange(channel: &Channel, exchange: &str) {
    channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await.unwrap();
}

pub fn refused<T: Debug>(code: u16, text: &str, result: Result<T, Error>) {
    let error = result.expect_err(text);
    let ErrorKind::ProtocolError(error) = error.kind() else { panic!("expected {text}, got {error}") };
    assert_eq!(text, error.get_message().as_str());
    assert_eq!(code, error.get_id());
}

pub fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert(key.into(), value);
    }
    table
}

pub fn string(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

pub fn text(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.data).unwrap()
}
