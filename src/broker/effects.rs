//! What handling an input leads to: bytes for connections, and the few things only the shell can do.

use super::asking::Enquiry;
use crate::amqp::Output;

/// A connection's place in the tables of the broker and of its shell; given out again after `Disconnected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

impl ConnectionId {
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Something for the shell to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send what there is, then close the socket.
    CloseSocket(ConnectionId),
    /// The same, but the client has been sent a connection.close whose answer cannot be read: give it time to answer.
    CloseUnanswered(ConnectionId),
    /// The broker has sent connection.close: give the client this long to answer.
    AwaitCloseOk(ConnectionId),
    /// Read nothing more from this connection until `ResumeReading`.
    PauseReading(ConnectionId),
    ResumeReading(ConnectionId),
    /// Tell the broker with `Flushed` when this connection's output has drained.
    ReportFlushed(ConnectionId),
}

impl Action {
    /// Whom it is about.
    #[must_use]
    pub fn connection(self) -> ConnectionId {
        let (Self::CloseSocket(id)
        | Self::CloseUnanswered(id)
        | Self::AwaitCloseOk(id)
        | Self::PauseReading(id)
        | Self::ResumeReading(id)
        | Self::ReportFlushed(id)) = self;
        id
    }
}

/// An error that closed a channel or a connection, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub connection: ConnectionId,
    /// 0: the whole connection.
    pub channel: u16,
    pub reply_text: String,
}

/// When an output may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    InOrder,
    /// When what is written down in this round is safe.
    WhenSafe,
    /// Before all that waits for something to be safe.
    AtOnce,
}

/// Bytes of the largest buffer that is made before it is needed, and of all that are in a round: of many connections, few are likely
/// to get as much as the last time.
const MOST_EXPECTED: usize = 512 * 1024;
const MOST_MADE: usize = 4 * 1024 * 1024;

/// The effects of the inputs handled since they were last taken.
#[derive(Debug, Default)]
pub struct Effects {
    outputs: Vec<Output>,
    /// Bytes of the last output of each connection, and a quarter more: the next one is likely to be as long.
    expected: Vec<usize>,
    /// Bytes of buffers that were made in this round because of that.
    made: usize,
    /// What is true already while a disk that fails keeps all else back.
    urgent: Vec<(ConnectionId, Output)>,
    /// Whether the output of a connection must not leave before what is written down in this round is safe.
    held: Vec<bool>,
    touched: Vec<ConnectionId>,
    /// Empty buffers for outputs to begin with.
    spare: Vec<Vec<u8>>,
    pub actions: Vec<Action>,
    pub refusals: Vec<Refusal>,
    /// To be answered with `Answered`.
    pub enquiries: Vec<Enquiry>,
}

impl Effects {
    /// The output of a connection, to be added to.
    pub fn output(&mut self, connection: ConnectionId) -> &mut Output {
        let at = connection.index();
        if at >= self.outputs.len() {
            self.outputs.resize_with(at + 1, Output::default);
            self.expected.resize(at + 1, 0);
            self.held.resize(at + 1, false);
        }
        let output = &mut self.outputs[at];
        if output.is_empty() {
            self.touched.push(connection);
            if output.bytes.capacity() == 0 {
                // A buffer that grows is copied each time.
                let expected = self.expected[at];
                let spare = self.spare.pop().unwrap_or_default();
                let is_enough = spare.capacity() >= expected || self.made + expected > MOST_MADE;
                self.made += if is_enough { 0 } else { expected };
                output.bytes = if is_enough { spare } else { Vec::with_capacity(expected) };
            }
        }
        output
    }

    /// Bytes of output that wait for this connection here.
    #[must_use]
    pub fn output_len(&self, connection: ConnectionId) -> usize {
        self.outputs.get(connection.index()).map_or(0, Output::len)
    }

    /// Gives back a buffer that was handed over, to save the next allocation; `false` when there are enough.
    pub fn give_buffer(&mut self, buffer: Vec<u8>) -> bool {
        let wanted = self.spare.len() < 8;
        if wanted {
            self.spare.push(buffer);
        }
        wanted
    }

    /// What this connection gets in this round promises something that is written down in it, so that it waits for that to be
    /// safe.
    pub fn hold(&mut self, connection: ConnectionId) {
        self.output(connection);
        self.held[connection.index()] = true;
    }

    /// An output that promises nothing, and that must not wait for a disk: on channel 0 only, where the order of frames
    /// towards those of channels does not matter.
    pub fn urgent(&mut self, connection: ConnectionId) -> &mut Output {
        self.urgent.push((connection, Output::default()));
        &mut self.urgent.last_mut().expect("it was pushed").1
    }

    /// Hands over every output that is not empty, in order for each connection.
    pub fn drain_outputs(&mut self, mut take: impl FnMut(ConnectionId, &mut Output, Release)) {
        self.made = 0;
        for connection in self.touched.drain(..) {
            let output = &mut self.outputs[connection.index()];
            let held = std::mem::take(&mut self.held[connection.index()]);
            if !output.is_empty() {
                let length = output.bytes.len();
                self.expected[connection.index()] = (length + length / 4).min(MOST_EXPECTED);
                take(connection, output, if held { Release::WhenSafe } else { Release::InOrder });
                output.clear();
            }
        }
        for (connection, mut output) in self.urgent.drain(..) {
            take(connection, &mut output, Release::AtOnce);
        }
    }
}
