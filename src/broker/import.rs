//! What definitions declare: exchanges, queues and bindings without a connection that asks for them (behaviour §9.1). Nobody's
//! permissions are looked at, and what is there already stays as it is.

use serde_json::{Map, Value as Json, json};

use super::exchange::Destination;
use super::queue::{Flags, QueueType};
use super::topology::{NewExchange, NewQueue};
use super::view::{BindingView, DestinationKind, ExchangeView, QueueView};
use super::{Broker, Effects, Error, json};
use crate::amqp::{AMQPValue, FieldTable};

/// An exchange, a queue or a binding as definitions have it.
#[derive(Clone, Debug, PartialEq)]
pub enum Declaration {
    Exchange {
        name: String,
        kind: String,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: FieldTable,
    },
    /// `kind` stands in for the argument where that is missing.
    Queue {
        name: String,
        kind: Option<String>,
        durable: bool,
        auto_delete: bool,
        arguments: FieldTable,
    },
    Binding {
        source: String,
        destination: String,
        destination_kind: DestinationKind,
        routing_key: String,
        arguments: FieldTable,
    },
}

impl Declaration {
    /// An entry of `exchanges`.
    ///
    /// # Errors
    /// What is missing, or is no argument.
    pub fn exchange(entry: &Json) -> Result<Self, String> {
        Ok(Self::Exchange {
            name: needed(entry, "name")?,
            kind: needed(entry, "type")?,
            durable: flag(entry, "durable", true),
            auto_delete: flag(entry, "auto_delete", false),
            internal: flag(entry, "internal", false),
            arguments: arguments(entry)?,
        })
    }

    /// An entry of `queues`.
    ///
    /// # Errors
    /// What is missing, or is no argument.
    pub fn queue(entry: &Json) -> Result<Self, String> {
        Ok(Self::Queue {
            name: needed(entry, "name")?,
            kind: entry.get("type").and_then(Json::as_str).map(str::to_owned),
            durable: flag(entry, "durable", true),
            auto_delete: flag(entry, "auto_delete", false),
            arguments: arguments(entry)?,
        })
    }

    /// An entry of `bindings`.
    ///
    /// # Errors
    /// What is missing, or is no argument.
    pub fn binding(entry: &Json) -> Result<Self, String> {
        let destination_kind = match entry.get("destination_type").and_then(Json::as_str) {
            None | Some("queue") => DestinationKind::Queue,
            Some("exchange") => DestinationKind::Exchange,
            Some(other) => return Err(format!("unknown destination type '{other}'")),
        };
        Ok(Self::Binding {
            source: needed(entry, "source")?,
            destination: needed(entry, "destination")?,
            destination_kind,
            routing_key: entry.get("routing_key").and_then(Json::as_str).unwrap_or_default().to_owned(),
            arguments: arguments(entry)?,
        })
    }

    /// Which of them it is.
    #[must_use]
    pub fn what(&self) -> &'static str {
        match self {
            Self::Exchange { .. } => "exchange",
            Self::Queue { .. } => "queue",
            Self::Binding { .. } => "binding",
        }
    }

    /// The name of an exchange or a queue, or the source of a binding.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Exchange { name, .. } | Self::Queue { name, .. } | Self::Binding { source: name, .. } => name,
        }
    }
}

fn needed(entry: &Json, key: &str) -> Result<String, String> {
    let text = entry.get(key).and_then(Json::as_str).ok_or_else(|| format!("key '{key}' is missing"))?;
    Ok(text.to_owned())
}

fn flag(entry: &Json, key: &str, default: bool) -> bool {
    entry.get(key).and_then(Json::as_bool).unwrap_or(default)
}

fn arguments(entry: &Json) -> Result<FieldTable, String> {
    match entry.get("arguments") {
        // No arguments are an empty list in what old releases export.
        None | Some(Json::Null) => Ok(FieldTable::default()),
        Some(Json::Array(values)) if values.is_empty() => Ok(FieldTable::default()),
        Some(Json::Object(entries)) => json::to_table(entries),
        Some(_) => Err("arguments are not an object".to_owned()),
    }
}

impl QueueView {
    /// What definitions have of it; `None` of what could not be restored, or is not to be.
    #[must_use]
    pub fn to_definition(&self) -> Option<Map<String, Json>> {
        let entry = json!({
            "name": *self.name,
            "durable": self.durable,
            "auto_delete": self.auto_delete,
            "arguments": json::of_table(&self.arguments),
            "type": self.kind.name(),
        });
        object(entry).filter(|_| self.owner.is_none())
    }
}

impl ExchangeView {
    /// What definitions have of it; `None` of those that are always there.
    #[must_use]
    pub fn to_definition(&self) -> Option<Map<String, Json>> {
        let entry = json!({
            "name": *self.name,
            "type": self.kind.name(),
            "durable": self.durable,
            "auto_delete": self.auto_delete,
            "internal": self.internal,
            "arguments": json::of_table(&self.arguments),
        });
        object(entry).filter(|_| !self.name.is_empty() && !self.name.starts_with("amq."))
    }
}

impl BindingView {
    /// What definitions have of it; `None` of those to the default exchange.
    #[must_use]
    pub fn to_definition(&self) -> Option<Map<String, Json>> {
        let entry = json!({
            "source": *self.source,
            "destination": *self.destination,
            "destination_type": self.destination_kind.name(),
            "routing_key": *self.routing_key,
            "arguments": json::of_table(&self.arguments),
        });
        object(entry).filter(|_| !self.source.is_empty())
    }
}

fn object(json: Json) -> Option<Map<String, Json>> {
    if let Json::Object(entries) = json { Some(entries) } else { None }
}

/// A classic queue is one without the argument, too: clients that declare it again need not give it.
fn with_type(mut arguments: FieldTable, kind: &str) -> FieldTable {
    if kind != QueueType::Classic.name() && !arguments.inner().contains_key("x-queue-type") {
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.as_bytes().into()));
    }
    arguments
}

/// Names and keys are short strings.
fn check_length(what: &str, name: &str) -> Result<(), Error> {
    if name.len() <= usize::from(u8::MAX) { Ok(()) } else { Err(Error::name_too_long(what, name.len())) }
}

impl Broker {
    pub(super) fn import(&mut self, what: &Declaration, user: &str, effects: &mut Effects) -> Result<(), Error> {
        match what {
            // Behaviour §9.1: what is the broker's own is left out.
            Declaration::Exchange { name, .. } | Declaration::Queue { name, .. } if name.is_empty() || name.starts_with("amq.") => Ok(()),
            Declaration::Binding { source, .. } if source.is_empty() => Ok(()),
            Declaration::Exchange { name, kind, durable, auto_delete, internal, arguments } => {
                check_length("exchange", name)?;
                if self.exchange_names.contains_key(&**name) {
                    return Ok(());
                }
                let kind = self.exchange_type(kind)?;
                self.alternate_exchange(name, arguments)?;
                let arguments = arguments.clone();
                let (durable, auto_delete, internal) = (*durable, *auto_delete, *internal);
                self.create_exchange(NewExchange { name, kind, durable, auto_delete, internal, arguments }, user)
            }
            Declaration::Queue { name, kind, durable, auto_delete, arguments } => {
                check_length("queue", name)?;
                if self.queue_names.contains_key(&**name) {
                    return Ok(());
                }
                let flags = Flags { durable: *durable, exclusive: false, auto_delete: *auto_delete };
                self.check_transient(flags)?;
                self.dead_letter_exchange(name, arguments)?;
                let arguments = match kind {
                    Some(kind) => with_type(arguments.clone(), kind),
                    None => self.with_default_type(flags, true, arguments.clone()),
                };
                let new = NewQueue { name: name.clone(), was_named: true, flags, owner: None, arguments };
                let id = self.create_queue(new, user)?;
                // The time of x-expires begins, as when a client declares it.
                self.note_used(id);
                Ok(())
            }
            Declaration::Binding { source, destination, destination_kind, routing_key, arguments } => {
                check_length("routing key", routing_key)?;
                let source = self.exchange_named(source)?;
                let destination = match destination_kind {
                    DestinationKind::Exchange => Destination::Exchange(self.exchange_named(destination)?),
                    DestinationKind::Queue => {
                        let queue = self.queue_names.get(&**destination);
                        Destination::Queue(*queue.ok_or_else(|| Error::no_queue(&self.vhost, destination))?)
                    }
                };
                if self.bind(source, destination, routing_key, arguments.clone(), user)? {
                    self.replay(source, destination, effects);
                }
                Ok(())
            }
        }
    }
}
