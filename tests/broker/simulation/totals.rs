//! What management is told, at any moment of a run: views add up to totals, and what is counted obeys what is conserved.

use leveret::broker::Broker;
use leveret::broker::counters::{Amount, ByType, ChannelCounters, QueueCounters, Strategy};
use leveret::broker::queue::QueueType;
use leveret::broker::view::Totals;
use leveret::broker::{ConnectionId, Reason};

/// What was seen before: counters only rise.
#[derive(Debug, Default)]
pub(super) struct Watch {
    last: Totals,
}

/// Each counter by name.
fn all(totals: &Totals) -> Vec<(&'static str, u64)> {
    let by_type = [QueueType::Classic, QueueType::Quorum, QueueType::Stream].map(|kind| totals.queues.of(kind).iter());
    let deaths = Reason::ALL.map(|reason| (reason.name(), totals.dead_letters.of(reason)));
    totals.messages.iter().chain(totals.churn.iter()).chain(by_type.into_iter().flatten()).chain(deaths).collect()
}

impl Watch {
    pub(super) fn check(&mut self, broker: &Broker) {
        let totals = broker.totals();
        check_queues(broker, &totals);
        check_channels(broker, &totals);
        check_conservation(&totals);
        for ((name, before), (_, now)) in all(&self.last).into_iter().zip(all(&totals)) {
            assert!(before <= now, "{name} was {before} and is {now}");
        }
        self.last = totals;
    }
}

fn check_queues(broker: &Broker, totals: &Totals) {
    let queues = broker.queue_views();
    let sum = |amount: fn(&leveret::broker::view::QueueView) -> Amount| queues.iter().map(amount).sum::<Amount>();
    let sums = [sum(|q| q.ready), sum(|q| q.unacked), sum(|q| q.in_memory), sum(|q| q.paged_out), sum(|q| q.persistent)];
    let told = [totals.ready, totals.unacked, totals.in_memory, totals.paged_out, totals.persistent];
    assert_eq!(sums, told, "ready, unacked, in memory, paged out, persistent");
    assert_eq!(totals.objects.queues, queues.len());
    assert_eq!(totals.objects.queues as u64, totals.churn.queue_created - totals.churn.queue_deleted);
    let consumers = broker.consumer_views();
    for queue in &queues {
        assert_eq!(queue.consumers, consumers.iter().filter(|consumer| consumer.queue == queue.name).count(), "of {}", queue.name);
        let QueueCounters { publish, forwarded, deliver_no_ack, get_no_ack, ack, .. } = queue.counters;
        let left = ack + deliver_no_ack + get_no_ack;
        let there = queue.ready.messages + queue.unacked.messages;
        assert!(queue.stream.is_some() || publish + forwarded >= left + there, "{queue:?}");
        assert_eq!(queue.in_memory.messages + queue.paged_out.messages, queue.total().messages, "{queue:?}");
    }
    let mut alive = ByType::default();
    for kind in [QueueType::Classic, QueueType::Quorum, QueueType::Stream] {
        let mut sum = QueueCounters::default();
        queues.iter().filter(|queue| queue.kind == kind).for_each(|queue| sum += queue.counters);
        let total = totals.queues.of(kind);
        assert!(sum.iter().zip(total.iter()).all(|((_, alive), (_, all))| alive <= all), "{sum:?} of {total:?}");
    }
    alive += totals.queues;
    assert_eq!(alive.sum(), totals.queues.sum());
    let bindings = broker.binding_views();
    assert_eq!(bindings.iter().filter(|binding| binding.source.is_empty()).count(), queues.len(), "every queue has its binding");
    let exchanges = broker.exchange_views();
    assert_eq!(totals.objects.exchanges, exchanges.len());
    let of_exchanges: u64 = exchanges.iter().map(|exchange| exchange.counters.publish_in).sum();
    assert!(of_exchanges <= totals.messages.publish);
    let from: usize = exchanges.iter().map(|exchange| broker.bindings_from(&exchange.name).len()).sum();
    let to_queues: usize = queues.iter().map(|queue| broker.bindings_of_queue(&queue.name).len()).sum();
    let to_exchanges: usize = exchanges.iter().map(|exchange| broker.bindings_to(&exchange.name).len()).sum();
    assert_eq!((from, to_queues + to_exchanges), (bindings.len(), bindings.len()));
}

fn check_channels(broker: &Broker, totals: &Totals) {
    let channels = broker.channel_views();
    let mut alive = ChannelCounters::default();
    channels.iter().for_each(|channel| alive += channel.counters);
    assert!(alive.iter().zip(totals.messages.iter()).all(|((_, alive), (_, all))| alive <= all), "{alive:?} of {:?}", totals.messages);
    assert_eq!(
        (totals.objects.channels as u64, totals.objects.channels),
        (totals.churn.channel_created - totals.churn.channel_closed, channels.len())
    );
    let connections = broker.connection_views();
    let open = totals.churn.connection_created - totals.churn.connection_closed;
    assert_eq!((totals.objects.connections as u64, connections.len() as u64), (open, open));
    for connection in &connections {
        let of_it = channels.iter().filter(|channel| channel.connection == connection.id).count();
        assert_eq!(connection.channels, of_it, "channels of {:?}", connection.id);
    }
    let is_there = |id: ConnectionId| connections.iter().any(|connection| connection.id == id);
    let consumers = broker.consumer_views();
    assert!(consumers.iter().all(|consumer| is_there(consumer.connection)));
    assert_eq!((consumers.len(), channels.iter().map(|c| c.consumer_count).sum()), (totals.objects.consumers, totals.objects.consumers));
    for (unit, counted) in [("confirms", totals.messages.confirm), ("returns", totals.messages.return_unroutable)] {
        assert!(counted <= totals.messages.publish, "more {unit} than publishes");
    }
}

/// What channels have given to clients is what queues have given away, and nothing leaves a queue that has not come.
fn check_conservation(totals: &Totals) {
    let (channels, queues) = (&totals.messages, totals.queues.sum());
    let given = [
        (channels.deliver, queues.deliver),
        (channels.deliver_no_ack, queues.deliver_no_ack),
        (channels.get, queues.get),
        (channels.get_no_ack, queues.get_no_ack),
        (channels.get_empty, queues.get_empty),
        (channels.redeliver, queues.redeliver),
    ];
    assert!(given.iter().all(|(channels, queues)| channels == queues), "{channels:?} and {queues:?}");
    assert!(queues.ack <= channels.ack && channels.ack <= channels.deliver + channels.get, "{channels:?} and {queues:?}");
    assert!(channels.redeliver <= channels.deliver_get());
    for kind in [QueueType::Classic, QueueType::Quorum] {
        let died = |reason| Strategy::ALL.into_iter().map(|strategy| totals.dead_letters.count(kind, strategy, reason)).sum::<u64>();
        let dead: u64 = Reason::ALL.into_iter().map(died).sum();
        let of_kind = totals.queues.of(kind);
        let left = of_kind.ack + of_kind.deliver_no_ack + of_kind.get_no_ack + dead;
        assert!(of_kind.publish + of_kind.forwarded >= left, "{of_kind:?}, and {dead} dead");
    }
}
