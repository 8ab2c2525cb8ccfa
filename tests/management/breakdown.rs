//! What RabbitMQ counts between channels, exchanges and queues with `rates_mode = detailed` alone; shapes as those of 3.10.8.

use serde_json::{Value as Json, json};

use super::http::Http;
use super::support::broker::Broker;
use super::support::eventually;
use super::support::raw::Raw;
use super::support::wire;
use super::{confirm, encode, publish};

/// Counters with their rates, all the others of `names` being zero.
fn stats(names: &[&str], counters: &[(&str, u64)]) -> Json {
    let mut stats = json!({});
    for name in names {
        let count = counters.iter().find(|(counter, _)| counter == name).map_or(0, |(_, count)| *count);
        stats[*name] = json!(count);
        stats[format!("{name}_details")] = json!({"rate": 0.0});
    }
    stats
}

fn published(counters: &[(&str, u64)]) -> Json {
    stats(&["confirm", "drop_unroutable", "publish", "return_unroutable"], counters)
}

fn delivered(counters: &[(&str, u64)]) -> Json {
    stats(&["ack", "deliver", "deliver_get", "deliver_no_ack", "get", "get_empty", "get_no_ack", "redeliver"], counters)
}

fn routed(publish: u64) -> Json {
    stats(&["publish"], &[("publish", publish)])
}

fn exchange(name: &str, stats: &Json) -> Json {
    json!({"exchange": {"name": name, "vhost": "/"}, "stats": stats})
}

fn queue(name: &str, stats: &Json) -> Json {
    json!({"queue": {"name": name, "vhost": "/"}, "stats": stats})
}

/// A broker whose samples are too far apart to be taken meanwhile, a client of it, and the name of its connection.
fn started(mode: &str) -> (Broker, Http, Raw, String) {
    let broker = Broker::with_config(&format!("management.rates_mode = {mode}\ncollect_statistics_interval = 600000"));
    let http = Http::guest(broker.http());
    let mut raw = Raw::channel(&broker);
    confirm(&mut raw);
    http.put("/api/exchanges/%2F/x", &json!({"type": "fanout"})).is(201);
    for name in ["a", "b"] {
        raw.declare(name, 0);
        http.post(&format!("/api/bindings/%2F/e/x/q/{name}"), &json!({})).is(201);
    }
    let connection = format!("{} -> {}", raw.stream.local_addr().expect("an address"), broker.address());
    (broker, http, raw, connection)
}

fn got(raw: &mut Raw, queue: &str) -> u64 {
    raw.send(&wire::method(1, wire::GET, &wire::Fields::new().short(0).text(queue).byte(0)));
    let tag = wire::delivery_tag(raw.skip_to(wire::GET_OK).arguments());
    // Its header and its body.
    (0..2).for_each(|_| drop(raw.next().expect("a content")));
    tag
}

#[test]
fn what_is_between_channels_exchanges_and_queues() {
    let (_broker, http, mut raw, connection) = started("detailed");
    let channel = format!("/api/channels/{}", encode(&format!("{connection} (1)")));
    let port = raw.stream.local_addr().expect("an address").port();
    let details = json!({"name": format!("{connection} (1)"), "connection_name": connection, "node": "leveret@localhost", "number": 1,
        "peer_host": "127.0.0.1", "peer_port": port, "user": "guest"});
    let of_channel = |stats: &Json| json!({"channel_details": details, "stats": stats});
    let fresh = http.get(&channel).ok();
    assert_eq!((&fresh["publishes"], &fresh["deliveries"]), (&json!([]), &json!([])));

    publish(&mut raw, "x", "", b"1");
    publish(&mut raw, "", "a", b"2");
    publish(&mut raw, "", "nowhere", b"3");
    let tag = got(&mut raw, "a");
    raw.send(&wire::ack(1, tag, 0));
    // The confirm says that the ack before it has been seen.
    publish(&mut raw, "amq.topic", "nowhere", b"4");
    raw.send(&wire::consume(1, "a", 0));
    raw.skip_to(wire::CONSUME_OK);
    raw.delivery();

    let default = published(&[("publish", 2), ("confirm", 2), ("drop_unroutable", 1)]);
    let to_x = published(&[("publish", 1), ("confirm", 1)]);
    let to_topic = published(&[("publish", 1), ("confirm", 1), ("drop_unroutable", 1)]);
    let from_a = delivered(&[("ack", 1), ("get", 1), ("deliver", 1), ("deliver_get", 2)]);
    let shown = http.get(&channel).ok();
    assert_eq!(shown["publishes"], json!([exchange("", &default), exchange("amq.topic", &to_topic), exchange("x", &to_x)]));
    assert_eq!(shown["deliveries"], json!([queue("a", &from_a)]));
    let a = http.get("/api/queues/%2F/a").ok();
    assert_eq!(a["incoming"], json!([exchange("", &routed(1)), exchange("x", &routed(1))]));
    assert_eq!(a["deliveries"], json!([of_channel(&from_a)]));
    let x = http.get("/api/exchanges/%2F/x").ok();
    assert_eq!(x["incoming"], json!([of_channel(&to_x)]));
    assert_eq!(x["outgoing"], json!([queue("a", &routed(1)), queue("b", &routed(1))]));
    let of_default = http.get("/api/exchanges/%2F/amq.default").ok();
    assert_eq!((&of_default["incoming"], &of_default["outgoing"]), (&json!([of_channel(&default)]), &json!([queue("a", &routed(1))])));
    assert!(http.get("/api/channels").ok()[0].get("publishes").is_none(), "lists do without");

    // What goes takes its entries with it; RabbitMQ still shows channels beside an exchange that has come back.
    http.delete("/api/exchanges/%2F/x").is(204);
    http.delete("/api/queues/%2F/a").is(204);
    let shown = http.get(&channel).ok();
    assert_eq!(shown["publishes"], json!([exchange("", &default), exchange("amq.topic", &to_topic)]));
    assert_eq!(shown["deliveries"], json!([]));
    assert_eq!(http.get("/api/queues/%2F/b").ok()["incoming"], json!([]));
    http.put("/api/exchanges/%2F/x", &json!({"type": "fanout"})).is(201);
    http.put("/api/queues/%2F/a", &json!({})).is(201);
    for (path, list) in
        [("exchanges/%2F/x", "incoming"), ("exchanges/%2F/x", "outgoing"), ("queues/%2F/a", "incoming"), ("queues/%2F/a", "deliveries")]
    {
        assert_eq!(http.get(&format!("/api/{path}")).ok()[list], json!([]), "{path} {list}");
    }
}

#[test]
fn not_counted_in_other_modes() {
    for mode in ["basic", "none"] {
        let (_broker, http, mut raw, connection) = started(mode);
        publish(&mut raw, "x", "", b"1");
        got(&mut raw, "a");
        let channel = http.get(&format!("/api/channels/{}", encode(&format!("{connection} (1)")))).ok();
        let (a, x) = (http.get("/api/queues/%2F/a").ok(), http.get("/api/exchanges/%2F/x").ok());
        for (of, list) in
            [(&channel, "publishes"), (&channel, "deliveries"), (&a, "incoming"), (&a, "deliveries"), (&x, "incoming"), (&x, "outgoing")]
        {
            assert_eq!(of[list], json!([]), "{mode}: {list}");
        }
    }
}

#[test]
fn their_rates_rise_and_end() {
    let broker = Broker::with_config("management.rates_mode = detailed\ncollect_statistics_interval = 100");
    let http = Http::guest(broker.http());
    let mut raw = Raw::channel(&broker);
    confirm(&mut raw);
    raw.declare("q", 0);
    let connection = format!("{} -> {}", raw.stream.local_addr().expect("an address"), broker.address());
    let channel = format!("/api/channels/{}", encode(&format!("{connection} (1)")));
    let places = [
        (&*channel, "/publishes/0/stats/confirm_details/rate"),
        (&channel, "/deliveries/0/stats/get_details/rate"),
        ("/api/queues/%2F/q", "/incoming/0/stats/publish_details/rate"),
        ("/api/queues/%2F/q", "/deliveries/0/stats/deliver_get_details/rate"),
        ("/api/exchanges/%2F/amq.default", "/incoming/0/stats/publish_details/rate"),
        ("/api/exchanges/%2F/amq.default", "/outgoing/0/stats/publish_details/rate"),
    ];
    let rate = |(path, pointer): (&str, &str)| http.get(path).ok().pointer(pointer).and_then(Json::as_f64).expect("a rate");
    for place in places {
        eventually("a rate", || {
            publish(&mut raw, "", "q", b"x");
            got(&mut raw, "q");
            (rate(place) > 0.0).then_some(())
        });
        eventually("its end", || (rate(place) == 0.0).then_some(()));
    }
}
