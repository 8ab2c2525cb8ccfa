//! What a request for metrics is answered from: every virtual host is looked at once, and no longer than it takes to copy numbers
//! and names.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::broker::ConnectionId;
use crate::broker::view::{ChannelView, ConnectionView, ExchangeView, QueueView, Totals};
use crate::server::{Asked, Handle, Wire};

/// What is written one by one. All else is taken from the sums.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wants {
    pub(super) queues: bool,
    pub(super) channels: bool,
    pub(super) connections: bool,
    pub(super) exchanges: bool,
    pub(super) bindings: bool,
}

/// Everything of the node together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) totals: Totals,
    /// Of connections that are open.
    pub(super) wire: Wire,
}

#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) handle: Handle,
    pub(super) sum: Sum,
    pub(super) vhosts: Vec<Vhost>,
}

/// A virtual host, with no more in it than was wanted.
#[derive(Debug)]
pub(super) struct Vhost {
    pub(super) name: Arc<str>,
    /// Whether the request is about what is in it.
    pub(super) listed: bool,
    pub(super) queues: Vec<QueueView>,
    pub(super) channels: Vec<(String, ChannelView)>,
    pub(super) connections: Vec<Connection>,
    pub(super) exchanges: Vec<ExchangeView>,
    pub(super) bindings: HashMap<Arc<str>, usize>,
}

#[derive(Debug)]
pub(super) struct Connection {
    /// No other one has it.
    pub(super) label: String,
    pub(super) channels: u64,
    pub(super) wire: Wire,
}

/// As it comes out of the virtual host.
struct Taken {
    totals: Totals,
    wires: Wire,
    queues: Vec<QueueView>,
    channels: Vec<ChannelView>,
    connections: Vec<(ConnectionView, Wire)>,
    exchanges: Vec<ExchangeView>,
    bindings: Vec<(Arc<str>, usize)>,
}

impl Scrape {
    /// Looks at all virtual hosts; `only` are those that the request is about, if it says.
    pub(super) async fn take(handle: &Handle, wants: Wants, only: Option<&[String]>) -> Self {
        let mut scrape = Self { handle: handle.clone(), sum: Sum::default(), vhosts: Vec::new() };
        let mut labels = HashSet::new();
        for name in handle.node().vhosts.keys() {
            // One that has been deleted by now has nothing.
            let Some(taken) = handle.ask(name, move |asked| Taken::take(asked, wants)).await else { continue };
            scrape.sum.totals += taken.totals;
            scrape.sum.wire += taken.wires;
            let listed = only.is_none_or(|only| only.iter().any(|vhost| **vhost == **name));
            scrape.vhosts.push(taken.into_vhost(Arc::clone(name), listed, &mut labels));
        }
        scrape
    }

    /// Those that the request is about.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Vhost> {
        self.vhosts.iter().filter(|vhost| vhost.listed)
    }
}

impl Taken {
    fn take(asked: &Asked<'_>, wants: Wants) -> Self {
        let broker = asked.broker();
        let connections = if wants.connections || wants.channels { broker.connection_views() } else { Vec::new() };
        let with_wire = |view: ConnectionView| {
            let wire = asked.wire(view.id).unwrap_or_default();
            (view, wire)
        };
        Self {
            totals: broker.totals(),
            wires: asked.wires(),
            queues: if wants.queues { broker.queue_views() } else { Vec::new() },
            channels: if wants.channels { broker.channel_views() } else { Vec::new() },
            connections: connections.into_iter().map(with_wire).collect(),
            exchanges: if wants.exchanges { broker.exchange_views() } else { Vec::new() },
            bindings: if wants.bindings { broker.binding_counts() } else { Vec::new() },
        }
    }

    fn into_vhost(self, name: Arc<str>, listed: bool, taken: &mut HashSet<String>) -> Vhost {
        let mut labels: HashMap<ConnectionId, String> = HashMap::new();
        let mut connections = Vec::with_capacity(self.connections.len());
        for (view, wire) in self.connections {
            let mut label = view.origin.name();
            if !taken.insert(label.clone()) {
                // Clients on a socket of this machine have no addresses that tell them apart.
                label = format!("{label} {name} {}", view.serial);
            }
            labels.insert(view.id, label.clone());
            connections.push(Connection { label, channels: view.channels as u64, wire });
        }
        let channel_label = |channel: &ChannelView| {
            let connection = labels.get(&channel.connection).map_or("", String::as_str);
            format!("{connection} ({})", channel.number)
        };
        Vhost {
            name,
            listed,
            queues: self.queues,
            channels: self.channels.into_iter().map(|channel| (channel_label(&channel), channel)).collect(),
            connections,
            exchanges: self.exchanges,
            bindings: self.bindings.into_iter().collect(),
        }
    }
}
