//! Every refusal of the broker, one constructor each, with RabbitMQ's texts byte for byte (behaviour E1–E8).
//! Dispatch adds the class and method; [`Error::reply_text`] alone puts code name and text together.

use super::access::Access;
use crate::amqp::frame::erlang_binary;
use crate::amqp::{AMQPValue, Fault, ReplyCode};

/// A refusal on its way to the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub code: ReplyCode,
    pub text: String,
    /// Set where the close method must name another method than the one that failed (0, 0: none).
    pub class_method: Option<(u16, u16)>,
    /// It is no refusal yet: this has to be asked first.
    pub unanswered: Option<Box<Access>>,
}

/// A reply text is a short string.
const MAX_TEXT: usize = 255;

impl Error {
    fn new(code: ReplyCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), class_method: None, unanswered: None }
    }

    fn without_method(code: ReplyCode, text: impl Into<String>) -> Self {
        Self { class_method: Some((0, 0)), ..Self::new(code, text) }
    }

    /// `CODE_NAME - text`, shortened with `...` to 255 bytes on a character boundary (behaviour E4).
    #[must_use]
    pub fn reply_text(&self) -> String {
        let mut text = self.code.name().to_owned();
        if !self.text.is_empty() {
            text.push_str(" - ");
            text.push_str(&self.text);
        }
        if text.len() > MAX_TEXT {
            let mut end = MAX_TEXT - 3;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push_str("...");
        }
        text
    }

    // Resources: not found, locked, refused.

    pub fn no_exchange(vhost: &str, name: &str) -> Self {
        Self::new(ReplyCode::NotFound, format!("no {}", exchange(vhost, name)))
    }

    pub fn no_queue(vhost: &str, name: &str) -> Self {
        Self::new(ReplyCode::NotFound, format!("no {}", queue(vhost, name)))
    }

    pub fn no_previously_declared_queue() -> Self {
        Self::new(ReplyCode::NotFound, "no previously declared queue")
    }

    pub fn queue_locked(vhost: &str, name: &str) -> Self {
        let text = format!(
            "cannot obtain exclusive access to locked {}. It could be originally declared on another connection \
             or the exclusive property value does not match that of the original declaration.",
            queue(vhost, name)
        );
        Self::new(ReplyCode::ResourceLocked, text)
    }

    pub fn queue_in_exclusive_use(vhost: &str, name: &str) -> Self {
        Self::new(ReplyCode::AccessRefused, format!("{} in exclusive use", queue(vhost, name)))
    }

    /// `permission` is what texts begin with in 4.x (V8); `resource` as rendered by [`queue`], [`exchange`] or [`topic`].
    /// `more` is what somebody beside the broker says to it.
    pub fn access_refused(permission: Option<&str>, resource: &str, user: &str, more: &str) -> Self {
        let access = permission.map_or_else(|| "access".to_owned(), |permission| format!("{permission} access"));
        Self::new(ReplyCode::AccessRefused, format!("{access} to {resource} refused for user '{user}'{more}"))
    }

    /// Whoever gets this handles the method again when there is an answer.
    pub(super) fn unanswered(access: Access) -> Self {
        Self { unanswered: Some(Box::new(access)), ..Self::new(ReplyCode::AccessRefused, "") }
    }

    pub fn default_exchange() -> Self {
        Self::new(ReplyCode::AccessRefused, "operation not permitted on the default exchange")
    }

    pub fn internal_exchange(vhost: &str, name: &str) -> Self {
        Self::new(ReplyCode::AccessRefused, format!("cannot publish to internal {}", exchange(vhost, name)))
    }

    pub fn system_exchange(vhost: &str, name: &str) -> Self {
        let text = format!("deletion of system {} not allowed", exchange(vhost, name));
        Self::new(ReplyCode::AccessRefused, text)
    }

    /// `kind` is `queue` or `exchange`.
    pub fn reserved_name(kind: &str, name: &str) -> Self {
        Self::new(ReplyCode::AccessRefused, format!("{kind} name '{name}' contains reserved prefix 'amq.*'"))
    }

    /// For what comes from elsewhere than from a client, who cannot even say it.
    pub fn name_too_long(what: &str, bytes: usize) -> Self {
        Self::new(ReplyCode::SyntaxError, format!("{what} of {bytes} bytes is longer than 255 bytes"))
    }

    pub fn volatile_queue() -> Self {
        Self::new(ReplyCode::AccessRefused, "cannot bind or unbind to a volatile (direct reply-to) queue")
    }

    // Preconditions.

    pub fn exchange_in_use(vhost: &str, name: &str) -> Self {
        Self::precondition(format!("{} in use", exchange(vhost, name)))
    }

    pub fn queue_in_use(vhost: &str, name: &str) -> Self {
        Self::precondition(format!("{} in use", queue(vhost, name)))
    }

    pub fn queue_not_empty(vhost: &str, name: &str) -> Self {
        Self::precondition(format!("{} not empty", queue(vhost, name)))
    }

    pub fn precondition(text: impl Into<String>) -> Self {
        Self::new(ReplyCode::PreconditionFailed, text)
    }

    /// `resource` as rendered by [`queue`] or [`exchange`]; the values are plain.
    pub fn inequivalent(argument: &str, resource: &str, received: &str, current: &str) -> Self {
        Self::precondition(format!("inequivalent arg '{argument}' for {resource}: received '{received}' but current is '{current}'"))
    }

    /// A table argument that is there on one side only, or on both with another value (behaviour E7).
    pub fn inequivalent_argument(argument: &str, resource: &str, received: Option<&AMQPValue>, current: Option<&AMQPValue>) -> Self {
        if let (Some(received), Some(current)) = (received, current) {
            return Self::inequivalent(argument, resource, &plain(received), &plain(current));
        }
        let side = |value: Option<&AMQPValue>| match value {
            None => "none".to_owned(),
            Some(value) => format!("the value '{}' of type '{}'", plain(value), type_name(value)),
        };
        let (received, current) = (side(received), side(current));
        Self::precondition(format!("inequivalent arg '{argument}' for {resource}: received {received} but current is {current}"))
    }

    /// `why` is an Erlang term, literally (behaviour Q11).
    pub fn invalid_argument(argument: &str, resource: &str, why: &str) -> Self {
        Self::precondition(format!("invalid arg '{argument}' for {resource}: {why}"))
    }

    pub fn argument_of_other_queue_type(argument: &str, resource: &str, queue_type: &str) -> Self {
        Self::precondition(format!("invalid arg '{argument}' for {resource} of queue type {queue_type}"))
    }

    pub fn invalid_argument_type(argument: &str, resource: &str, value: &AMQPValue) -> Self {
        Self::precondition(format!("invalid type '{}' for arg '{argument}' in {resource}", type_name(value)))
    }

    /// `timeout` in milliseconds.
    pub fn delivery_timed_out(channel: u16, timeout: &str) -> Self {
        Self::precondition(format!(
            "delivery acknowledgement on channel {channel} timed out. Timeout value used: {timeout} ms. \
             This timeout value can be configured, see consumers doc guide to learn more"
        ))
    }

    pub fn queue_limit_reached(vhost: &str, name: &str, limit: u64) -> Self {
        Self::precondition(format!("cannot declare queue '{name}': queue limit in vhost '{vhost}' ({limit}) is reached"))
    }

    pub fn unknown_delivery_tag(delivery_tag: u64) -> Self {
        Self::precondition(format!("unknown delivery tag {delivery_tag}"))
    }

    pub fn message_too_large(size: u64, limit: u64) -> Self {
        Self::precondition(format!("message size {size} is larger than configured max size {limit}"))
    }

    pub fn wrong_user_id(claimed: &[u8], user: &str) -> Self {
        let claimed = String::from_utf8_lossy(claimed);
        Self::precondition(format!("user_id property set to '{claimed}' but authenticated user was '{user}'"))
    }

    /// `why` is an Erlang term, literally (behaviour D1).
    pub fn invalid_expiration(expiration: &[u8], why: &str) -> Self {
        Self::precondition(format!("invalid expiration '{}': {why}", String::from_utf8_lossy(expiration)))
    }

    pub fn invalid_message(why: &str) -> Self {
        Self::precondition(format!("invalid message: {why}"))
    }

    pub fn unknown_exchange_type(name: &str) -> Self {
        Self::precondition(format!("unknown exchange type '{name}'"))
    }

    pub fn invalid_exchange_type(name: &str) -> Self {
        Self::new(ReplyCode::CommandInvalid, format!("invalid exchange type '{name}'"))
    }

    pub fn channel_not_transactional() -> Self {
        Self::precondition("channel is not transactional")
    }

    /// `from` and `to` are `tx` and `confirm`.
    pub fn cannot_switch_mode(from: &str, to: &str) -> Self {
        Self::precondition(format!("cannot switch from {from} to {to} mode"))
    }

    pub fn topic_key_has_too_many_wildcards(key: &str, used: usize, allowed: usize) -> Self {
        Self::precondition(format!("Topic binding key '{key}' uses {used} '#' wildcards, at most {allowed} are allowed"))
    }

    // The whole connection.

    pub fn consumer_tag_in_use(tag: &str) -> Self {
        Self::new(ReplyCode::NotAllowed, format!("attempt to reuse consumer tag '{tag}'"))
    }

    pub fn consumer_max_reached(limit: usize) -> Self {
        Self::new(ReplyCode::NotAllowed, format!("reached maximum ({limit}) of consumers per channel"))
    }

    pub fn channel_max_reached(opened: usize, channel_max: u16) -> Self {
        let text = format!("number of channels opened ({opened}) has reached the negotiated channel_max ({channel_max})");
        Self::without_method(ReplyCode::NotAllowed, text)
    }

    pub fn node_channel_limit_reached(node: &str, limit: usize) -> Self {
        let text = format!("number of channels opened on node '{node}' has reached the maximum allowed limit of ({limit})");
        Self::without_method(ReplyCode::NotAllowed, text)
    }

    pub fn user_channel_limit_reached(user: &str, limit: usize) -> Self {
        let text = format!("number of channels opened for user '{user}' has reached the maximum allowed user limit of ({limit})");
        Self::without_method(ReplyCode::NotAllowed, text)
    }

    pub fn expected_channel_open() -> Self {
        Self::new(ReplyCode::ChannelError, "expected 'channel.open'")
    }

    pub fn second_channel_open() -> Self {
        Self::new(ReplyCode::ChannelError, "second 'channel.open' seen")
    }

    pub fn unexpected_method(state: &str) -> Self {
        Self::new(ReplyCode::ChannelError, format!("unexpected method in connection state {state}"))
    }

    pub fn unimplemented_method() -> Self {
        Self::new(ReplyCode::CommandInvalid, "unimplemented method")
    }

    /// What streams cannot do; `by` is how the text names them.
    pub fn not_by_streams(what: &str, by: &str, vhost: &str, name: &str) -> Self {
        Self::not_implemented(format!("{what} not supported by {by} {}", queue(vhost, name)))
    }

    /// Behaviour Q20: of quorum queues and streams.
    pub fn no_global_qos(vhost: &str, name: &str) -> Self {
        Self::not_implemented(format!("{} does not support global qos", queue(vhost, name)))
    }

    /// `flag` is `if-unused` or `if-empty`.
    pub fn quorum_delete_flag(flag: &str, vhost: &str, name: &str) -> Self {
        Self::not_implemented(format!(
            "cannot delete {}. queue.delete operations with {flag} flag set are not supported by quorum queues",
            queue(vhost, name)
        ))
    }

    /// `property` is `non-durable`, `exclusive-owner` or `auto-delete`.
    pub fn invalid_property(property: &str, vhost: &str, name: &str) -> Self {
        Self::precondition(format!("invalid property '{property}' for {}", queue(vhost, name)))
    }

    pub fn no_get_with_single_active_consumer(vhost: &str, name: &str) -> Self {
        let text = format!(
            "cannot obtain access to locked {}. basic.get operations are not supported by quorum queues with single active consumer",
            queue(vhost, name)
        );
        Self::new(ReplyCode::ResourceLocked, text)
    }

    /// `module` is RabbitMQ's for the type.
    pub fn no_server_named(module: &str) -> Self {
        Self::precondition(format!("Cannot declare a server-named queue for type {module}"))
    }

    pub fn not_implemented(what: impl Into<String>) -> Self {
        Self::new(ReplyCode::NotImplemented, what)
    }

    /// V14: RabbitMQ 4.3 denies what is deprecated with this text.
    pub fn deprecated(feature: &str, text: &str) -> Self {
        Self::new(ReplyCode::InternalError, format!("Feature `{feature}` is deprecated.\n{text}"))
    }

    pub fn connection_forced(reason: &str) -> Self {
        Self::without_method(ReplyCode::ConnectionForced, reason)
    }

    // The handshake.

    pub fn login_refused(mechanism: &str) -> Self {
        let text = format!("Login was refused using authentication mechanism {mechanism}. For details see the broker logfile.");
        Self::without_method(ReplyCode::AccessRefused, text)
    }

    pub fn malformed_response(mechanism: &str) -> Self {
        Self::new(ReplyCode::SyntaxError, format!("response for authentication mechanism {mechanism} is invalid"))
    }

    pub fn unknown_mechanism(mechanism: &str, offered: &str) -> Self {
        let text = format!("unknown authentication mechanism '{mechanism}', offered are: {offered}");
        Self::new(ReplyCode::NotAllowed, text)
    }

    /// `bound` is `lower than the minimum` or `higher than the maximum`.
    pub fn bad_tune(field: &str, value: u32, bound: &str, limit: u32) -> Self {
        Self::new(ReplyCode::NotAllowed, format!("negotiated {field} = {value} is {bound} allowed value ({limit})"))
    }

    pub fn vhost_not_found(vhost: &str) -> Self {
        Self::new(ReplyCode::NotAllowed, format!("vhost {vhost} not found"))
    }

    pub fn node_connection_limit(limit: usize) -> Self {
        Self::new(ReplyCode::NotAllowed, format!("connection refused: node connection limit ({limit}) is reached"))
    }

    pub fn vhost_connection_limit(vhost: &str, user: &str, limit: u64) -> Self {
        let text = format!("access to vhost '{vhost}' refused for user '{user}': connection limit ({limit}) is reached");
        Self::new(ReplyCode::NotAllowed, text)
    }

    pub fn user_connection_limit(user: &str, limit: u64) -> Self {
        let text = format!("Connection refused for user '{user}': user connection limit ({limit}) is reached");
        Self::new(ReplyCode::NotAllowed, text)
    }

    /// `more` is what somebody beside the broker says to it.
    pub fn vhost_access_refused(vhost: &str, user: &str, more: &str) -> Self {
        Self::new(ReplyCode::NotAllowed, format!("access to vhost '{vhost}' refused for user '{user}'{more}"))
    }

    pub fn secret_refused() -> Self {
        Self::new(ReplyCode::NotAllowed, "New secret was refused by one of the backends")
    }

    pub fn secret_update_failed() -> Self {
        Self::new(ReplyCode::NotAllowed, "Secret update failed")
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self { code: fault.code, text: fault.text, class_method: Some(fault.class_method), unanswered: None }
    }
}

/// How texts render a queue.
#[must_use]
pub fn queue(vhost: &str, name: &str) -> String {
    format!("queue '{name}' in vhost '{vhost}'")
}

/// How texts render an exchange.
#[must_use]
pub fn exchange(vhost: &str, name: &str) -> String {
    format!("exchange '{name}' in vhost '{vhost}'")
}

/// How texts render a routing key where a permission is asked for it.
#[must_use]
pub fn topic(vhost: &str, exchange_name: &str, routing_key: &str) -> String {
    format!("topic '{routing_key}' in {}", exchange(vhost, exchange_name))
}

/// RabbitMQ's name of a field type.
#[must_use]
pub fn type_name(value: &AMQPValue) -> &'static str {
    match value {
        AMQPValue::Boolean(_) => "bool",
        AMQPValue::ShortShortInt(_) => "byte",
        AMQPValue::ShortShortUInt(_) => "unsignedbyte",
        AMQPValue::ShortInt(_) => "short",
        AMQPValue::ShortUInt(_) => "unsignedshort",
        AMQPValue::LongInt(_) => "signedint",
        AMQPValue::LongUInt(_) => "unsignedint",
        AMQPValue::LongLongInt(_) => "long",
        AMQPValue::Float(_) => "float",
        AMQPValue::Double(_) => "double",
        AMQPValue::DecimalValue(_) => "decimal",
        AMQPValue::ShortString(_) | AMQPValue::LongString(_) => "longstr",
        AMQPValue::FieldArray(_) => "array",
        AMQPValue::Timestamp(_) => "timestamp",
        AMQPValue::FieldTable(_) => "table",
        AMQPValue::ByteArray(_) => "binary",
        AMQPValue::Void => "void",
    }
}

/// An integer of any width; booleans, timestamps and texts are none.
#[must_use]
pub fn integer(value: &AMQPValue) -> Option<i64> {
    match *value {
        AMQPValue::ShortShortInt(v) => Some(v.into()),
        AMQPValue::ShortShortUInt(v) => Some(v.into()),
        AMQPValue::ShortInt(v) => Some(v.into()),
        AMQPValue::ShortUInt(v) => Some(v.into()),
        AMQPValue::LongInt(v) => Some(v.into()),
        AMQPValue::LongUInt(v) => Some(v.into()),
        AMQPValue::LongLongInt(v) => Some(v),
        _ => None,
    }
}

/// A bad x-stream-offset, as an Erlang term.
#[must_use]
pub fn stream_offset(value: &AMQPValue) -> String {
    format!("{{invalid_stream_offset_arg,{}}}", typed_term(value))
}

/// A field value as an Erlang term with its type.
fn typed_term(value: &AMQPValue) -> String {
    let listed = |values: Vec<String>| format!("[{}]", values.join(","));
    let shown = match value {
        AMQPValue::LongString(text) => binary_term(text.as_bytes()),
        AMQPValue::FieldArray(values) => listed(values.as_slice().iter().map(typed_term).collect()),
        AMQPValue::FieldTable(table) => {
            let entry = |(name, value): (&crate::amqp::ShortString, &AMQPValue)| {
                let typed = typed_term(value);
                format!("{{{},{}", binary_term(name.as_str().as_bytes()), &typed[1..])
            };
            listed(table.into_iter().map(entry).collect())
        }
        other => plain(other),
    };
    format!("{{{},{shown}}}", type_name(value))
}

fn binary_term(text: &[u8]) -> String {
    if text.is_empty() { "<<>>".to_owned() } else { format!("<<\"{}\">>", String::from_utf8_lossy(text)) }
}

/// A value as Erlang prints it.
#[must_use]
pub fn erlang_term(value: &AMQPValue) -> String {
    let typed = |value: &AMQPValue| format!("{},{}", type_name(value), erlang_term(value));
    match value {
        AMQPValue::LongString(v) => erlang_binary(v.as_bytes(), true),
        AMQPValue::ByteArray(v) => erlang_binary(v.as_slice(), true),
        AMQPValue::Float(v) => format!("{v:?}"),
        AMQPValue::Double(v) => format!("{v:?}"),
        AMQPValue::DecimalValue(v) => format!("{{{},{}}}", v.scale, v.value),
        AMQPValue::FieldArray(v) => {
            let values: Vec<String> = v.as_slice().iter().map(|value| format!("{{{}}}", typed(value))).collect();
            format!("[{}]", values.join(","))
        }
        AMQPValue::FieldTable(v) => {
            let entries =
                v.into_iter().map(|(key, value)| format!("{{{},{}}}", erlang_binary(key.as_str().as_bytes(), true), typed(value)));
            format!("[{}]", entries.collect::<Vec<String>>().join(","))
        }
        other => plain(other),
    }
}

/// A value as text, the way inequivalence messages show it.
#[must_use]
pub fn plain(value: &AMQPValue) -> String {
    if let Some(n) = integer(value) {
        return n.to_string();
    }
    match value {
        AMQPValue::Boolean(v) => v.to_string(),
        AMQPValue::LongString(v) => String::from_utf8_lossy(v.as_bytes()).into_owned(),
        AMQPValue::ShortString(v) => v.to_string(),
        AMQPValue::Float(v) => v.to_string(),
        AMQPValue::Double(v) => v.to_string(),
        AMQPValue::Timestamp(v) => v.to_string(),
        AMQPValue::Void => "undefined".to_owned(),
        other => format!("{other:?}"),
    }
}
