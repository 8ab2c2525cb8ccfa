//! What a service manager is told by systemd's protocol: when the broker serves, that it is alive, when it stops.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::support::PATIENCE;
use crate::support::broker::{Broker, Scratch, leveret};
use crate::support::raw::Raw;

/// One that listens under a name of its own.
struct ServiceManager {
    socket: UnixDatagram,
    /// As the environment has it.
    name: String,
    scratch: Scratch,
}

impl ServiceManager {
    fn on(socket: UnixDatagram, name: String, scratch: Scratch) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { socket, name, scratch }
    }

    fn at_a_path() -> Self {
        let scratch = Scratch::new();
        let path = scratch.path("notify");
        Self::on(UnixDatagram::bind(&path).expect("a socket"), path.to_str().expect("a name").to_owned(), scratch)
    }

    fn with_an_abstract_name() -> Self {
        let name = format!("leveret-tests-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        Self::on(UnixDatagram::bind_addr(&address).expect("a socket"), format!("@{name}"), Scratch::new())
    }

    fn start(self, variables: &[(&str, &str)]) -> (Broker, UnixDatagram) {
        let mut command = leveret();
        command.env("NOTIFY_SOCKET", &self.name).envs(variables.iter().copied());
        (Broker::launch(command, self.scratch), self.socket)
    }
}

/// The lines of the next datagram.
fn told(socket: &UnixDatagram) -> Vec<String> {
    let mut datagram = [0; 4096];
    let length = socket.recv(&mut datagram).expect("a datagram");
    String::from_utf8_lossy(&datagram[..length]).lines().map(str::to_owned).collect()
}

#[test]
fn it_is_told_of_the_start_and_of_the_stop() {
    for manager in [ServiceManager::at_a_path(), ServiceManager::with_an_abstract_name()] {
        let (mut broker, socket) = manager.start(&[]);
        let first = told(&socket);
        assert_eq!(first[0], "READY=1");
        assert!(first[1].starts_with("STATUS=Serving ") && first[1].contains(&format!("amqp {}", broker.address())), "{first:?}");

        // Whoever never closes his end keeps the broker for a while; it is said before.
        let mut raw = Raw::channel(&broker);
        broker.signal("TERM");
        assert_eq!(told(&socket)[0], "STOPPING=1");
        raw.closed();
        drop(raw);
        assert_eq!(broker.ended().code(), Some(0));
        socket.set_nonblocking(true).expect("a mode");
        assert!(socket.recv(&mut [0; 64]).is_err(), "nothing else is said");
    }
}

#[test]
fn it_hears_that_the_broker_is_alive_as_often_as_it_wants() {
    let (_broker, socket) = ServiceManager::at_a_path().start(&[("WATCHDOG_USEC", "20000")]);
    assert_eq!(told(&socket)[0], "READY=1");
    for _ in 0..5 {
        assert_eq!(told(&socket), ["WATCHDOG=1"]);
    }
}

#[test]
fn one_that_is_not_there_keeps_nobody_from_serving() {
    for name in ["/no/such/socket", "@leveret-tests-nobody", "nonsense"] {
        let mut command = leveret();
        command.env("NOTIFY_SOCKET", name);
        let broker = Broker::launch(command, Scratch::new());
        Raw::channel(&broker).round_trip_on_new_queue("q");
        assert!(broker.log().contains(&format!("NOTIFY_SOCKET: {name}: ")), "{}", broker.log());
    }
}
