//! The keys that are about what the broker holds and whom it lets in: limits, the default user, queues.

use super::super::values::{boolean, bytes, factor, limit, number, overflow, pattern, queue_type, secret, share, size};
use super::super::{DiskFreeLimit, MemoryWatermark};
use super::{Key, alias, infinite, key, maybe, member, named, one, put, some, take};
use crate::broker::queue::effective::Overflow;

pub(super) const LIMITS: &[Key] = &[
    alias("max_connections", "connection_max", |c, _, v| put(&mut c.connection_max, limit(v))),
    key(
        "connection_max",
        "How many connections the node takes, or `infinity`.",
        |c, _, v| put(&mut c.connection_max, limit(v)),
        |c| infinite(c.connection_max),
    ),
    key(
        "channel_max_per_node",
        "How many channels the node takes, or `infinity`.",
        |c, _, v| put(&mut c.channel_max_per_node, limit(v)),
        |c| infinite(c.channel_max_per_node),
    ),
    key(
        "consumer_max_per_channel",
        "How many consumers a channel may have, or `infinity`.",
        |c, _, v| put(&mut c.consumer_max_per_channel, limit(v)),
        |c| infinite(c.consumer_max_per_channel),
    ),
    key(
        "vhost_max",
        "How many virtual hosts there may be, or `infinity`.",
        |c, _, v| put(&mut c.vhost_max, limit(v)),
        |c| infinite(c.vhost_max),
    ),
    key(
        "max_message_size",
        "Larger messages are refused, in bytes; the profile's limit where nothing is said: 16 MiB, with `3.13` 128 MiB.",
        |c, _, v| some(&mut c.max_message_size, bytes(v)),
        |c| maybe(c.max_message_size),
    ),
    key(
        "outbox_high",
        "Bytes that may wait for one connection's socket before its consumers are given no more.",
        |c, _, v| put(&mut c.outbox_high, size(v)),
        |c| one(c.outbox_high),
    ),
    key(
        "total_memory_available_override_value",
        "Bytes that count as the machine's memory; what it has, or its control group, where nothing is said.",
        |c, _, v| some(&mut c.total_memory, bytes(v)),
        |c| maybe(c.total_memory),
    ),
    key(
        "vm_memory_high_watermark.relative",
        "Above this share of the machine's memory in messages, publishers are blocked.",
        |c, _, v| put(&mut c.memory_watermark, share(v).map(MemoryWatermark::Relative)),
        |c| match c.memory_watermark {
            MemoryWatermark::Relative(share) => one(share),
            MemoryWatermark::Absolute(_) => Vec::new(),
        },
    ),
    key(
        "vm_memory_high_watermark.absolute",
        "The same as an amount of bytes. It goes before the share.",
        |c, _, v| put(&mut c.memory_watermark, bytes(v).map(MemoryWatermark::Absolute)),
        |c| match c.memory_watermark {
            MemoryWatermark::Absolute(bytes) => one(bytes),
            MemoryWatermark::Relative(_) => Vec::new(),
        },
    ),
    key(
        "vm_memory_high_watermark_paging_ratio",
        "Above this share of that, transient messages are put on the disk.",
        |c, _, v| put(&mut c.paging_ratio, share(v)),
        |c| one(c.paging_ratio),
    ),
    key(
        "disk_free_limit.relative",
        "Below this much free room on the disk, as a multiple of the machine's memory, publishers are blocked.",
        |c, _, v| put(&mut c.disk_free_limit, factor(v).map(DiskFreeLimit::Relative)),
        |c| match c.disk_free_limit {
            DiskFreeLimit::Relative(factor) => one(factor),
            DiskFreeLimit::Absolute(_) => Vec::new(),
        },
    ),
    key(
        "disk_free_limit.absolute",
        "The same as an amount of bytes. It goes before the multiple.",
        |c, _, v| put(&mut c.disk_free_limit, bytes(v).map(DiskFreeLimit::Absolute)),
        |c| match c.disk_free_limit {
            DiskFreeLimit::Absolute(bytes) => one(bytes),
            DiskFreeLimit::Relative(_) => Vec::new(),
        },
    ),
];

pub(super) const USERS: &[Key] = &[
    key("default_user", "The user that exists at the first start.", |c, _, v| take(&mut c.default_user, v), |c| one(&c.default_user)),
    Key { secret: true, ..key("default_pass", "Its password.", |c, _, v| put(&mut c.default_pass, secret(v)), |c| one(&c.default_pass)) },
    key(
        "default_vhost",
        "The virtual host that exists at the first start.",
        |c, _, v| take(&mut c.default_vhost, v),
        |c| one(&c.default_vhost),
    ),
    key(
        "default_user_tags.$tag",
        "Whether the user has the tag.",
        |c, tag, v| member(&mut c.default_user_tags, tag, v),
        |c| {
            let tags = named(c.default_user_tags.iter().map(|tag| (tag, true)));
            if tags.is_empty() { vec![("administrator".to_owned(), "false".to_owned())] } else { tags }
        },
    )
    .replacing(|c| c.default_user_tags.clear()),
    key(
        "default_permissions.configure",
        "What it may configure in that virtual host: a regular expression of names.",
        |c, _, v| put(&mut c.default_permissions.configure, pattern(v)),
        |c| one(&c.default_permissions.configure),
    ),
    key(
        "default_permissions.read",
        "What it may read.",
        |c, _, v| put(&mut c.default_permissions.read, pattern(v)),
        |c| one(&c.default_permissions.read),
    ),
    key(
        "default_permissions.write",
        "What it may write.",
        |c, _, v| put(&mut c.default_permissions.write, pattern(v)),
        |c| one(&c.default_permissions.write),
    ),
    key(
        "anonymous_login_user",
        "Whom ANONYMOUS logs in, if there is such a user with the password below; `none`: nobody.",
        |c, _, v| take(&mut c.anonymous_login_user, (v != "none").then(|| v.to_owned())),
        |c| one(c.anonymous_login_user.as_deref().unwrap_or("none")),
    ),
    Key {
        secret: true,
        ..key(
            "anonymous_login_pass",
            "The password that this user has to have.",
            |c, _, v| put(&mut c.anonymous_login_pass, secret(v)),
            |c| one(&c.anonymous_login_pass),
        )
    },
    key(
        "loopback_users.$user",
        "Whether the user may log in from this machine only.",
        |c, user, v| member(&mut c.loopback_users, user, v),
        |c| named(c.loopback_users.iter().map(|user| (user, true))),
    )
    .replacing(|c| c.loopback_users.clear()),
    key(
        "loopback_users",
        "`none`: every user may log in from anywhere.",
        |c, _, v| {
            c.loopback_users.clear();
            if v == "none" { Ok(()) } else { Err(format!("'{v}' is not none")) }
        },
        |c| if c.loopback_users.is_empty() { one("none") } else { Vec::new() },
    ),
];

pub(super) const QUEUES: &[Key] = &[
    key(
        "default_queue_type",
        "The type of queues that are declared without x-queue-type, where they can be of that type: `classic`, `quorum` or `stream`.",
        |c, _, v| put(&mut c.default_queue_type, queue_type(v)),
        |c| one(c.default_queue_type.name()),
    ),
    key(
        "default_max_length",
        "The bound of every queue that is declared without one, in messages.",
        |c, _, v| some(&mut c.default_max_length, number(v)),
        |c| maybe(c.default_max_length),
    ),
    key(
        "default_max_length_bytes",
        "The same in bytes.",
        |c, _, v| some(&mut c.default_max_length_bytes, bytes(v)),
        |c| maybe(c.default_max_length_bytes),
    ),
    key(
        "default_overflow",
        "What happens at a bound when the declaration does not say: `drop-head` or `reject-publish`.",
        |c, _, v| put(&mut c.default_overflow, overflow(v)),
        |c| match c.default_overflow {
            Overflow::RejectPublish => one("reject-publish"),
            _ => one("drop-head"),
        },
    ),
    key(
        "consumer_timeout",
        "How long a delivery may wait for its acknowledgement, in milliseconds, or `infinity`. Over quorum queues, and with \
         `3.13` to `4.1` over classic queues, too.",
        |c, _, v| put(&mut c.consumer_timeout_ms, limit(v)),
        |c| infinite(c.consumer_timeout_ms),
    ),
    key(
        "tracing",
        "Whether a copy of every message that is published or delivered goes to amq.rabbitmq.trace.",
        |c, _, v| put(&mut c.tracing, boolean(v)),
        |c| one(c.tracing),
    ),
    key(
        "event_exchange",
        "Whether the default virtual host has amq.rabbitmq.event.",
        |c, _, v| put(&mut c.event_exchange, boolean(v)),
        |c| one(c.event_exchange),
    ),
];
