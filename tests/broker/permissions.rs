//! Permissions: every method with every right that it needs, there and missing, in the texts of 3.x and 4.x (behaviour P6, P7,
//! V8, V9, gotchas 65 and 66); and what an administrator changes while connections are open (P8–P10, C26).

use std::sync::Arc;

use leveret::amqp::{AMQPClass, AMQPValue, Command, FieldTable, Message, Method, basic, exchange, queue};
use leveret::broker::queue::QueueType;
use leveret::broker::{ConnectionId, Connections, Input, Limits, Pattern, Profile, Rights, Settings, TopicRights};

use crate::core::{Core, publish};

pub(crate) const ADMINISTRATOR: ConnectionId = ConnectionId(0);
pub(crate) const USER: ConnectionId = ConnectionId(1);

/// Everything refused with a `…` where a generated name was.
fn without_generated(text: &str) -> String {
    match text.split_once("amq.gen-") {
        Some((before, after)) => format!("{before}amq.gen-…{}", after.trim_start_matches(|c: char| c != '\'')),
        None => text.to_owned(),
    }
}

/// One thing that must be allowed, written `permission kind name`, or `permission topic key exchange`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need(pub(crate) &'static str);

impl Need {
    pub(crate) fn words(self) -> Vec<&'static str> {
        self.0.split(' ').collect()
    }

    pub(crate) fn permission(self) -> &'static str {
        self.words()[0]
    }

    pub(crate) fn is_topic(self) -> bool {
        self.words()[1] == "topic"
    }

    /// A regular expression for the name, or for the routing key.
    fn name(self) -> String {
        self.words()[2].replace('.', "\\.").replace('…', ".*")
    }

    /// RabbitMQ's text when it is missing.
    pub(crate) fn refusal(self, profile: &str) -> String {
        let words = self.words();
        let resource = match words.as_slice() {
            [_, "topic", key, exchange] => format!("topic '{key}' in exchange '{exchange}' in vhost '/'"),
            [_, kind, name] => format!("{kind} '{name}' in vhost '/'"),
            other => panic!("no need: {other:?}"),
        };
        let permission = if profile == "3.13" { String::new() } else { format!("{} ", words[0]) };
        format!("ACCESS_REFUSED - {permission}access to {resource} refused for user 'u'")
    }
}

fn pattern(source: &str) -> Pattern {
    Pattern::new(source).expect("a regular expression")
}

fn rights_for(permissions: impl Fn(&str) -> Pattern, topics: impl Fn(&str) -> Pattern) -> Rights {
    let topic = TopicRights { exchange: "t".into(), write: topics("write"), read: topics("read") };
    Rights {
        configure: permissions("configure"),
        write: permissions("write"),
        read: permissions("read"),
        topics: vec![topic],
        ..Rights::none()
    }
}

/// Nothing but these.
fn only(needs: &[Need]) -> Rights {
    let names = |permission: &str, is_topic: bool| {
        let of = needs.iter().filter(|need| need.permission() == permission && need.is_topic() == is_topic);
        let names: Vec<String> = of.map(|need| need.name()).collect();
        pattern(&if names.is_empty() { String::new() } else { format!("^({})$", names.join("|")) })
    };
    rights_for(|permission| names(permission, false), |permission| names(permission, true))
}

/// Everything but this.
fn all_but(missing: Need) -> Rights {
    let names = |permission: &str, is_topic: bool| {
        let is_missing = missing.permission() == permission && missing.is_topic() == is_topic;
        pattern(&if is_missing { format!("^(?!{}$)", missing.name()) } else { ".*".to_owned() })
    };
    rights_for(|permission| names(permission, false), |permission| names(permission, true))
}

fn method(class: AMQPClass) -> Command {
    Command::Method(1, Box::new(Method { class_method: (0, 0), class }))
}

fn with_text(argument: &str, value: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert(argument.into(), AMQPValue::LongString(value.into()));
    arguments
}

fn exchange_declare(name: &str, kind: &str, passive: bool, arguments: FieldTable) -> Command {
    let declare = exchange::Declare { exchange: name.into(), kind: kind.into(), passive, arguments, ..exchange::Declare::default() };
    method(AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)))
}

fn exchange_delete(name: &str) -> Command {
    method(AMQPClass::Exchange(exchange::AMQPMethod::Delete(exchange::Delete { exchange: name.into(), ..exchange::Delete::default() })))
}

fn exchange_bind(destination: &str, source: &str, key: &str) -> Command {
    let (destination, source, routing_key) = (destination.into(), source.into(), key.into());
    let bind = exchange::Bind { destination, source, routing_key, ..exchange::Bind::default() };
    method(AMQPClass::Exchange(exchange::AMQPMethod::Bind(bind)))
}

fn exchange_unbind(destination: &str, source: &str, key: &str) -> Command {
    let (destination, source, routing_key) = (destination.into(), source.into(), key.into());
    let unbind = exchange::Unbind { destination, source, routing_key, ..exchange::Unbind::default() };
    method(AMQPClass::Exchange(exchange::AMQPMethod::Unbind(unbind)))
}

pub(crate) fn queue_declare(name: &str, passive: bool, arguments: FieldTable) -> Command {
    let declare = queue::Declare { queue: name.into(), passive, arguments, ..queue::Declare::default() };
    method(AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))
}

pub(crate) fn queue_delete(name: &str) -> Command {
    method(AMQPClass::Queue(queue::AMQPMethod::Delete(queue::Delete { queue: name.into(), ..queue::Delete::default() })))
}

fn queue_purge(name: &str) -> Command {
    method(AMQPClass::Queue(queue::AMQPMethod::Purge(queue::Purge { queue: name.into(), nowait: false })))
}

fn queue_bind(name: &str, exchange: &str, key: &str) -> Command {
    let bind = queue::Bind { queue: name.into(), exchange: exchange.into(), routing_key: key.into(), ..queue::Bind::default() };
    method(AMQPClass::Queue(queue::AMQPMethod::Bind(bind)))
}

fn queue_unbind(name: &str, exchange: &str, key: &str) -> Command {
    let unbind = queue::Unbind { queue: name.into(), exchange: exchange.into(), routing_key: key.into(), ..queue::Unbind::default() };
    method(AMQPClass::Queue(queue::AMQPMethod::Unbind(unbind)))
}

pub(crate) fn basic_get(name: &str) -> Command {
    method(AMQPClass::Basic(basic::AMQPMethod::Get(basic::Get { queue: name.into(), no_ack: true })))
}

pub(crate) fn basic_consume(name: &str) -> Command {
    let consume = basic::Consume { queue: name.into(), no_ack: true, ..basic::Consume::default() };
    method(AMQPClass::Basic(basic::AMQPMethod::Consume(consume)))
}

pub(crate) fn basic_publish(exchange: &str, key: &str) -> Command {
    publish(Message::new(exchange.as_bytes(), key.as_bytes(), &[0, 0], b"message"))
}

/// A publish that names this user, or carries these CC keys.
fn publish_with(exchange: &str, key: &str, flags: u16, property: &[u8]) -> Command {
    publish(Message::new(exchange.as_bytes(), key.as_bytes(), &[&flags.to_be_bytes(), property].concat(), b"message"))
}

fn publish_as(user: &str) -> Command {
    let length = u8::try_from(user.len()).expect("a short name");
    publish_with("", "q", 1 << 4, &[&[length], user.as_bytes()].concat())
}

/// A queue `q` with a message, exchanges `x`, `y` and `t` (of type topic), and what the user is allowed.
pub(crate) fn world(profile: &str, rights: Rights) -> Core {
    let profile = Profile::named(profile).expect("a profile");
    let profile = Profile { transient_nonexcl_queues_denied: false, ..profile };
    let mut core = Core::with(Settings { profile, ..Settings::default() });
    core.connect(ADMINISTRATOR, "guest", Rights::all());
    let nothing = FieldTable::default;
    let prepared = [
        queue_declare("q", false, nothing()),
        exchange_declare("x", "direct", false, nothing()),
        exchange_declare("y", "fanout", false, nothing()),
        exchange_declare("t", "topic", false, nothing()),
        queue_bind("q", "x", "bound"),
        basic_publish("", "q"),
    ];
    for command in prepared {
        assert_eq!(core.command(ADMINISTRATOR, command), None);
    }
    core.connect(USER, "u", rights);
    core
}

/// All that can be seen of what there is.
pub(crate) fn state(core: &Core) -> String {
    format!("{:?} {:?}", core.broker.queue_snapshots(), core.broker.exchange_names())
}

pub(crate) fn tried(core: &mut Core, command: Command) -> Option<String> {
    core.command(USER, command).map(|text| without_generated(&text))
}

pub(crate) type Attempt = fn() -> Command;

/// Every method, and what it needs in the order in which it is looked at.
pub(crate) const METHODS: &[(Attempt, &[Need])] = &[
    (|| exchange_declare("n", "direct", false, FieldTable::default()), &[Need("configure exchange n")]),
    (|| exchange_declare("x", "direct", false, FieldTable::default()), &[Need("configure exchange x")]),
    (
        || exchange_declare("n", "direct", false, with_text("alternate-exchange", "x")),
        &[Need("configure exchange n"), Need("read exchange n"), Need("write exchange x")],
    ),
    (
        || exchange_declare("n", "direct", false, with_text("alternate-exchange", "")),
        &[Need("configure exchange n"), Need("read exchange n"), Need("write exchange amq.default")],
    ),
    (|| exchange_delete("x"), &[Need("configure exchange x")]),
    (|| exchange_delete("missing"), &[Need("configure exchange missing")]),
    (|| exchange_bind("y", "x", "k"), &[Need("write exchange y"), Need("read exchange x")]),
    (|| exchange_unbind("y", "x", "k"), &[Need("write exchange y"), Need("read exchange x")]),
    (|| exchange_unbind("no", "x", "k"), &[Need("write exchange no"), Need("read exchange x")]),
    (|| exchange_bind("y", "t", "a.b"), &[Need("write exchange y"), Need("read exchange t"), Need("read topic a.b t")]),
    (|| exchange_unbind("y", "t", "a.b"), &[Need("write exchange y"), Need("read exchange t"), Need("read topic a.b t")]),
    (|| queue_declare("n", false, FieldTable::default()), &[Need("configure queue n")]),
    (|| queue_declare("q", false, FieldTable::default()), &[Need("configure queue q")]),
    (|| queue_declare("", false, FieldTable::default()), &[Need("configure queue amq.gen-…")]),
    (
        || queue_declare("n", false, with_text("x-dead-letter-exchange", "x")),
        &[Need("configure queue n"), Need("read queue n"), Need("write exchange x")],
    ),
    (
        || queue_declare("n", false, with_text("x-dead-letter-exchange", "")),
        &[Need("configure queue n"), Need("read queue n"), Need("write exchange amq.default")],
    ),
    (|| queue_delete("q"), &[Need("configure queue q")]),
    (|| queue_delete("missing"), &[Need("configure queue missing")]),
    (|| queue_purge("q"), &[Need("read queue q")]),
    (|| queue_bind("q", "x", "k"), &[Need("write queue q"), Need("read exchange x")]),
    (|| queue_unbind("q", "x", "bound"), &[Need("write queue q"), Need("read exchange x")]),
    (|| queue_unbind("no", "x", "bound"), &[Need("write queue no"), Need("read exchange x")]),
    (|| queue_bind("q", "t", "a.b"), &[Need("write queue q"), Need("read exchange t"), Need("read topic a.b t")]),
    (|| queue_unbind("q", "t", "a.b"), &[Need("write queue q"), Need("read exchange t"), Need("read topic a.b t")]),
    (|| basic_get("q"), &[Need("read queue q")]),
    (|| basic_consume("q"), &[Need("read queue q")]),
    (|| basic_publish("x", "bound"), &[Need("write exchange x")]),
    (|| basic_publish("", "q"), &[Need("write exchange amq.default")]),
    (|| basic_publish("t", "a.b"), &[Need("write exchange t"), Need("write topic a.b t")]),
    // Two CC keys: each is a topic, too.
    (
        || publish_with("t", "a", 1 << 13, b"\0\0\0\x14\x02CCA\0\0\0\x0cS\0\0\0\x01bS\0\0\0\x01c"),
        &[Need("write exchange t"), Need("write topic a t"), Need("write topic b t"), Need("write topic c t")],
    ),
    (|| queue_declare("amq.rabbitmq.reply-to", false, FieldTable::default()), &[]),
    (|| queue_declare("amq.rabbitmq.reply-to", true, FieldTable::default()), &[]),
    (|| basic_consume("amq.rabbitmq.reply-to"), &[]),
];

#[test]
fn every_method_with_what_it_needs_is_taken() {
    for (attempt, needs) in METHODS {
        let mut core = world("permissive", only(needs));
        assert_eq!(tried(&mut core, attempt()), None, "{:?} with {needs:?}", attempt());
    }
}

#[test]
fn every_method_without_one_thing_it_needs_is_refused_and_does_nothing() {
    for profile in ["3.13", "4.0", "permissive"] {
        for (attempt, needs) in METHODS {
            for missing in *needs {
                let mut core = world(profile, all_but(*missing));
                let before = state(&core);
                assert_eq!(tried(&mut core, attempt()), Some(missing.refusal(profile)), "{:?}, {profile}", attempt());
                assert_eq!(state(&core), before, "{:?}", attempt());
            }
        }
    }
}

#[test]
fn of_several_things_missing_the_first_is_named() {
    for (attempt, needs) in METHODS {
        for granted in 0..needs.len() {
            let mut core = world("permissive", only(&needs[..granted]));
            assert_eq!(tried(&mut core, attempt()), Some(needs[granted].refusal("permissive")), "{:?}", attempt());
        }
    }
}

/// Gotcha 66, and what comes before it: names that cannot be, whoever asks.
#[test]
fn permission_comes_before_existence() {
    let nothing = FieldTable::default;
    let cases: [(Command, &str, &str); 9] = [
        (queue_purge("no"), "read access to queue 'no'", "NOT_FOUND - no queue 'no' in vhost '/'"),
        (basic_get("no"), "read access to queue 'no'", "NOT_FOUND - no queue 'no' in vhost '/'"),
        (basic_consume("no"), "read access to queue 'no'", "NOT_FOUND - no queue 'no' in vhost '/'"),
        (queue_bind("no", "x", ""), "write access to queue 'no'", "NOT_FOUND - no queue 'no' in vhost '/'"),
        (queue_bind("no", "", ""), "write access to queue 'no'", "ACCESS_REFUSED - operation not permitted on the default exchange"),
        (
            exchange_bind("", "x", ""),
            "write access to exchange 'amq.default'",
            "ACCESS_REFUSED - operation not permitted on the default exchange",
        ),
        (basic_publish("no", ""), "write access to exchange 'no'", "NOT_FOUND - no exchange 'no' in vhost '/'"),
        (
            exchange_declare("amq.no", "direct", false, nothing()),
            "configure access to exchange 'amq.no'",
            "ACCESS_REFUSED - exchange name 'amq.no' contains reserved prefix 'amq.*'",
        ),
        (
            queue_declare("q", false, with_text("x-queue-mode", "wrong")),
            "configure access to queue 'q'",
            "PRECONDITION_FAILED - invalid arg 'x-queue-mode' for queue 'q' in vhost '/': invalid_queue_mode",
        ),
    ];
    for (command, access, otherwise) in cases {
        let refused = tried(&mut world("permissive", Rights::none()), again(&command));
        let resource = refused.as_deref().and_then(|text| text.strip_prefix("ACCESS_REFUSED - "));
        assert!(resource.is_some_and(|text| text.starts_with(access)), "{refused:?} instead of {access}");
        let mut core = world("permissive", Rights::all());
        if otherwise.contains("x-queue-mode") {
            assert_eq!(core.command(ADMINISTRATOR, queue_delete("q")), None);
        }
        assert_eq!(tried(&mut core, command).as_deref(), Some(otherwise));
    }
    for (command, text) in [
        (queue_declare("amq.no", false, nothing()), "ACCESS_REFUSED - queue name 'amq.no' contains reserved prefix 'amq.*'"),
        (exchange_delete("amq.topic"), "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed"),
        (exchange_delete(""), "ACCESS_REFUSED - operation not permitted on the default exchange"),
        (exchange_declare("", "direct", false, nothing()), "ACCESS_REFUSED - operation not permitted on the default exchange"),
    ] {
        assert_eq!(tried(&mut world("permissive", Rights::none()), command).as_deref(), Some(text));
    }
}

pub(crate) fn again(command: &Command) -> Command {
    match command {
        Command::Method(channel, method) => {
            Command::Method(*channel, Box::new(Method { class_method: method.class_method, class: method.class.clone() }))
        }
        Command::Publish(_, sent) => publish(sent.message.clone()),
        other => panic!("neither a method nor a publish: {other:?}"),
    }
}

/// V9.
#[test]
fn passive_declares_need_any_permission_or_none() {
    let attempts: [(Attempt, &str, &str); 4] = [
        (|| queue_declare("q", true, FieldTable::default()), "queue 'q'", ""),
        (|| queue_declare("no", true, FieldTable::default()), "queue 'no'", "NOT_FOUND - no queue 'no' in vhost '/'"),
        (|| exchange_declare("x", "direct", true, FieldTable::default()), "exchange 'x'", ""),
        (|| exchange_declare("no", "direct", true, FieldTable::default()), "exchange 'no'", "NOT_FOUND - no exchange 'no' in vhost '/'"),
    ];
    for (attempt, resource, existence) in attempts {
        let existence = (!existence.is_empty()).then(|| existence.to_owned());
        for profile in ["3.13", "4.0", "4.1"] {
            assert_eq!(tried(&mut world(profile, Rights::none()), attempt()), existence, "{profile}");
        }
        for profile in ["4.3", "permissive"] {
            let refusal = format!("ACCESS_REFUSED - configure access to {resource} in vhost '/' refused for user 'u'");
            assert_eq!(tried(&mut world(profile, Rights::none()), attempt()), Some(refusal), "{profile}");
            let name = resource.split('\'').nth(1).expect("a name");
            let one = || pattern(&format!("^{name}$"));
            let any = [
                Rights { configure: one(), ..Rights::none() },
                Rights { write: one(), ..Rights::none() },
                Rights { read: one(), ..Rights::none() },
            ];
            for rights in any {
                assert_eq!(tried(&mut world(profile, rights), attempt()), existence, "{profile}");
            }
        }
    }
}

/// Behaviour P7: the permission is about exchanges of type topic, by name; others take any key, and so do those that are not named.
#[test]
fn topic_permissions_are_for_topic_exchanges_that_are_named() {
    let of = |exchange: &str| TopicRights { exchange: exchange.into(), write: pattern("^w"), read: pattern("^r") };
    let rights = Rights { topics: vec![of("t"), of("x"), of("")], ..Rights::all() };
    let mut core = world("permissive", rights);
    for exchange in ["x", "", "amq.topic"] {
        assert_eq!(tried(&mut core, basic_publish(exchange, "other")), None, "{exchange}");
    }
    assert_eq!(tried(&mut core, queue_bind("q", "amq.topic", "other")), None);
    assert_eq!(tried(&mut core, basic_publish("t", "w.r")), None);
    assert_eq!(tried(&mut core, queue_bind("q", "t", "r.w")), None);
    let refusal = "ACCESS_REFUSED - write access to topic 'r.w' in exchange 't' in vhost '/' refused for user 'u'";
    assert_eq!(tried(&mut core, basic_publish("t", "r.w")).as_deref(), Some(refusal));
}

/// Before the rights change, the route of the channel is known already.
#[test]
fn changed_rights_count_at_once_for_live_connections() {
    let mut core = world("permissive", Rights::all());
    for _ in 0..3 {
        assert_eq!(tried(&mut core, basic_publish("x", "bound")), None);
    }
    let everything_but_x = Arc::new(all_but(Need("write exchange x")));
    core.handle(Input::SetRights { user: "somebody else", rights: Arc::clone(&everything_but_x) });
    assert_eq!(tried(&mut core, basic_publish("x", "bound")), None);
    core.handle(Input::SetRights { user: "u", rights: everything_but_x });
    let refusal = Some("ACCESS_REFUSED - write access to exchange 'x' in vhost '/' refused for user 'u'".to_owned());
    assert_eq!(tried(&mut core, basic_publish("x", "bound")), refusal);
    assert_eq!(core.broker.queue_snapshots()[0].ready, 5, "the message of the start and four more");
    assert_eq!(core.command(ADMINISTRATOR, basic_publish("x", "bound")), None, "another user's rights stay");

    core.handle(Input::SetRights { user: "u", rights: Arc::new(Rights::all()) });
    assert_eq!(core.open(USER, 2), None);
    let on_2 = |command| match command {
        Command::Publish(_, publish) => Command::Publish(2, publish),
        other => other,
    };
    assert_eq!(tried(&mut core, on_2(basic_publish("x", "bound"))), None);
    assert_eq!(core.broker.queue_snapshots()[0].ready, 7);
}

/// Topics are checked for every key anew, though the exchange stays the same.
#[test]
fn a_known_route_does_not_open_other_topics() {
    let mut core = world("permissive", only(&[Need("write exchange t"), Need("write topic a t")]));
    for _ in 0..2 {
        assert_eq!(tried(&mut core, basic_publish("t", "a")), None);
    }
    assert_eq!(tried(&mut core, basic_publish("t", "b")), Some(Need("write topic b t").refusal("permissive")));
}

/// Behaviour B4.
#[test]
fn an_impersonator_may_name_another_user() {
    let mut core = world("permissive", Rights::all());
    assert_eq!(tried(&mut core, publish_as("u")), None);
    core.handle(Input::SetRights { user: "u", rights: Arc::new(Rights { impersonator: true, ..Rights::all() }) });
    assert_eq!(tried(&mut core, publish_as("bob")), None);
    core.handle(Input::SetRights { user: "u", rights: Arc::new(Rights::all()) });
    let refusal = "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'u'";
    assert_eq!(tried(&mut core, publish_as("bob")).as_deref(), Some(refusal));
}

/// Behaviour P8, Q27.
#[test]
fn queues_above_the_limit_are_refused() {
    let mut core = world("permissive", Rights::all());
    core.handle(Input::SetLimits(Limits { max_queues: Some(2), ..Limits::default() }));
    let declare = |name| queue_declare(name, false, FieldTable::default());
    assert_eq!(tried(&mut core, declare("second")), None);
    assert_eq!(tried(&mut core, declare("second")), None, "it is there already");
    let refused = |core: &mut Core, command| {
        let text = tried(core, command);
        core.handle(Input::Disconnected(USER));
        core.connect(USER, "u", Rights::all());
        text
    };
    let third = "PRECONDITION_FAILED - cannot declare queue 'third': queue limit in vhost '/' (2) is reached";
    assert_eq!(refused(&mut core, declare("third")).as_deref(), Some(third));
    let generated = "PRECONDITION_FAILED - cannot declare queue 'amq.gen-…': queue limit in vhost '/' (2) is reached";
    assert_eq!(refused(&mut core, declare("")).as_deref(), Some(generated));
    assert_eq!(tried(&mut core, queue_delete("second")), None);
    assert_eq!(tried(&mut core, declare("third")), None);
    core.handle(Input::SetLimits(Limits { max_queues: Some(0), ..Limits::default() }));
    let zero = "PRECONDITION_FAILED - cannot declare queue 'fourth': queue limit in vhost '/' (0) is reached";
    assert_eq!(refused(&mut core, declare("fourth")).as_deref(), Some(zero));
    core.handle(Input::SetLimits(Limits::default()));
    assert_eq!(tried(&mut core, declare("fourth")), None);
}

/// Behaviour P10: purging is something that a stream refuses.
#[test]
fn the_default_queue_type_of_the_virtual_host_goes_before_the_nodes() {
    let refused = "NOT_IMPLEMENTED - queue.purge not supported by stream queues queue 'durable' in vhost '/'";
    for (of_node, of_vhost, expected) in [
        (QueueType::Classic, Some(QueueType::Stream), Some(refused)),
        (QueueType::Stream, None, Some(refused)),
        (QueueType::Stream, Some(QueueType::Classic), None),
    ] {
        let mut core = Core::with(Settings { default_queue_type: of_node, ..Settings::default() });
        core.connect(USER, "u", Rights::all());
        core.handle(Input::SetLimits(Limits { default_queue_type: of_vhost, ..Limits::default() }));
        assert_eq!(core.queue(USER, "durable", FieldTable::default()), None);
        assert_eq!(tried(&mut core, queue_purge("durable")).as_deref(), expected, "{of_node:?} {of_vhost:?}");
    }
}

/// Behaviour P9: whichever method comes first on a channel.
#[test]
fn a_user_has_only_so_many_channels_on_all_connections() {
    let rights = || Rights { max_channels: Some(3), ..Rights::all() };
    let mut core = world("permissive", rights());
    let other = ConnectionId(2);
    core.connect(other, "u", rights());
    assert_eq!(core.open(USER, 2), None);
    assert_eq!(core.open(ADMINISTRATOR, 2), None, "another user's channels do not count");
    let refusal = "NOT_ALLOWED - number of channels opened for user 'u' has reached the maximum allowed user limit of (3)";
    assert_eq!(core.open(other, 2).as_deref(), Some(refusal));
    // The connection is closed, and its channel does not count any more.
    assert_eq!(core.open(USER, 3), None);
    assert_eq!(core.open(USER, 4).as_deref(), Some(refusal));
    let refused = core.connect(ConnectionId(3), "u", Rights { max_channels: Some(0), ..Rights::all() });
    let none = "NOT_ALLOWED - number of channels opened for user 'u' has reached the maximum allowed user limit of (0)";
    assert_eq!(refused.as_deref(), Some(none));
}

/// Behaviour C26: what belonged to the connections is gone.
#[test]
fn an_administrator_closes_connections() {
    let cases = [(Connections::All, 3), (Connections::Of("u"), 2), (Connections::One(USER), 1), (Connections::Of("nobody"), 0)];
    for (which, expected) in cases {
        let mut core = world("permissive", Rights::all());
        core.connect(ConnectionId(2), "u", Rights::all());
        let exclusive = queue::Declare { queue: "mine".into(), exclusive: true, ..queue::Declare::default() };
        assert_eq!(core.method(USER, AMQPClass::Queue(queue::AMQPMethod::Declare(exclusive))), None);
        core.handle(Input::CloseConnections { which, reason: "because" });
        let closed = core.refusals();
        assert_eq!(closed.len(), expected, "{which:?}");
        for refusal in &closed {
            assert_eq!((refusal.channel, refusal.reply_text.as_str()), (0, "CONNECTION_FORCED - because"));
        }
        let user_is_closed = closed.iter().any(|refusal| refusal.connection == USER);
        assert_eq!(user_is_closed, expected > 0);
        let is_there = core.broker.queue_snapshots().iter().any(|queue| queue.name == "mine");
        assert_eq!(is_there, !user_is_closed, "{which:?}");
        core.handle(Input::CloseConnections { which, reason: "again" });
        assert_eq!(core.refusals().len(), 0, "they are closing already");
    }
}
