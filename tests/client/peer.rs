//! A server that says what it is told to, over a pipe.

use leveret::amqp::{
    AMQPClass, Command, Decoder, FieldTable, Message, Output, channel, connection,
    encoder::{Delivered, Recipient},
};
use leveret::client::{Channel, Connection, Error, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::soon;

/// Bytes that fit into the pipe in either direction.
const PIPE: usize = 64 * 1024;

pub(crate) struct Peer {
    stream: DuplexStream,
    decoder: Decoder,
    heard: std::collections::VecDeque<Command>,
}

/// What the peer suggests in connection.tune.
#[derive(Clone, Copy)]
pub(crate) struct Tune {
    pub(crate) channel_max: u16,
    pub(crate) frame_max: u32,
    pub(crate) heartbeat: u16,
}

pub(crate) const TUNE: Tune = Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };

impl Peer {
    fn new(stream: DuplexStream) -> Self {
        Self { stream, decoder: Decoder::new(1 << 20, 0, 1 << 30), heard: Default::default() }
    }

    /// A connection to a peer that has agreed to everything, and what the client asked for in connection.tune-ok.
    pub(crate) async fn connected(options: Options, tune: Tune) -> (Connection, Self, connection::TuneOk) {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let opening = tokio::spawn(Connection::open(ours, options));
        let mut peer = Self::new(theirs);
        peer.start().await;
        let Tune { channel_max, frame_max, heartbeat } = tune;
        peer.say(0, connection::AMQPMethod::Tune(connection::Tune { channel_max, frame_max, heartbeat })).await;
        let connection::AMQPMethod::TuneOk(tune_ok) = peer.hear_connection().await else { panic!("not tune-ok") };
        let connection::AMQPMethod::Open(open) = peer.hear_connection().await else { panic!("not open") };
        assert_eq!(open.virtual_host.as_str(), "/");
        peer.say(0, connection::AMQPMethod::OpenOk(connection::OpenOk {})).await;
        let connection = soon(opening).await.expect("no panic").expect("a connection");
        (connection, peer, tune_ok)
    }

    /// The same with a channel.
    pub(crate) async fn with_channel() -> (Connection, Channel, Self) {
        let (connection, mut peer, _) = Self::connected(Options::plain("guest", "guest", "/"), TUNE).await;
        let opening = tokio::spawn({
            let connection = connection.clone();
            async move { connection.channel().await }
        });
        assert!(matches!(peer.hear().await, AMQPClass::Channel(channel::AMQPMethod::Open(_))));
        peer.send_method(1, AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {}))).await;
        let channel = soon(opening).await.expect("no panic").expect("a channel");
        (connection, channel, peer)
    }

    /// A handshake that goes as far as start-ok.
    pub(crate) async fn start(&mut self) -> connection::StartOk {
        let mut header = [0; 8];
        soon(self.stream.read_exact(&mut header)).await.expect("a protocol header");
        assert_eq!(&header, b"AMQP\x00\x00\x09\x01");
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: FieldTable::default(),
            mechanisms: "PLAIN".into(),
            locales: "en_US".into(),
        };
        self.say(0, connection::AMQPMethod::Start(start)).await;
        let connection::AMQPMethod::StartOk(start_ok) = self.hear_connection().await else { panic!("not start-ok") };
        start_ok
    }

    /// A peer that has heard nothing yet, and the connection that is being opened to it.
    pub(crate) fn unconnected() -> (tokio::task::JoinHandle<Result<Connection, Error>>, Self) {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        (tokio::spawn(Connection::open(ours, Options::plain("guest", "guest", "/"))), Self::new(theirs))
    }

    pub(crate) async fn say(&mut self, channel: u16, method: connection::AMQPMethod) {
        self.send_method(channel, AMQPClass::Connection(method)).await;
    }

    pub(crate) async fn send_method(&mut self, channel: u16, class: AMQPClass) {
        let mut output = Output::default();
        output.method(channel, &class);
        self.send(&output.to_vec()).await;
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        soon(self.stream.write_all(bytes)).await.expect("the client reads");
    }

    /// Delivers a message on channel 1.
    pub(crate) async fn deliver(&mut self, consumer_tag: &str, delivery_tag: u64, body: &[u8]) {
        let message = Message::new(b"", b"q", &[0, 0], body);
        let mut output = Output::default();
        let to = Recipient { channel: 1, consumer_tag: consumer_tag.as_bytes(), frame_max: 131_072 };
        output.basic_deliver(to, delivery_tag, Delivered::first(&message));
        self.send(&output.to_vec()).await;
    }

    /// The next command; `None` when the client has hung up.
    pub(crate) async fn command(&mut self) -> Option<Command> {
        loop {
            if let Some(command) = self.heard.pop_front() {
                return Some(command);
            }
            let mut bytes = [0; 4096];
            let n = self.stream.read(&mut bytes).await.expect("a pipe does not fail");
            if n == 0 {
                return None;
            }
            let mut commands = Vec::new();
            self.decoder.feed(&bytes[..n], &mut commands);
            self.heard.extend(commands);
        }
    }

    /// The next method of the client's; settlements and publishes are not expected.
    pub(crate) async fn hear(&mut self) -> AMQPClass {
        match soon(self.command()).await {
            Some(Command::Method(_, method)) => method.class,
            other => panic!("not a method: {other:?}"),
        }
    }

    async fn hear_connection(&mut self) -> connection::AMQPMethod {
        match self.hear().await {
            AMQPClass::Connection(method) => method,
            other => panic!("not of the class connection: {other:?}"),
        }
    }

    /// The client closes the connection, and says why.
    pub(crate) async fn hear_close(&mut self) -> connection::Close {
        match self.hear_connection().await {
            connection::AMQPMethod::Close(close) => close,
            other => panic!("not connection.close: {other:?}"),
        }
    }

    /// So many bytes that the client has sent, as they are.
    pub(crate) async fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        soon(self.stream.read_exact(&mut bytes)).await.expect("bytes");
        bytes
    }

    /// Nothing more is said.
    pub(crate) async fn hang_up(mut self) {
        self.stream.shutdown().await.expect("a pipe closes");
    }
}
