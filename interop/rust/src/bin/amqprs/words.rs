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

/// What the broker sent without being asked, in order.
#[derive(Debug, PartialEq)]
pub enum Event {
    Closed(u16, String),
    Cancelled(String),
    Acked { tag: u64, multiple: bool },
    Nacked(u64),
    Returned { code: u16, text: String, exchange: String, key: String, body: Vec<u8> },
}

pub struct Recorder(pub UnboundedSender<Event>);

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

pub type Events = UnboundedReceiver<Event>;
pub type Inbox = UnboundedReceiver<ConsumerMessage>;

pub fn arguments() -> OpenConnectionArguments {
    OpenConnectionArguments::new(&host(), port(), "guest", "guest")
}

pub async fn connect(arguments: &OpenConnectionArguments) -> Connection {
    Connection::open(arguments).await.unwrap()
}

impl Own {
    pub async fn new(names: Arc<Names>, arguments: &OpenConnectionArguments) -> Self {
        Self { connection: connect(arguments).await, names, channels: Mutex::default() }
    }

    pub async fn close(self) {
        for channel in self.channels.into_inner().unwrap() {
            channel.close().await.unwrap();
        }
        self.connection.close().await.unwrap();
    }

    pub async fn channel(&self) -> (Channel, Events) {
        let channel = self.connection.open_channel(None).await.unwrap();
        let (sender, events) = unbounded_channel();
        channel.register_callback(Recorder(sender)).await.unwrap();
        self.channels.lock().unwrap().push(channel.clone());
        (channel, events)
    }

    pub async fn exclusive_queue(&self, channel: &Channel) -> String {
        let declared = channel.queue_declare(QueueDeclareArguments::exclusive_server_named()).await;
        let (queue, ..) = declared.unwrap().unwrap();
        self.names.server_named(&queue);
        queue
    }

    pub async fn shared_queue(&self, channel: &Channel, suffix: &str) -> String {
        let queue = self.names.queue(suffix);
        channel.queue_declare(QueueDeclareArguments::durable_client_named(&queue)).await.unwrap();
        queue
    }

    pub async fn exchange(&self, channel: &Channel, suffix: &str, kind: &str, arguments: FieldTable) -> String {
        let exchange = self.names.exchange(suffix);
        let declare = ExchangeDeclareArguments::new(&exchange, kind).arguments(arguments).finish();
        channel.exchange_declare(declare).await.unwrap();
        exchange
    }

    pub async fn bound_queue(&self, channel: &Channel, exchange: &str, key: &str, arguments: FieldTable) -> String {
        let queue = self.exclusive_queue(channel).await;
        let bind = QueueBindArguments::new(&queue, exchange, key).arguments(arguments).finish();
        channel.queue_bind(bind).await.unwrap();
        queue
    }
}

pub async fn publish_with(channel: &Channel, exchange: &str, key: &str, body: Vec<u8>, properties: BasicProperties) {
    let arguments = BasicPublishArguments::new(exchange, key);
    channel.basic_publish(properties, body, arguments).await.unwrap();
}

pub async fn publish(channel: &Channel, exchange: &str, key: &str, body: &str) {
    publish_with(channel, exchange, key, body.into(), BasicProperties::default()).await;
}

pub async fn publish_numbers(channel: &Channel, queue: &str, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        publish(channel, "", queue, &number.to_string()).await;
    }
}

/// A delivered or fetched message.
pub struct Message {
    pub body: String,
    pub tag: u64,
    pub redelivered: bool,
    pub exchange: String,
    pub key: String,
    pub properties: BasicProperties,
    /// How many are left, which only basic.get tells.
    pub remaining: Option<u32>,
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

pub async fn consume(channel: &Channel, queue: &str, tag: &str) -> Inbox {
    let arguments = BasicConsumeArguments::new(queue, tag).manual_ack(true).finish();
    channel.basic_consume_rx(arguments).await.unwrap().1
}

pub async fn take(inbox: &mut Inbox) -> Message {
    let next = timeout(WAIT, inbox.recv()).await.expect("no delivery came");
    next.expect("the consumer ended").into()
}

pub async fn get(channel: &Channel, queue: &str, no_ack: bool) -> Option<Message> {
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

pub async fn drain(channel: &Channel, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(message) = get(channel, queue, true).await {
        bodies.push(message.body);
    }
    bodies
}

pub async fn message_count(channel: &Channel, queue: &str) -> u32 {
    let declare = QueueDeclareArguments::new(queue).passive(true).finish();
    channel.queue_declare(declare).await.unwrap().unwrap().1
}

pub async fn delete_exchange(channel: &Channel, exchange: &str) {
    channel.exchange_delete(ExchangeDeleteArguments::new(exchange)).await.unwrap();
}

pub async fn next(events: &mut Events) -> Event {
    let next = timeout(WAIT, events.recv()).await.expect("the broker sent nothing");
    next.expect("the channel has ended")
}

pub async fn refused<T: Debug>(code: u16, text: &str, result: Result<T, Error>, events: &mut Events) {
    result.expect_err(text);
    assert_eq!(Event::Closed(code, text.into()), next(events).await);
}

pub fn table<const N: usize>(entries: [(&str, FieldValue); N]) -> FieldTable {
    let mut table = FieldTable::new();
    for (key, value) in entries {
        table.insert(key.try_into().unwrap(), value);
    }
    table
}

pub fn string(text: &str) -> FieldValue {
    FieldValue::S(text.try_into().unwrap())
}
