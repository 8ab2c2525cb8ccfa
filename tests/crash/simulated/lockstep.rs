//! Clients on threads of their own, of which one runs at a time: whoever waits for the broker waits until the simulation lets
//! them go on. So everything follows from the seed, and clients are written as for real sockets.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::client::{Address, Client, Gone, Heard, PATIENCE, Socket};

/// What a client tells the simulation, or asks of it.
#[derive(Debug)]
pub(super) enum Request {
    /// A thread with this number is going to run.
    Began,
    Ended,
    Connect(Sender<Option<usize>>),
    Write(usize, Vec<u8>),
    Read {
        connection: usize,
        wait: Duration,
        reply: Sender<Read>,
    },
    /// The client has closed its socket.
    Close(usize),
}

#[derive(Debug)]
pub(super) enum Read {
    Data(Vec<u8>),
    /// The time is over.
    Nothing,
    Closed,
}

/// A thread that waits.
#[derive(Debug)]
pub(super) enum Waiting {
    Connect(Sender<Option<usize>>),
    Read { connection: usize, wait: Duration, reply: Sender<Read> },
}

#[derive(Debug)]
pub(super) struct Threads {
    requests: Receiver<(u64, Request)>,
    address: Sender<(u64, Request)>,
    numbers: Arc<AtomicU64>,
    running: usize,
    pub(super) waiting: BTreeMap<u64, Waiting>,
}

/// The thread that takes everything out.
pub(super) const FIRST: u64 = 0;

impl Threads {
    pub(super) fn new() -> Self {
        let (address, requests) = channel();
        Self { requests, address, numbers: Arc::new(AtomicU64::new(FIRST + 1)), running: 0, waiting: BTreeMap::new() }
    }

    /// For the first thread, which says by itself when it begins and ends.
    pub(super) fn address(&self) -> Party {
        Party { number: FIRST, requests: self.address.clone(), numbers: Arc::clone(&self.numbers) }
    }

    pub(super) fn is_over(&self) -> bool {
        self.running == 0 && self.waiting.is_empty()
    }

    /// Lets a thread go on.
    pub(super) fn go_on(&mut self) {
        self.running += 1;
    }

    /// Waits until all threads wait or have ended, and gives what they told meanwhile.
    pub(super) fn await_all(&mut self, mut told: impl FnMut(Request)) {
        loop {
            let next = if self.running > 0 { self.requests.recv().ok() } else { self.requests.try_recv().ok() };
            let Some((number, request)) = next else { return };
            match request {
                Request::Began => self.running += 1,
                Request::Ended => self.running -= 1,
                Request::Connect(reply) => self.pause(number, Waiting::Connect(reply)),
                Request::Read { connection, wait, reply } => self.pause(number, Waiting::Read { connection, wait, reply }),
                Request::Write(..) | Request::Close(_) => told(request),
            }
        }
    }

    fn pause(&mut self, number: u64, waiting: Waiting) {
        self.running -= 1;
        self.waiting.insert(number, waiting);
    }
}

/// One thread's way to the broker.
#[derive(Debug)]
pub(super) struct Party {
    number: u64,
    requests: Sender<(u64, Request)>,
    numbers: Arc<AtomicU64>,
}

impl Party {
    pub(super) fn tell(&self, request: Request) {
        // The simulation is there for as long as anybody who tells it anything.
        let _ = self.requests.send((self.number, request));
    }
}

impl Address for Party {
    fn connect(&self) -> Heard<Client> {
        let (reply, connected) = channel();
        self.tell(Request::Connect(reply));
        let connection = connected.recv().ok().flatten().ok_or(Gone::Closed)?;
        let requests = self.requests.clone();
        let mut client = Client::over(Box::new(Pipe { number: self.number, connection, requests }));
        client.await_open()?;
        Ok(client)
    }

    fn of_their_own(&self) -> Arc<dyn Address> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let party = Self { number, requests: self.requests.clone(), numbers: Arc::clone(&self.numbers) };
        party.tell(Request::Began);
        Arc::new(party)
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        if self.number != FIRST {
            self.tell(Request::Ended);
        }
    }
}

/// Tells the end of the first thread.
pub(super) struct Ending(pub(super) Party);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.tell(Request::Ended);
    }
}

struct Pipe {
    number: u64,
    connection: usize,
    requests: Sender<(u64, Request)>,
}

impl Socket for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !bytes.is_empty() {
            let _ = self.requests.send((self.number, Request::Write(self.connection, bytes.to_vec())));
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        let (reply, read) = channel();
        let _ = self.requests.send((self.number, Request::Read { connection: self.connection, wait: wait.min(PATIENCE), reply }));
        match read.recv() {
            Ok(Read::Data(bytes)) => {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                Ok(bytes.len())
            }
            Ok(Read::Nothing) => Err(ErrorKind::WouldBlock.into()),
            Ok(Read::Closed) | Err(_) => Err(ErrorKind::ConnectionReset.into()),
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let _ = self.requests.send((self.number, Request::Close(self.connection)));
    }
}
