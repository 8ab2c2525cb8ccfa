//! The negotiation of a connection, up to the virtual host that it opens, from the client's side.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::error::Error;
use super::frames::{self, Frame};
use super::options::Options;
use super::state::Tuned;
use crate::amqp::connection::AMQPMethod as M;
use crate::amqp::{AMQPClass, Output, connection, frame, method};

/// Bytes of a frame before anything is agreed on: connection.start is longer than the specification's 4096 with some servers.
const FRAME_MAX_AT_FIRST: usize = 64 * 1024;
/// Where neither side has a limit, in bytes: RabbitMQ's.
const FRAME_MAX: u32 = 131_072;

/// Opens the connection; returns what was agreed on, and what has been received beyond.
///
/// # Errors
/// Why it came to nothing.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, options: &Options) -> Result<(Tuned, BytesMut), Error> {
    let mut talk = Talk { stream, received: BytesMut::with_capacity(FRAME_MAX_AT_FIRST) };
    talk.send(&frame::PROTOCOL_HEADER).await;
    let M::Start(start) = talk.hear().await? else { return Err(out_of_order()) };
    let mechanisms = String::from_utf8_lossy(start.mechanisms.as_bytes()).into_owned();
    if !mechanisms.split(' ').any(|offered| offered == options.mechanism) {
        return Err(Error::Refused(format!("the server offers the mechanisms {mechanisms}, not {}", options.mechanism)));
    }
    let start_ok = connection::StartOk {
        client_properties: options.client_properties.clone(),
        mechanism: short(&options.mechanism)?,
        response: options.response.clone().into(),
        locale: "en_US".into(),
    };
    talk.say(M::StartOk(start_ok)).await;
    let M::Tune(tune) = talk.hear().await? else { return Err(out_of_order()) };
    let frame_max = u32::try_from(agreed(options.frame_max.into(), tune.frame_max.into())).unwrap_or(u32::MAX);
    let channel_max = u16::try_from(agreed(options.channel_max.into(), tune.channel_max.into())).unwrap_or(u16::MAX);
    let tune_ok = connection::TuneOk {
        channel_max,
        frame_max: if frame_max == 0 { FRAME_MAX } else { frame_max },
        // Ours alone says that there are none.
        heartbeat: match (options.heartbeat_s, tune.heartbeat) {
            (0, _) => 0,
            (ours, 0) => ours,
            (ours, theirs) => ours.min(theirs),
        },
    };
    let tuned = Tuned {
        frame_max: tune_ok.frame_max as usize,
        channel_max: if channel_max == 0 { u16::MAX } else { channel_max },
        heartbeat: Duration::from_secs(tune_ok.heartbeat.into()),
    };
    talk.say(M::TuneOk(tune_ok)).await;
    talk.say(M::Open(connection::Open { virtual_host: short(&options.vhost)? })).await;
    let M::OpenOk(_) = talk.hear().await? else { return Err(out_of_order()) };
    Ok((tuned, talk.received))
}

/// The lower of two limits, of which 0 is none.
fn agreed(ours: u64, theirs: u64) -> u64 {
    if ours == 0 || theirs == 0 { ours.max(theirs) } else { ours.min(theirs) }
}

fn out_of_order() -> Error {
    Error::Refused("the server's methods came out of order".to_owned())
}

fn short(text: &str) -> Result<crate::amqp::ShortString, Error> {
    crate::amqp::ShortString::try_new(text).map_err(|_| Error::Protocol(format!("{text} is longer than 255 bytes")))
}

struct Talk<'a, S> {
    stream: &'a mut S,
    received: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    async fn say(&mut self, method: M) {
        let mut output = Output::default();
        output.method(0, &AMQPClass::Connection(method));
        self.send(&output.bytes).await;
    }

    /// Who is refused may find the socket closed already: what is to be read says why, or that there is nothing.
    async fn send(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).await.is_ok() {
            let _ = self.stream.flush().await;
        }
    }

    /// The next method of the connection.
    async fn hear(&mut self) -> Result<M, Error> {
        loop {
            let frame = frames::next(&self.received, FRAME_MAX_AT_FIRST).map_err(|what| self.no_frame(&what))?;
            if let Some(Frame { envelope, payload, len }) = frame {
                let class = if envelope.kind == frame::METHOD { method::parse(payload).ok() } else { None };
                let is_heartbeat = envelope.kind == frame::HEARTBEAT;
                self.received.advance(len);
                match class {
                    Some(AMQPClass::Connection(M::Close(close))) => {
                        self.say(M::CloseOk(connection::CloseOk {})).await;
                        return Err(Error::Refused(format!("{} {}", close.reply_code, close.reply_text)));
                    }
                    Some(AMQPClass::Connection(method)) => return Ok(method),
                    _ if is_heartbeat => continue,
                    _ => return Err(out_of_order()),
                }
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(Error::Refused("the server closed the socket during the handshake".to_owned()));
            }
        }
    }

    fn no_frame(&self, what: &str) -> Error {
        if self.received.starts_with(b"AMQP") {
            return Error::Refused("the server does not speak AMQP 0-9-1".to_owned());
        }
        Error::Refused(format!("the server sent {what}"))
    }
}
