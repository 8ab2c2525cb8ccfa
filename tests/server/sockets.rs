//! What sockets are told: whoever is accepted has the options of the socket that listens.

use crate::support::broker::Broker;
use crate::support::raw::Raw;

/// The timers of the broker's ends of connections, as the system has them: `02` is that of keepalive.
fn timers(broker: &Broker) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the system's table");
    let local = format!("0100007F:{:04X}", broker.address().port());
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let open = rows.filter(|row| row[1] == local && row[3] == "01");
    open.map(|row| row[5].split(':').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn connections_are_kept_alive_where_that_is_asked_for() {
    for (value, timer) in [("true", "02"), ("false", "00")] {
        let options = format!(
            "tcp_listen_options.keepalive = {value}\ntcp_listen_options.backlog = 4\ntcp_listen_options.nodelay = true\n\
             tcp_listen_options.sndbuf = 65536\ntcp_listen_options.recbuf = 65536\n"
        );
        let broker = Broker::with_config(&options);
        let mut raw = Raw::channel(&broker);
        raw.round_trip_on_new_queue("q");
        crate::support::eventually("nothing is on its way", || (timers(&broker) == [timer]).then_some(()));
    }
}
