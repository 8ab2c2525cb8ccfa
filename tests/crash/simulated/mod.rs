//! Brokers over a disk that fails, with everything that happens drawn from a seed: the same clients and the same judgement as
//! over real processes, and ends that take from the disk what was not synced.

mod lockstep;
mod shell;

use std::sync::Arc;
use std::time::{Duration, Instant};

use leveret::broker::{Settings, Timestamp};
use leveret::storage::{Disk, Options};

use self::lockstep::{Ending, Read, Request, Threads, Waiting};
use self::shell::Shell;
use crate::client::{Address, PATIENCE};
use crate::disk::{End, Faults, SimDisk};
use crate::ledger::Manner;
use crate::node::Brokers;
use crate::random::Random;

pub(crate) struct Simulated {
    random: Random,
    disk: SimDisk,
    options: Options,
    settings: Arc<Settings>,
    now: Timestamp,
    threads: Threads,
    shell: Option<Shell>,
    is_faulty: bool,
    /// Whether anything is to go wrong while it runs.
    may_fail: bool,
}

impl Simulated {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xD15C);
        let settings = Settings {
            page_window: [1_000, 10_000, 2_000_000][random.below(3)],
            outbox_high: [20_000, 1_000_000][random.below(2)],
            ..Settings::default()
        };
        let options = Options { log_bytes: [65_536, 524_288][random.below(2)], log_messages: [100, 10_000][random.below(2)], sync: true };
        Self {
            disk: SimDisk::new(random.next()),
            random,
            options,
            settings: Arc::new(settings),
            now: Timestamp(1_700_000_000_000),
            threads: Threads::new(),
            shell: None,
            is_faulty: false,
            may_fail: false,
        }
    }

    fn shell(&mut self) -> &mut Shell {
        self.shell.as_mut().expect("a broker that was started")
    }

    /// All clients wait; what they wrote is on its way.
    fn await_clients(&mut self) {
        let Self { threads, shell, .. } = self;
        threads.await_all(|request| {
            let Some(shell) = shell else { return };
            match request {
                Request::Write(connection, bytes) => shell.write(connection, &bytes),
                Request::Close(connection) => shell.close(connection),
                _ => {}
            }
        });
    }

    fn step(&mut self) {
        let Self { shell, random, .. } = self;
        let shell = shell.as_mut().expect("a broker that was started");
        match random.weighted(&[350, 300, 200, 20, 15, 80, 30, 10, 2, 3, 3, 10]) {
            0 => self.let_a_client_go_on(),
            1 => shell.receive(random),
            2 => shell.commit(random),
            3 => shell.fold(),
            4 => shell.tidy(),
            5 => shell.load(),
            6 => shell.work(),
            7 => {
                let milliseconds = random.next() % 20;
                shell.pass(milliseconds);
            }
            8 => shell.seal(),
            9 => shell.spill(),
            10 if self.may_fail => self.break_something(),
            _ => self.heal(),
        }
    }

    fn break_something(&mut self) {
        let Self { random, disk, .. } = self;
        let (kind, after) = (random.below(5), random.next() % 30);
        let (room, count) = (random.next() % 100_000, 1 + u32::try_from(random.below(3)).expect("a few"));
        let used = disk.used();
        disk.set_faults(|faults| match kind {
            0 => faults.capacity = Some(used + room),
            1 => faults.failing_syncs = count,
            2 => faults.read_only = true,
            3 => faults.closed_directory = true,
            _ => faults.end_after = Some(after),
        });
        self.is_faulty = true;
    }

    fn heal(&mut self) {
        if self.is_faulty {
            self.disk.set_faults(Faults::heal);
            self.is_faulty = false;
        }
    }

    /// One of the clients that wait gets what it waits for, if that is there, or has waited for long enough.
    fn let_a_client_go_on(&mut self) {
        if self.threads.waiting.is_empty() {
            return;
        }
        let at = self.random.below(self.threads.waiting.len());
        let number = *self.threads.waiting.keys().nth(at).expect("one of them");
        self.serve(number);
    }

    fn serve(&mut self, number: u64) {
        let Self { threads, shell, random, .. } = self;
        let shell = shell.as_mut().expect("a broker that was started");
        match &threads.waiting[&number] {
            Waiting::Connect(reply) => {
                // Whoever asked waits for this.
                let _ = reply.send(Some(shell.connect()));
            }
            Waiting::Read { connection, wait, reply } => {
                let read = match shell.read(*connection, random) {
                    Some(bytes) if bytes.is_empty() => Read::Closed,
                    Some(bytes) => Read::Data(bytes),
                    None if *wait < PATIENCE && random.percent(30) => {
                        shell.pass(u64::try_from(wait.as_millis()).expect("a short time"));
                        Read::Nothing
                    }
                    None => return,
                };
                let _ = reply.send(read);
            }
        }
        threads.waiting.remove(&number);
        threads.go_on();
        self.await_clients();
    }

    /// The broker is no more: nobody gets anything but what was on its way.
    fn dismiss_clients(&mut self) {
        self.await_clients();
        while let Some((_, waiting)) = self.threads.waiting.pop_first() {
            let Self { shell, random, .. } = self;
            let shell = shell.as_mut().expect("a broker that was started");
            match waiting {
                Waiting::Connect(reply) => drop(reply.send(None)),
                Waiting::Read { connection, reply, .. } => {
                    let read = shell.read(connection, random).filter(|bytes| !bytes.is_empty()).map_or(Read::Closed, Read::Data);
                    let _ = reply.send(read);
                }
            }
            self.threads.go_on();
            self.threads.await_all(|_| {});
        }
        assert!(self.threads.is_over(), "every client has ended");
    }

    fn stop_in_order(&mut self) {
        self.shell().shut_down();
        while !self.shell().is_idle() && !self.disk.has_ended() {
            self.step();
        }
        self.heal();
        self.shell().settle();
        while !self.shell().has_committed_all() && !self.disk.has_ended() {
            let Self { shell, random, .. } = self;
            shell.as_mut().expect("a broker that was started").commit(random);
        }
    }
}

impl Brokers for Simulated {
    fn start(&mut self, _: &mut Random) -> Arc<dyn Address> {
        let mut attempts = 0;
        self.shell = loop {
            attempts += 1;
            if attempts < 20 && self.random.percent(40) {
                let after = self.random.next() % 40;
                self.disk.set_faults(|faults| faults.end_after = Some(after));
            }
            match Shell::start(&self.disk, &self.options, &self.settings, self.now) {
                Ok(shell) if !self.disk.has_ended() => break Some(shell),
                Err(error) if !self.disk.has_ended() => panic!("it does not start: {error}"),
                _ => {}
            }
            let end = if self.random.percent(60) { End::PowerCut } else { End::Killed };
            self.disk.restart(end);
        };
        self.disk.set_faults(Faults::heal);
        Arc::new(self.threads.address())
    }

    fn run(&mut self, time: Duration) {
        self.may_fail = true;
        self.await_clients();
        let mut left = time.as_micros() / 500;
        while left > 0 && !self.disk.has_ended() {
            self.step();
            left -= 1;
        }
        self.may_fail = false;
        self.heal();
    }

    fn run_during(&mut self, work: &mut (dyn FnMut() + Send)) {
        let began = Instant::now();
        let party = self.threads.address();
        std::thread::scope(|scope| {
            party.tell(Request::Began);
            scope.spawn(move || {
                // Dropped by a panic, too.
                let _ending = Ending(party);
                work();
            });
            self.await_clients();
            while !self.threads.is_over() && began.elapsed() < 2 * PATIENCE {
                self.step();
            }
            let is_over = self.threads.is_over();
            if !is_over {
                self.shell().cut(&mut Random::new(0));
                self.dismiss_clients();
            }
            assert!(is_over, "it goes on and on");
        });
    }

    fn end(&mut self, manner: Manner) {
        if manner == Manner::Stopped && !self.disk.has_ended() {
            self.stop_in_order();
        }
        let Self { shell, random, .. } = self;
        let shell = shell.as_mut().expect("a broker that was started");
        let faults = std::mem::take(&mut shell.faults);
        shell.cut(random);
        self.now = shell.now();
        self.dismiss_clients();
        self.shell = None;
        let end = if self.random.percent(70) { End::PowerCut } else { End::Killed };
        self.disk.restart(end);
        self.is_faulty = false;
        assert!(faults.is_empty(), "{faults:?}");
    }

    fn about(&self) -> String {
        format!("files: {:?}", self.disk.list().unwrap_or_default())
    }
}
