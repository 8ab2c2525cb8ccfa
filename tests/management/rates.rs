//! Rates and what was before, of a broker that takes samples every tenth of a second.

use super::http::Http;
use super::support::broker::Broker;
use super::support::eventually;
use super::support::raw::Raw;
use super::{confirm, publish};

#[test]
fn rates_rise_with_what_happens_and_end_with_it() {
    let broker = Broker::with_config("collect_statistics_interval = 100");
    let http = Http::guest(broker.http());
    let mut raw = Raw::channel(&broker);
    confirm(&mut raw);
    raw.declare("q", 0);
    let rate = |path: &str, pointer: &str| http.get(path).ok().pointer(pointer).and_then(serde_json::Value::as_f64).expect("a rate");
    let places = [
        ("/api/queues/%2F/q", "/message_stats/publish_details/rate"),
        ("/api/queues/%2F/q", "/messages_details/rate"),
        ("/api/queues", "/0/message_stats/publish_details/rate"),
        ("/api/overview", "/message_stats/publish_details/rate"),
        ("/api/exchanges/%2F/amq.default", "/message_stats/publish_in_details/rate"),
        ("/api/channels", "/0/message_stats/confirm_details/rate"),
        ("/api/connections", "/0/recv_oct_details/rate"),
        ("/api/vhosts/%2F", "/message_stats/publish_details/rate"),
    ];
    for (path, pointer) in places {
        eventually("a rate", || {
            publish(&mut raw, "", "q", b"x");
            (rate(path, pointer) > 0.0).then_some(())
        });
        eventually("its end", || (rate(path, pointer) == 0.0).then_some(()));
    }
}

#[test]
fn what_a_queue_was_before() {
    let broker = Broker::with_config("collect_statistics_interval = 100");
    let http = Http::guest(broker.http());
    let mut raw = Raw::channel(&broker);
    confirm(&mut raw);
    raw.declare("q", 0);
    let ages = "lengths_age=60&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5";
    let plain = http.get("/api/queues/%2F/q?lengths_age=60").ok();
    assert!(plain["messages_details"].get("samples").is_none(), "only with both");
    let queue = http.get(&format!("/api/queues/%2F/q?{ages}")).ok();
    let samples = queue["messages_details"]["samples"].as_array().expect("samples");
    assert!(samples.iter().all(|point| point["sample"] == 0 && point["timestamp"].is_u64()));
    publish(&mut raw, "", "q", b"x");
    // Samples are five seconds apart at the least: of the node as a whole as well.
    let seen = eventually("a sample with the message", || {
        let queue = http.get(&format!("/api/queues/%2F/q?{ages}")).ok();
        (queue["messages_details"]["samples"][0]["sample"] == 1).then_some(queue)
    });
    assert!(seen["message_stats"]["publish_details"]["avg"].as_f64().is_some_and(|avg| avg > 0.0));
    let overview = http.get(&format!("/api/overview?{ages}")).ok();
    assert_eq!(overview["queue_totals"]["messages_details"]["samples"][0]["sample"], 1);
}
