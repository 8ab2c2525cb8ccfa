//! x-death, whatever a client has written there before.

use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::types::{AMQPValue, FieldArray, FieldTable};
use leveret::broker::Profile;
use proptest::prelude::*;

use super::bench::{Bench, Got};
use super::wire::{cases, short_text, table, value};

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// An entry that looks like the broker's own, with anything in any place.
fn death() -> impl Strategy<Value = AMQPValue> {
    let queue = prop_oneof![3 => Just(text("q")), 2 => Just(text("d")), 1 => value()];
    let reason = prop_oneof![3 => Just(text("rejected")), 1 => Just(text("expired")), 1 => value()];
    let count = prop_oneof![2 => Just(AMQPValue::LongLongInt(i64::MAX)), 2 => (-2i64..5).prop_map(AMQPValue::LongLongInt), 1 => value()];
    let entry = (prop::option::weighted(0.9, queue), prop::option::weighted(0.9, reason), prop::option::weighted(0.9, count), table());
    entry.prop_map(|(queue, reason, count, mut more)| {
        for (name, value) in [("queue", queue), ("reason", reason), ("count", count)] {
            if let Some(value) = value {
                more.insert(name.into(), value);
            }
        }
        AMQPValue::FieldTable(more)
    })
}

fn x_death() -> impl Strategy<Value = AMQPValue> {
    let element = prop_oneof![4 => death(), 1 => value()];
    prop_oneof![1 => value(), 4 => prop::collection::vec(element, 0..6).prop_map(|all| AMQPValue::FieldArray(FieldArray::from(all)))]
}

fn headers() -> impl Strategy<Value = FieldTable> {
    let keys = prop::collection::vec(short_text().prop_map(|key| text(key.as_str())), 0..3);
    let copies = prop_oneof![2 => Just(None), 1 => keys.prop_map(|keys| Some(AMQPValue::FieldArray(FieldArray::from(keys))))];
    let first = prop_oneof![2 => Just(None), 1 => value().prop_map(Some)];
    (table(), prop::option::weighted(0.8, x_death()), copies.clone(), copies, first.clone(), first).prop_map(
        |(mut headers, deaths, cc, bcc, first, last)| {
            let known = [("x-death", deaths), ("CC", cc), ("BCC", bcc), ("x-first-death-reason", first), ("x-last-death-queue", last)];
            for (name, value) in known {
                if let Some(value) = value {
                    headers.insert(name.into(), value);
                }
            }
            headers
        },
    )
}

fn deaths(got: &Got) -> Vec<FieldTable> {
    let Some(AMQPValue::FieldArray(deaths)) = got.header("x-death") else { panic!("no x-death: {got:?}") };
    let entries = deaths.as_slice().iter().map(|death| match death {
        AMQPValue::FieldTable(death) => death.clone(),
        other => panic!("an entry of x-death is {other:?}"),
    });
    entries.collect()
}

fn count_of(death: &FieldTable, queue: &str, reason: &str) -> Option<AMQPValue> {
    let is = |name: &str, wanted: &str| death.inner().get(name) == Some(&text(wanted));
    (is("queue", queue) && is("reason", reason)).then(|| death.inner().get("count").cloned().unwrap_or(AMQPValue::Void))
}

/// Longer than any key that a CC or BCC here names: nobody else sends to them.
const THERE: &str = "the queue there";
const BACK: &str = "the queue back";

/// Two queues that dead-letter to each other.
fn pair(profile: Profile) -> Bench {
    let mut bench = Bench::of(profile);
    for (name, other) in [(THERE, BACK), (BACK, THERE)] {
        bench.declare(name, &[("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(other))]);
    }
    bench
}

proptest! {
    #![proptest_config(cases(192))]

    /// A message goes to and fro, for other reasons now and then: the array grows by one entry for each queue and reason, no more.
    #[test]
    fn x_death_is_well_formed(
        headers in headers(),
        expiration in prop::option::of(1_000..5_000u32),
        old in any::<bool>(),
        rounds in 1..8usize,
    ) {
        let profile = if old { Profile::named("3.13").expect("a profile") } else { Profile::PERMISSIVE };
        let mut bench = pair(profile);
        let mut properties = AMQPProperties::default().with_headers(headers.clone()).with_delivery_mode(2);
        if let Some(expiration) = expiration {
            properties = properties.with_expiration(expiration.to_string().into());
        }
        let answer = bench.publish(THERE, properties, b"body");
        prop_assert_eq!(bench.refusal(&answer), None);
        let sent = match headers.inner().get("x-death") {
            Some(AMQPValue::FieldArray(all)) if old => all.as_slice().iter().filter(|e| matches!(e, AMQPValue::FieldTable(_))).count(),
            _ => 0,
        };
        for round in 0..rounds {
            let (from, to) = if round % 2 == 0 { (THERE, BACK) } else { (BACK, THERE) };
            let tag = bench.get(from, false).expect("it is there").tag;
            bench.reject(tag, false);
            let Some(there) = bench.get(to, false) else { panic!("it has not come to {to}") };
            bench.reject(there.tag, true);
            let all = deaths(&there);
            let first = all.first().expect("an entry");
            prop_assert!(all.len() <= sent + 2.min(round + 1), "round {}: {:?}", round, all);
            let field = |name: &str| first.inner().get(name).cloned();
            prop_assert_eq!((field("queue"), field("reason")), (Some(text(from)), Some(text("rejected"))));
            if sent == 0 {
                // Nothing in it is the client's.
                prop_assert_eq!(field("count"), Some(AMQPValue::LongLongInt(i64::try_from(round / 2 + 1).expect("small"))));
                prop_assert!(matches!(field("time"), Some(AMQPValue::Timestamp(_))));
                prop_assert!(matches!(field("exchange"), Some(AMQPValue::LongString(_))));
                prop_assert!(matches!(field("routing-keys"), Some(AMQPValue::FieldArray(_))));
                let of_it = all.iter().filter(|death| count_of(death, from, "rejected").is_some()).count();
                prop_assert_eq!(of_it, 1);
            }
            prop_assert_eq!(there.properties.expiration(), &None);
            prop_assert_eq!(there.properties.delivery_mode(), &Some(2));
            prop_assert_eq!((there.exchange.as_str(), there.redelivered, there.body.as_slice()), ("", false, &b"body"[..]));
            let kept = headers.inner().iter().filter(|(name, _)| !name.as_str().starts_with("x-") && name.as_str() != "BCC");
            for (name, value) in kept {
                prop_assert_eq!(there.header(name.as_str()), Some(value), "{}", name);
            }
        }
        for name in [THERE, BACK] {
            bench.delete(name);
        }
        prop_assert_eq!(bench.broker.memory(), 0);
    }
}
