//! The HTTP API while thousands of clients are connected: what it answers is right, and all of it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value as Json, json};

use super::all;
use super::exposition::{Exposition, Labels};
use super::http::Http;
use super::limits::raise_file_limit;
use super::support::broker::{Broker, Scratch, leveret};
use super::support::{PATIENCE, eventually, wire};

const CROWD: usize = 3000;
const PAGE: usize = 500;

/// A connection with a channel that has declared nothing; without the buffers that a client for more would need.
fn come(broker: &Broker) -> TcpStream {
    let mut stream = TcpStream::connect(broker.address()).expect("the broker accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let all =
        [&wire::HEADER[..], &wire::start_ok("guest", "guest"), &wire::tune_ok(2047, 131_072, 0), &wire::open(), &wire::channel_open(1)];
    stream.write_all(&all.concat()).expect("written");
    let mut frame = Vec::new();
    for expected in [wire::START, wire::TUNE, wire::OPEN_OK, wire::CHANNEL_OPEN_OK] {
        let mut head = [0; 7];
        stream.read_exact(&mut head).expect("a frame");
        let size = u32::from_be_bytes(*head[3..].first_chunk().expect("a size"));
        frame.resize(size as usize + 1, 0);
        stream.read_exact(&mut frame).expect("a frame");
        let id = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        assert_eq!((id(0), id(2)), expected);
    }
    stream
}

fn name(broker: &Broker, stream: &TcpStream) -> String {
    format!("{} -> {}", stream.local_addr().expect("an address"), broker.address())
}

fn names(rows: &Json) -> Vec<String> {
    all(rows, "name").iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
}

/// Each once.
#[track_caller]
fn set(names: Vec<String>) -> BTreeSet<String> {
    let count = names.len();
    let set: BTreeSet<String> = names.into_iter().collect();
    assert_eq!(set.len(), count, "some came twice");
    set
}

#[track_caller]
fn pages(http: &Http, of: &str, more: &str, count: usize) -> BTreeSet<String> {
    let rows = (1..=count.div_ceil(PAGE)).flat_map(|page| {
        let answer = http.get(&format!("/api/{of}?page={page}&page_size={PAGE}{more}")).ok();
        assert_eq!((&answer["total_count"], &answer["page_count"]), (&json!(count), &json!(count.div_ceil(PAGE))));
        names(&answer["items"])
    });
    set(rows.collect())
}

#[test]
fn thousands_of_connections_are_told_completely() {
    raise_file_limit();
    let scratch = Scratch::new();
    let mut command = leveret();
    command.args(["--metrics", "127.0.0.1:0"]);
    let broker = Broker::launch(command, scratch);
    let http = Http::guest(broker.http());
    let mut crowd: Vec<TcpStream> = (0..CROWD).map(|_| come(&broker)).collect();
    let here: BTreeSet<String> = crowd.iter().map(|stream| name(&broker, stream)).collect();
    let channels: BTreeSet<String> = here.iter().map(|name| format!("{name} (1)")).collect();

    let overview = http.get("/api/overview").ok();
    assert_eq!((&overview["object_totals"]["connections"], &overview["object_totals"]["channels"]), (&json!(CROWD), &json!(CROWD)));
    let rows = http.get("/api/connections").ok();
    assert_eq!(set(names(&rows)), here);
    for row in rows.as_array().expect("a list") {
        assert_eq!(
            (&row["state"], &row["channels"], &row["user"], &row["vhost"]),
            (&json!("running"), &json!(1), &json!("guest"), &json!("/"))
        );
    }
    assert_eq!(set(names(&http.get("/api/vhosts/%2F/connections").ok())), here);
    assert_eq!(set(names(&http.get("/api/connections/username/guest").ok())), here);
    assert_eq!(set(names(&http.get("/api/channels").ok())), channels);
    assert_eq!(pages(&http, "connections", "&sort=name&sort_reverse=true", CROWD), here);
    assert_eq!(pages(&http, "channels", "", CROWD), channels);
    let one = name(&broker, &crowd[CROWD / 2]);
    let found = http.get(&format!("/api/connections?page=1&name={}", super::encode(&one))).ok();
    assert_eq!((names(&found["items"]), &found["filtered_count"]), (vec![one], &json!(1)));
    let node = http.get("/api/nodes/leveret@localhost").ok();
    assert!(node["fd_used"].as_u64() > Some(CROWD as u64) && node["sockets_used"].as_u64() >= Some(CROWD as u64), "{node}");

    let scrape = |path: &str| Exposition::parse(&Http::nobody(broker.metrics()).get(path).text());
    let count = |exposition: &Exposition, name: &str| exposition.value(name).to_string();
    let sums = scrape("/metrics");
    assert_eq!([count(&sums, "rabbitmq_connections"), count(&sums, "rabbitmq_channels")], [CROWD.to_string(), CROWD.to_string()]);
    // The reader refuses series that come twice.
    let told = scrape("/metrics/per-object");
    let label = |(labels, _): (&Labels, f64)| labels["channel"].clone();
    assert_eq!(set(told.of("rabbitmq_connection_channels").map(label).collect()), here);
    assert_eq!(told.sum("rabbitmq_connection_channels").to_string(), CROWD.to_string());

    // Half of them go.
    let gone: Vec<TcpStream> = crowd.drain(..CROWD / 2).collect();
    drop(gone);
    let here: BTreeSet<String> = crowd.iter().map(|stream| name(&broker, stream)).collect();
    eventually("all who went are gone", || {
        (http.get("/api/overview").ok()["object_totals"]["connections"] == json!(CROWD / 2)).then_some(())
    });
    assert_eq!(set(names(&http.get("/api/connections").ok())), here);
    assert_eq!(count(&scrape("/metrics"), "rabbitmq_channels"), (CROWD / 2).to_string());
}

/// While others come and go, nobody who stays is left out or told twice.
#[test]
fn who_stays_is_told_while_others_come_and_go() {
    const STAYING: usize = 1000;
    raise_file_limit();
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let staying: Vec<TcpStream> = (0..STAYING).map(|_| come(&broker)).collect();
    let here: BTreeSet<String> = staying.iter().map(|stream| name(&broker, stream)).collect();
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let passing = scope.spawn(|| {
            let mut passed = 0;
            while passed < 5000 && !enough.load(Ordering::Relaxed) {
                let some: Vec<TcpStream> = (0..20).map(|_| come(&broker)).collect();
                passed += some.len();
            }
        });
        for _ in 0..20 {
            let told = set(names(&http.get("/api/connections").ok()));
            assert!(told.is_superset(&here), "{:?} are not told", here.difference(&told));
            let counted = http.get("/api/overview").ok()["object_totals"]["connections"].as_u64();
            assert!(counted >= Some(STAYING as u64), "{counted:?}");
            let listed = http.get("/api/connections?page=1&page_size=500&sort=name").ok();
            assert_eq!(set(names(&listed["items"])).len(), PAGE);
        }
        enough.store(true, Ordering::Relaxed);
        passing.join().expect("they came and went");
    });
}
