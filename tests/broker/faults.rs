//! What the core does for faults: publishes with another fate, closes that nobody has earned, deliveries that come a second time.

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::basic::{AMQPMethod as Basic, AMQPProperties};
use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, tx};
use leveret::amqp::{Command, Confirm, Fate, Fault, Goes, ReplyCode};
use leveret::broker::{ConnectionId, Input};

use crate::properties::bench::{Bench, got, publish_as};
use crate::properties::wire::decode;

/// A bench with the durable queue `q`, whose channel confirms.
fn bench() -> Bench {
    let mut bench = Bench::durable(false);
    bench.declare("q", &[]);
    bench.method(AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false })));
    bench
}

/// Publishes to `q`, handled together, one for each fate.
fn publish(bench: &mut Bench, mandatory: bool, fates: &[Fate]) -> Vec<AMQPFrame> {
    let mut commands = Vec::new();
    for (body, fate) in (1..).zip(fates) {
        let method = basic::Publish { routing_key: "q".into(), mandatory, ..basic::Publish::default() };
        let mut decoded = decode(&publish_as(method, AMQPProperties::default().with_delivery_mode(2), &[body]));
        if let [Command::Publish(_, publish)] = &mut decoded[..] {
            publish.fate = *fate;
        }
        commands.append(&mut decoded);
    }
    bench.input(Input::Received(ConnectionId(0), &mut commands))
}

/// What a publisher is told, in order.
fn told(frames: &[AMQPFrame]) -> Vec<String> {
    let text = |frame: &AMQPFrame| match frame {
        AMQPFrame::Method(1, AMQPClass::Basic(Basic::Ack(ack))) if ack.multiple => Some(format!("ack up to {}", ack.delivery_tag)),
        AMQPFrame::Method(1, AMQPClass::Basic(Basic::Ack(ack))) => Some(format!("ack {}", ack.delivery_tag)),
        AMQPFrame::Method(1, AMQPClass::Basic(Basic::Nack(nack))) => Some(format!("nack {} {}", nack.delivery_tag, nack.multiple)),
        AMQPFrame::Method(1, AMQPClass::Basic(Basic::Return(returned))) => {
            Some(format!("return {} {}", returned.reply_code, returned.reply_text))
        }
        _ => None,
    };
    frames.iter().filter_map(text).collect()
}

/// Bodies of what `q` has ready.
fn left(bench: &mut Bench) -> Vec<u8> {
    std::iter::from_fn(|| bench.get("q", true)).map(|got| got.body[0]).collect()
}

const USUAL: Fate = Fate { route: Goes::ToQueues, confirm: Confirm::Ack };
const NACKED: Fate = Fate { route: Goes::ToQueues, confirm: Confirm::Nack };
const WITHHELD: Fate = Fate { route: Goes::ToQueues, confirm: Confirm::Nothing };

#[test]
fn one_publish_among_others_is_nacked() {
    let mut bench = bench();
    let lost = Fate { route: Goes::Lost, ..NACKED };
    let answer = publish(&mut bench, false, &[USUAL, USUAL, NACKED, lost, USUAL, USUAL]);
    assert_eq!(told(&answer), ["ack up to 2", "nack 3 false", "nack 4 false", "ack up to 6"]);
    assert_eq!(left(&mut bench), [1, 2, 3, 5, 6]);
}

#[test]
fn no_later_confirm_covers_one_that_is_withheld() {
    let mut bench = bench();
    let lost = Fate { route: Goes::Lost, ..WITHHELD };
    let answer = publish(&mut bench, false, &[USUAL, USUAL, WITHHELD, USUAL, USUAL, lost, NACKED, USUAL]);
    assert_eq!(told(&answer), ["ack up to 2", "ack 4", "ack 5", "nack 7 false", "ack 8"]);
    assert_eq!(told(&publish(&mut bench, false, &[USUAL, USUAL])), ["ack 9", "ack 10"]);
    assert_eq!(left(&mut bench), [1, 2, 3, 4, 5, 7, 8, 1, 2]);
    let unconfirmed = bench.broker.channel_views().iter().map(|channel| channel.unconfirmed).sum::<u64>();
    assert_eq!(unconfirmed, 2, "those that were withheld");
}

#[test]
fn what_cannot_be_routed_is_returned_before_its_confirm_if_it_is_mandatory() {
    let mut bench = bench();
    let unroutable = Fate { route: Goes::Unroutable, confirm: Confirm::Ack };
    assert_eq!(told(&publish(&mut bench, true, &[USUAL, unroutable])), ["return 312 NO_ROUTE", "ack up to 2"]);
    assert_eq!(told(&publish(&mut bench, false, &[unroutable])), ["ack 3"]);
    assert_eq!(left(&mut bench), [1]);
    assert_eq!(bench.broker.memory(), 0);
}

#[test]
fn in_a_transaction_it_is_returned_at_the_commit() {
    let mut bench = Bench::durable(false);
    bench.declare("q", &[]);
    bench.method(AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {})));
    let unroutable = Fate { route: Goes::Unroutable, confirm: Confirm::Ack };
    let lost = Fate { route: Goes::Lost, confirm: Confirm::Ack };
    assert!(told(&publish(&mut bench, true, &[unroutable, lost, USUAL])).is_empty());
    let answer = bench.method(AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {})));
    assert_eq!(told(&answer), ["return 312 NO_ROUTE"]);
    assert_eq!(left(&mut bench), [3]);
}

#[test]
fn a_channel_is_closed_with_any_code_and_the_connection_goes_on() {
    let mut bench = bench();
    let close = |channel, code, text: &str| Command::Fault(Fault { channel, ..Fault::new(code, text, (60, 40)) });
    let mut both = vec![close(7, ReplyCode::NotFound, "no such channel"), close(1, ReplyCode::InternalError, "as asked")];
    let answer = bench.input(Input::Received(ConnectionId(0), &mut both));
    assert_eq!(bench.refusal(&answer), Some((541, "INTERNAL_ERROR - as asked".to_owned())));
    assert_eq!(bench.get("q", true), None, "the channel was opened again");
    let answer = bench.input(Input::Received(ConnectionId(0), &mut vec![close(0, ReplyCode::NotFound, "")]));
    assert_eq!(bench.refusal(&answer), Some((404, "NOT_FOUND".to_owned())));
}

fn again(bench: &mut Bench, delivery_tag: u64) -> Vec<AMQPFrame> {
    bench.input(Input::Received(ConnectionId(0), &mut vec![Command::DeliverAgain { channel: 1, delivery_tag }]))
}

#[test]
fn a_delivery_comes_again_and_both_can_be_acknowledged() {
    for order in [[1, 2], [2, 1]] {
        let mut bench = bench();
        bench.qos(1);
        bench.consume("q", "c", &[]);
        publish(&mut bench, false, &[USUAL]);
        let second = got(&again(&mut bench, 1));
        let [second] = &second[..] else { panic!("one delivery") };
        assert_eq!((second.tag, second.redelivered, &*second.body, &*second.consumer), (2, true, &[1][..], "c"));
        assert!(again(&mut bench, 2).is_empty(), "only what came once comes again");
        assert!(again(&mut bench, 9).is_empty());
        publish(&mut bench, false, &[USUAL]);
        for tag in order {
            let answer = bench.ack(tag);
            assert_eq!(bench.refusal(&answer), None, "{tag} of {order:?}");
        }
        bench.ack(3);
        assert_eq!((left(&mut bench), bench.broker.memory()), (Vec::new(), 0));
    }
}

#[test]
fn whatever_becomes_of_the_second_one_the_message_stays_with_the_first() {
    let mut bench = bench();
    bench.consume("q", "c", &[]);
    publish(&mut bench, false, &[USUAL]);
    again(&mut bench, 1);
    assert!(got(&bench.reject(2, true)).is_empty(), "nothing goes back to the queue");
    let third = got(&bench.reject(1, true));
    assert_eq!(third.iter().map(|got| (got.tag, got.redelivered)).collect::<Vec<_>>(), [(3, true)]);
    again(&mut bench, 3);
    bench.method(AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close::default())));
    bench.method(AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
    assert_eq!((left(&mut bench), bench.broker.memory()), (vec![1], 0));
    let keeper = bench.keeper();
    let mut restarted = Bench::started(&keeper, 2_000_000, false);
    assert_eq!(left(&mut restarted), Vec::<u8>::new(), "it is not there after a restart either");
}
