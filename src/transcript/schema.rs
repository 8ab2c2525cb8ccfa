//! The methods of AMQP 0-9-1 as one table: name, class id, method id and fields. A transcript line and a method payload are
//! both read and written by it, so the runner needs no code per method, and shares none with the broker under test.

/// How a field is laid out on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Octet,
    Short,
    Long,
    LongLong,
    ShortString,
    LongString,
    Bit,
    Table,
}

/// One argument of a method.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Reserved by the specification: sent as zero, never printed.
    pub(crate) reserved: bool,
    /// Printed even when zero, because its value is the point of the method.
    pub(crate) telling: bool,
}

/// One method.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) class_id: u16,
    pub(crate) method_id: u16,
    fields: &'static str,
}

impl Method {
    pub(crate) fn by_name(name: &str) -> Option<&'static Method> {
        METHODS.iter().find(|method| method.name == name)
    }

    pub(crate) fn by_id(class_id: u16, method_id: u16) -> Option<&'static Method> {
        METHODS.iter().find(|method| (method.class_id, method.method_id) == (class_id, method_id))
    }

    /// Whether a content header and a body follow.
    pub(crate) fn has_content(&self) -> bool {
        matches!(self.name, "basic.publish" | "basic.return" | "basic.deliver" | "basic.get-ok")
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = Field> {
        self.fields.split_whitespace().map(|text| {
            let (name, kind) = text.split_once(':').unwrap_or((text, "s"));
            Field {
                name: name.trim_start_matches(['_', '!']),
                kind: kind_of(kind),
                reserved: name.starts_with('_'),
                telling: name.starts_with('!'),
            }
        })
    }
}

fn kind_of(letter: &str) -> Kind {
    match letter {
        "o" => Kind::Octet,
        "h" => Kind::Short,
        "l" => Kind::Long,
        "L" => Kind::LongLong,
        "S" => Kind::LongString,
        "b" => Kind::Bit,
        "t" => Kind::Table,
        _ => Kind::ShortString,
    }
}

/// The properties of class basic, from the highest flag bit down.
pub(crate) const PROPERTIES: [(&str, Kind); 14] = [
    ("content_type", Kind::ShortString),
    ("content_encoding", Kind::ShortString),
    ("headers", Kind::Table),
    ("delivery_mode", Kind::Octet),
    ("priority", Kind::Octet),
    ("correlation_id", Kind::ShortString),
    ("reply_to", Kind::ShortString),
    ("expiration", Kind::ShortString),
    ("message_id", Kind::ShortString),
    ("timestamp", Kind::LongLong),
    ("type", Kind::ShortString),
    ("user_id", Kind::ShortString),
    ("app_id", Kind::ShortString),
    ("cluster_id", Kind::ShortString),
];

const fn method(name: &'static str, class_id: u16, method_id: u16, fields: &'static str) -> Method {
    Method { name, class_id, method_id, fields }
}

/// `_` before a name marks a reserved field, `!` a telling one.
pub(crate) static METHODS: [Method; 66] = [
    method("connection.start", 10, 10, "version_major:o version_minor:o server_properties:t mechanisms:S locales:S"),
    method("connection.start-ok", 10, 11, "client_properties:t mechanism:s response:S locale:s"),
    method("connection.secure", 10, 20, "challenge:S"),
    method("connection.secure-ok", 10, 21, "response:S"),
    method("connection.tune", 10, 30, "!channel_max:h !frame_max:l !heartbeat:h"),
    method("connection.tune-ok", 10, 31, "channel_max:h frame_max:l heartbeat:h"),
    method("connection.open", 10, 40, "vhost:s _capabilities:s _insist:b"),
    method("connection.open-ok", 10, 41, "_known_hosts:s"),
    method("connection.close", 10, 50, "!reply_code:h reply_text:s !class_id:h !method_id:h"),
    method("connection.close-ok", 10, 51, ""),
    method("connection.blocked", 10, 60, "reason:s"),
    method("connection.unblocked", 10, 61, ""),
    method("connection.update-secret", 10, 70, "new_secret:S reason:s"),
    method("connection.update-secret-ok", 10, 71, ""),
    method("channel.open", 20, 10, "_out_of_band:s"),
    method("channel.open-ok", 20, 11, "_channel_id:S"),
    method("channel.flow", 20, 20, "!active:b"),
    method("channel.flow-ok", 20, 21, "!active:b"),
    method("channel.close", 20, 40, "!reply_code:h reply_text:s !class_id:h !method_id:h"),
    method("channel.close-ok", 20, 41, ""),
    method("access.request", 30, 10, "realm:s exclusive:b passive:b active:b write:b read:b"),
    method("access.request-ok", 30, 11, "!ticket:h"),
    method("exchange.declare", 40, 10, "_ticket:h exchange:s type:s passive:b durable:b auto_delete:b internal:b nowait:b arguments:t"),
    method("exchange.declare-ok", 40, 11, ""),
    method("exchange.delete", 40, 20, "_ticket:h exchange:s if_unused:b nowait:b"),
    method("exchange.delete-ok", 40, 21, ""),
    method("exchange.bind", 40, 30, "_ticket:h destination:s source:s routing_key:s nowait:b arguments:t"),
    method("exchange.bind-ok", 40, 31, ""),
    method("exchange.unbind", 40, 40, "_ticket:h destination:s source:s routing_key:s nowait:b arguments:t"),
    method("exchange.unbind-ok", 40, 51, ""),
    method("queue.declare", 50, 10, "_ticket:h queue:s passive:b durable:b exclusive:b auto_delete:b nowait:b arguments:t"),
    method("queue.declare-ok", 50, 11, "queue:s !message_count:l !consumer_count:l"),
    method("queue.bind", 50, 20, "_ticket:h queue:s exchange:s routing_key:s nowait:b arguments:t"),
    method("queue.bind-ok", 50, 21, ""),
    method("queue.purge", 50, 30, "_ticket:h queue:s nowait:b"),
    method("queue.purge-ok", 50, 31, "!message_count:l"),
    method("queue.delete", 50, 40, "_ticket:h queue:s if_unused:b if_empty:b nowait:b"),
    method("queue.delete-ok", 50, 41, "!message_count:l"),
    method("queue.unbind", 50, 50, "_ticket:h queue:s exchange:s routing_key:s arguments:t"),
    method("queue.unbind-ok", 50, 51, ""),
    method("basic.qos", 60, 10, "prefetch_size:l prefetch_count:h global:b"),
    method("basic.qos-ok", 60, 11, ""),
    method("basic.consume", 60, 20, "_ticket:h queue:s consumer_tag:s no_local:b no_ack:b exclusive:b nowait:b arguments:t"),
    method("basic.consume-ok", 60, 21, "consumer_tag:s"),
    method("basic.cancel", 60, 30, "consumer_tag:s nowait:b"),
    method("basic.cancel-ok", 60, 31, "consumer_tag:s"),
    method("basic.publish", 60, 40, "_ticket:h exchange:s routing_key:s mandatory:b immediate:b"),
    method("basic.return", 60, 50, "!reply_code:h reply_text:s exchange:s routing_key:s"),
    method("basic.deliver", 60, 60, "consumer_tag:s !delivery_tag:L redelivered:b exchange:s routing_key:s"),
    method("basic.get", 60, 70, "_ticket:h queue:s no_ack:b"),
    method("basic.get-ok", 60, 71, "!delivery_tag:L redelivered:b exchange:s routing_key:s !message_count:l"),
    method("basic.get-empty", 60, 72, "cluster_id:s"),
    method("basic.ack", 60, 80, "!delivery_tag:L multiple:b"),
    method("basic.reject", 60, 90, "!delivery_tag:L requeue:b"),
    method("basic.recover-async", 60, 100, "requeue:b"),
    method("basic.recover", 60, 110, "requeue:b"),
    method("basic.recover-ok", 60, 111, ""),
    method("basic.nack", 60, 120, "!delivery_tag:L multiple:b requeue:b"),
    method("tx.select", 90, 10, ""),
    method("tx.select-ok", 90, 11, ""),
    method("tx.commit", 90, 20, ""),
    method("tx.commit-ok", 90, 21, ""),
    method("tx.rollback", 90, 30, ""),
    method("tx.rollback-ok", 90, 31, ""),
    method("confirm.select", 85, 10, "nowait:b"),
    method("confirm.select-ok", 85, 11, ""),
];
