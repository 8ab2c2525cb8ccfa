//! AMQP 0-9-1 by hand, apart from every library: whatever a client might send, also what none should.

/// Class and method id.
pub(crate) type Id = (u16, u16);

pub(crate) const START: Id = (10, 10);
pub(crate) const START_OK: Id = (10, 11);
pub(crate) const TUNE: Id = (10, 30);
pub(crate) const TUNE_OK: Id = (10, 31);
pub(crate) const OPEN: Id = (10, 40);
pub(crate) const OPEN_OK: Id = (10, 41);
pub(crate) const CLOSE: Id = (10, 50);
pub(crate) const CLOSE_OK: Id = (10, 51);
pub(crate) const BLOCKED: Id = (10, 60);
pub(crate) const UNBLOCKED: Id = (10, 61);
pub(crate) const CHANNEL_OPEN: Id = (20, 10);
pub(crate) const CHANNEL_OPEN_OK: Id = (20, 11);
pub(crate) const CHANNEL_CLOSE: Id = (20, 40);
pub(crate) const CHANNEL_CLOSE_OK: Id = (20, 41);
pub(crate) const QUEUE_DECLARE: Id = (50, 10);
pub(crate) const QUEUE_DECLARE_OK: Id = (50, 11);
pub(crate) const QUEUE_BIND: Id = (50, 20);
pub(crate) const QUEUE_BIND_OK: Id = (50, 21);
pub(crate) const QUEUE_DELETE: Id = (50, 40);
pub(crate) const QUEUE_DELETE_OK: Id = (50, 41);
pub(crate) const QOS: Id = (60, 10);
pub(crate) const CONSUME: Id = (60, 20);
pub(crate) const CONSUME_OK: Id = (60, 21);
pub(crate) const PUBLISH: Id = (60, 40);
pub(crate) const RETURN: Id = (60, 50);
pub(crate) const DELIVER: Id = (60, 60);
pub(crate) const GET: Id = (60, 70);
pub(crate) const GET_OK: Id = (60, 71);
pub(crate) const ACK: Id = (60, 80);
pub(crate) const CONFIRM_SELECT: Id = (85, 10);
pub(crate) const CONFIRM_SELECT_OK: Id = (85, 11);

pub(crate) const HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";
pub(crate) const HEARTBEAT: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, 0xCE];

/// Arguments of a method, field by field.
#[derive(Clone, Default)]
pub(crate) struct Fields(pub(crate) Vec<u8>);

impl Fields {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn byte(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(crate) fn short(mut self, value: u16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn long(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn longlong(mut self, value: u64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// A short string.
    pub(crate) fn text(mut self, value: &str) -> Self {
        self.0.push(u8::try_from(value.len()).expect("a short string"));
        self.0.extend(value.as_bytes());
        self
    }

    /// Length and bytes: a long string, or the entries of a table.
    pub(crate) fn bytes(mut self, value: &[u8]) -> Self {
        self.0.extend(u32::try_from(value.len()).expect("a long string").to_be_bytes());
        self.0.extend(value);
        self
    }
}

pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Fields::new().byte(kind).short(channel).bytes(payload);
    out.0.push(0xCE);
    out.0
}

pub(crate) fn method(channel: u16, (class, id): Id, arguments: &Fields) -> Vec<u8> {
    let mut payload = Fields::new().short(class).short(id);
    payload.0.extend(&arguments.0);
    frame(1, channel, &payload.0)
}

/// A content header without properties that announces so many bytes.
pub(crate) fn content_header(channel: u16, body_size: u64) -> Vec<u8> {
    frame(2, channel, &Fields::new().short(60).short(0).longlong(body_size).short(0).0)
}

pub(crate) fn body(channel: u16, bytes: &[u8]) -> Vec<u8> {
    frame(3, channel, bytes)
}

/// basic.publish without its content.
pub(crate) fn publish_method(channel: u16, exchange: &str, key: &str) -> Vec<u8> {
    method(channel, PUBLISH, &Fields::new().short(0).text(exchange).text(key).byte(0))
}

/// A whole publish; the body is split for a frame_max of 131072.
pub(crate) fn publish(channel: u16, exchange: &str, key: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = publish_method(channel, exchange, key);
    out.extend(content_header(channel, bytes.len() as u64));
    for part in bytes.chunks(131_064) {
        out.extend(body(channel, part));
    }
    out
}

/// A whole publish of a persistent message.
pub(crate) fn publish_persistent(channel: u16, exchange: &str, key: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = publish_method(channel, exchange, key);
    let header = Fields::new().short(60).short(0).longlong(bytes.len() as u64).short(0x1000).byte(2);
    out.extend(frame(2, channel, &header.0));
    for part in bytes.chunks(131_064) {
        out.extend(body(channel, part));
    }
    out
}

/// Of basic.ack and basic.nack.
pub(crate) fn delivery_tag(arguments: &[u8]) -> u64 {
    u64::from_be_bytes(*arguments.first_chunk().expect("a tag"))
}

/// `bits`: 1 multiple.
pub(crate) fn ack(channel: u16, tag: u64, bits: u8) -> Vec<u8> {
    method(channel, ACK, &Fields::new().longlong(tag).byte(bits))
}

/// Capabilities of a client that understands what the server may send unasked.
pub(crate) fn capabilities() -> Vec<u8> {
    let mut entries = Fields::new();
    for name in ["connection.blocked", "consumer_cancel_notify", "authentication_failure_close"] {
        entries = entries.text(name).byte(b't').byte(1);
    }
    Fields::new().text("capabilities").byte(b'F').bytes(&entries.0).0
}

pub(crate) fn start_ok(user: &str, password: &str) -> Vec<u8> {
    let response = format!("\0{user}\0{password}");
    method(0, START_OK, &Fields::new().bytes(&capabilities()).text("PLAIN").bytes(response.as_bytes()).text("en_US"))
}

pub(crate) fn tune_ok(channel_max: u16, frame_max: u32, heartbeat: u16) -> Vec<u8> {
    method(0, TUNE_OK, &Fields::new().short(channel_max).long(frame_max).short(heartbeat))
}

pub(crate) fn open() -> Vec<u8> {
    method(0, OPEN, &Fields::new().text("/").text("").byte(0))
}

pub(crate) fn channel_open(channel: u16) -> Vec<u8> {
    method(channel, CHANNEL_OPEN, &Fields::new().text(""))
}

/// `bits`: 1 passive, 2 durable, 4 exclusive, 8 auto-delete.
pub(crate) fn queue_declare(channel: u16, name: &str, bits: u8) -> Vec<u8> {
    method(channel, QUEUE_DECLARE, &Fields::new().short(0).text(name).byte(bits).bytes(&[]))
}

/// `bits`: 2 no-ack.
pub(crate) fn consume(channel: u16, queue: &str, bits: u8) -> Vec<u8> {
    method(channel, CONSUME, &Fields::new().short(0).text(queue).text("").byte(bits).bytes(&[]))
}

pub(crate) fn get(channel: u16, queue: &str) -> Vec<u8> {
    method(channel, GET, &Fields::new().short(0).text(queue).byte(1))
}

pub(crate) fn close() -> Vec<u8> {
    method(0, CLOSE, &Fields::new().short(200).text("bye").short(0).short(0))
}
