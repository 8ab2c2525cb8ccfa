//! The two tasks of a connection: one reads and takes in, one writes what has gathered.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::dispatch::{self, Stop};
use super::error::Error;
use super::frames::{self, Frame};
use super::state::Shared;
use crate::amqp::{Output, frame};

/// How long a peer may take over its goodbye, and what is left to write over its way out.
const CLOSE_PATIENCE: Duration = Duration::from_secs(3);
/// How long the reader may still find out why writing failed.
const REASON_PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of a read.
const READ: usize = 64 * 1024;
/// Slices of a write.
const SLICES: usize = 64;
/// A buffer for writing that has grown beyond this many bytes is not kept.
const KEPT: usize = 256 * 1024;

/// Starts both on a stream whose handshake is done; `received` is what came after it.
pub(super) fn start<S>(stream: S, received: BytesMut, shared: &Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (source, sink) = tokio::io::split(stream);
    tokio::spawn(read(source, received, Over(Arc::clone(shared))));
    tokio::spawn(write(sink, Arc::clone(shared)));
}

/// Sees to it that nobody waits for a connection whose reading task is gone, however that came.
struct Over(Arc<Shared>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.end(&Error::closed(None));
    }
}

async fn read<S: AsyncRead + AsyncWrite>(mut source: ReadHalf<S>, mut received: BytesMut, over: Over) {
    let shared = &*over.0;
    let patience = shared.tuned.heartbeat * 2;
    let mut heard = Instant::now();
    let mut closing_since = None;
    loop {
        if !take_in(shared, &mut received) {
            return;
        }
        if shared.lock().closing {
            closing_since.get_or_insert_with(Instant::now);
        }
        let paused = shared.pauses();
        let deadline = match closing_since {
            Some(since) => Some(since + CLOSE_PATIENCE),
            // Who does not listen cannot tell that nothing is said.
            None => (!paused && !patience.is_zero()).then(|| heard + patience),
        };
        received.reserve(READ);
        tokio::select! {
            read = source.read_buf(&mut received), if !paused => match read {
                Ok(0) => return shared.end(&gone(closing_since.is_some())),
                Ok(_) => heard = Instant::now(),
                Err(error) => return shared.end(&error.into()),
            },
            () = shared.read.notified() => {
                if paused {
                    heard = Instant::now();
                }
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                let error = if closing_since.is_some() { Error::closed(None) } else { silent(patience) };
                return shared.end(&error);
            }
        }
    }
}

fn gone(closing: bool) -> Error {
    if closing {
        return Error::closed(None);
    }
    io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the socket").into()
}

fn silent(patience: Duration) -> Error {
    let text = format!("nothing was heard from the server for {} seconds", patience.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, text).into()
}

/// Takes in all frames that are there; false when there are to be no more.
fn take_in(shared: &Shared, received: &mut BytesMut) -> bool {
    let mut state = shared.lock();
    if state.ended.is_some() {
        return false;
    }
    let mut at = 0;
    let stop = loop {
        let Frame { envelope, payload, len } = match frames::next(&received[at..], shared.tuned.frame_max) {
            Ok(Some(frame)) => frame,
            Ok(None) => break None,
            Err(text) => break Some(Stop::no_frame(text)),
        };
        if let Err(stop) = dispatch::receive(shared, &mut state, envelope, payload) {
            break Some(stop);
        }
        at += len;
    };
    received.advance(at);
    if let Some(Stop::Broken(code, text)) = &stop {
        state.close_connection(*code, text);
        shared.end_locked(&mut state, &Error::Protocol(format!("the server sent {text}")));
    }
    dispatch::shed(shared, &mut state);
    if !state.output.is_empty() {
        shared.write.notify_one();
    }
    stop.is_none()
}

async fn write<S: AsyncRead + AsyncWrite>(mut sink: WriteHalf<S>, shared: Arc<Shared>) {
    let mut output = Output::default();
    let mut last = Instant::now();
    loop {
        let ended = {
            let mut state = shared.lock();
            std::mem::swap(&mut state.output, &mut output);
            state.ended.is_some()
        };
        if output.is_empty() {
            if ended {
                let _ = timeout(CLOSE_PATIENCE, sink.shutdown()).await;
                return;
            }
            if !idle(&shared, last).await {
                continue;
            }
            output.bytes.extend_from_slice(&frame::HEARTBEAT_FRAME);
        }
        shared.make_room();
        let written = tokio::select! {
            written = write_all(&mut sink, &output) => written,
            () = overdue(&shared) => return,
        };
        if let Err(error) = written {
            // The server may have said why it left.
            let mut ended = shared.ended.subscribe();
            let _ = timeout(REASON_PATIENCE, ended.wait_for(Option::is_some)).await;
            return shared.end(&error.into());
        }
        last = Instant::now();
        output.clear();
        if output.bytes.capacity() > KEPT {
            output = Output::default();
        }
    }
}

/// Waits until there may be something to write; true when it is time for a heartbeat, half an interval after the last write.
async fn idle(shared: &Shared, last: Instant) -> bool {
    let interval = shared.tuned.heartbeat / 2;
    if interval.is_zero() {
        shared.write.notified().await;
        return false;
    }
    timeout_at(last + interval, shared.write.notified()).await.is_err()
}

/// Done when the connection ended so long ago that what is left of it is not to be waited for.
async fn overdue(shared: &Shared) {
    let mut ended = shared.ended.subscribe();
    let _ = ended.wait_for(Option::is_some).await;
    sleep(CLOSE_PATIENCE).await;
}

async fn write_all<S: AsyncRead + AsyncWrite>(sink: &mut WriteHalf<S>, output: &Output) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = output.slices().filter(|slice| !slice.is_empty()).map(IoSlice::new).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        let n = sink.write_vectored(&rest[..rest.len().min(SLICES)]).await?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, n);
    }
    sink.flush().await
}
