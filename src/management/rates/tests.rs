//! Rates from samples that are made up, at times that are made up.

use super::stats::{Range, queue_values};
use super::*;
use crate::broker::counters::{ChannelCounters, ExchangeCounters, QueueCounters};
use crate::broker::view::QueueSample;

fn sample(queues: &[(&str, u64)]) -> Sample {
    let queue = |&(name, publish): &(&str, u64)| QueueSample {
        name: name.into(),
        counters: QueueCounters { publish, ..QueueCounters::default() },
        ready: publish,
        unacked: 0,
    };
    let publish: u64 = queues.iter().map(|(_, publish)| publish).sum();
    let mut sample = Sample { queues: queues.iter().map(queue).collect(), ..Sample::default() };
    sample.totals.messages.publish = publish;
    sample.exchanges = vec![("".into(), ExchangeCounters { publish_in: publish, publish_out: publish })];
    sample.channels = vec![((7, 1), ChannelCounters { publish, ..ChannelCounters::default() })];
    sample
}

/// Takes a sample at each of these times, in seconds.
fn rates(samples: &[(u64, &[(&str, u64)])]) -> Rates {
    let rates = Rates::new();
    let vhost: Arc<str> = "/".into();
    let mut state = rates.0.lock();
    state.vhosts.insert(Arc::clone(&vhost), OfVhost::new(0));
    for (round, (at_s, queues)) in (1..).zip(samples) {
        let wires = [(7, Wire { received: 100 * at_s, ..Wire::default() })];
        state.add(&vhost, sample(queues), &wires, (at_s * 1000, round));
        state.finish([0; NODE.len()], at_s * 1000, round);
    }
    drop(state);
    rates
}

const PUBLISH: usize = 12;

fn publish_rate(rates: &Rates, queue: &str) -> f64 {
    rates.of_vhost("/", |of_vhost| of_vhost.and_then(|v| v.queue(queue)).map_or(0.0, |rates| rates[PUBLISH]))
}

#[test]
fn a_rate_is_the_change_between_the_last_two_samples() {
    assert_eq!(QUEUE[PUBLISH].0, "publish");
    let all = rates(&[(5, &[("q", 100)]), (10, &[("q", 150)])]);
    assert!((publish_rate(&all, "q") - 10.0).abs() < 1e-9);
    let of_vhost = |look: fn(&OfVhost) -> f64| all.of_vhost("/", |v| v.map_or(0.0, look));
    assert!((of_vhost(|v| v.exchange("").map_or(0.0, |rates| rates[1])) - 10.0).abs() < 1e-9);
    assert!((of_vhost(|v| v.channel(7, 1).map_or(0.0, |rates| rates[9])) - 10.0).abs() < 1e-9);
    assert!((of_vhost(|v| v.connection(7).map_or(0.0, |rates| rates[0])) - 100.0).abs() < 1e-9);
    assert!((all.totals(&["/".into()]).expect("rates")[14] - 10.0).abs() < 1e-9);
    assert!(all.totals(&["other".into()]).is_none());
}

#[test]
fn what_stands_still_has_no_rate_and_what_is_new_began_at_nothing() {
    let all = rates(&[(5, &[("q", 100)]), (10, &[("q", 100), ("new", 5)])]);
    assert!(all.of_vhost("/", |v| v.is_some_and(|v| v.queue("q").is_none())));
    assert!((publish_rate(&all, "new") - 1.0).abs() < 1e-9);
}

/// Lengths go down as well.
#[test]
fn rates_of_lengths_may_be_negative() {
    let all = rates(&[(5, &[("q", 100)]), (15, &[("q", 50)])]);
    let messages = all.of_vhost("/", |v| v.and_then(|v| v.queue("q")).map(|rates| rates[0]));
    assert_eq!(messages, Some(-5.0));
}

#[test]
fn what_is_gone_is_forgotten() {
    let all = rates(&[(5, &[("a", 1), ("b", 1)]), (10, &[("b", 2)])]);
    let state = all.0.lock();
    let names: Vec<&str> = state.vhosts["/"].queues.keys().map(|name| &**name).collect();
    assert_eq!(names, ["b"]);
}

#[test]
fn a_reset_forgets_rates_and_no_counter() {
    let all = rates(&[(5, &[("q", 100)])]);
    assert!(publish_rate(&all, "q") > 0.0);
    all.reset();
    assert!(publish_rate(&all, "q") == 0.0 && all.totals(&["/".into()]).is_none());
    let vhost: Arc<str> = "/".into();
    all.0.lock().add(&vhost, sample(&[("q", 110)]), &[], (10_000, 2));
    assert!((publish_rate(&all, "q") - 2.0).abs() < 1e-9, "from where it stood");
}

#[test]
fn so_many_queues_are_watched_and_no_more() {
    let all = rates(&[(5, &[])]);
    let ranges = Ranges { msg_rates: Some(Range { age_ms: 60_000, step_ms: 5_000 }), ..Ranges::default() };
    let vhost: Arc<str> = "/".into();
    let now = Counted::new(queue_values(QueueCounters::default(), 3, 0), None);
    for n in 0..WATCHED + 20 {
        let histories = all.queue_before((&vhost, &format!("q{n}").into()), &now, ranges);
        assert!(histories[0].is_none(), "lengths were not asked for");
        assert_eq!(histories[PUBLISH].as_ref().map(|history| history.0.len()), Some(1));
    }
    assert_eq!(all.0.lock().watched.len(), WATCHED);
}
