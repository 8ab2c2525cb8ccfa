//! The exchange types by name (behaviour X2).

/// An exchange type: the four of AMQP 0-9-1, and those that RabbitMQ has in its core or in widespread plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Direct,
    Fanout,
    Topic,
    Headers,
    ConsistentHash,
    Random,
    LocalRandom,
    ModulusHash,
    RecentHistory,
    MessageDeduplication,
    DelayedMessage,
}

impl Kind {
    pub const ALL: [Self; 11] = [
        Self::Direct,
        Self::Fanout,
        Self::Topic,
        Self::Headers,
        Self::ConsistentHash,
        Self::Random,
        Self::LocalRandom,
        Self::ModulusHash,
        Self::RecentHistory,
        Self::MessageDeduplication,
        Self::DelayedMessage,
    ];

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::ConsistentHash => "x-consistent-hash",
            Self::Random => "x-random",
            Self::LocalRandom => "x-local-random",
            Self::ModulusHash => "x-modulus-hash",
            Self::RecentHistory => "x-recent-history",
            Self::MessageDeduplication => "x-message-deduplication",
            Self::DelayedMessage => "x-delayed-message",
        }
    }

    /// The name as RabbitMQ's texts show it: a type is an Erlang atom, and one with a hyphen is printed in quotes.
    #[must_use]
    pub fn atom(self) -> String {
        let name = self.name();
        if name.contains('-') { format!("'{name}'") } else { name.to_owned() }
    }
}
