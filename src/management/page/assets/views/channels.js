// Channels: how they publish and consume, what they hold.

import * as api from "../api.js";
import { lineChart } from "../charts.js";
import { badge, facts, h, replace, section } from "../dom.js";
import { ago, compact, count, rate } from "../format.js";
import * as history from "../history.js";
import { to } from "../router.js";
import { local, remote, table } from "../table.js";
import { breakdown } from "./breakdown.js";

export function open(args, app) {
  return args.length ? one(args[0]) : list(app);
}

function modes(channel) {
  return [channel.confirm && badge("confirms", "", "publishes are confirmed"), channel.transactional && badge("transactional"), !channel.confirm && !channel.transactional && "–"];
}

const per = (name) => (row) => rate(row.message_stats?.[`${name}_details`]?.rate ?? 0);

export function columnsOfChannels() {
  return [
    { title: "Name", sort: "name", class: "main", cell: (row) => h("a", { href: to("channels", row.name) }, row.name) },
    { title: "User", sort: "user", cell: (row) => row.user },
    { title: "Mode", cell: modes },
    { title: "Consumers", sort: "consumer_count", numeric: true, cell: (row) => count(row.consumer_count) },
    { title: "Prefetch", sort: "prefetch_count", numeric: true, cell: (row) => (row.prefetch_count || row.global_prefetch_count ? `${row.prefetch_count || "∞"}${row.global_prefetch_count ? ` (${row.global_prefetch_count} in all)` : ""}` : "∞") },
    { title: "Unacked", sort: "messages_unacknowledged", numeric: true, cell: (row) => count(row.messages_unacknowledged) },
    { title: "Unconfirmed", sort: "messages_unconfirmed", numeric: true, cell: (row) => count(row.messages_unconfirmed) },
    { title: "Publish", sort: "message_stats.publish_details.rate", numeric: true, cell: per("publish") },
    { title: "Deliver", sort: "message_stats.deliver_get_details.rate", numeric: true, cell: per("deliver_get") },
    { title: "Ack", sort: "message_stats.ack_details.rate", numeric: true, cell: per("ack") },
  ];
}

function list(app) {
  return table({
    label: "channels", sort: "name", key: (row) => row.name, open: (row) => to("channels", row.name), none: "No channel is open.",
    source: remote(() => app.listOf("channels")), columns: columnsOfChannels(),
  });
}

export function columnsOfConsumers() {
  return [
    { title: "Tag", class: "main", sort: "consumer_tag", cell: (row) => row.consumer_tag },
    { title: "Queue", sort: "queue.name", cell: (row) => h("a", { href: to("queues", row.queue.vhost, row.queue.name) }, row.queue.name) },
    { title: "Channel", sort: "channel_details.name", cell: (row) => h("a", { href: to("channels", row.channel_details.name) }, row.channel_details.name) },
    { title: "User", sort: "channel_details.user", cell: (row) => row.channel_details.user ?? "–" },
    { title: "Acks", cell: (row) => [row.ack_required ? badge("manual") : badge("automatic", "warn"), row.exclusive && badge("exclusive")] },
    { title: "Prefetch", sort: "prefetch_count", numeric: true, cell: (row) => row.prefetch_count || "∞" },
    { title: "State", cell: (row) => badge((row.activity_status ?? "up").replace("_", " "), row.active === false ? "warn" : "good") },
  ];
}

function one(name) {
  const details = h("div");
  const chart = lineChart("Messages per second", ["publish", "deliver", "ack"], (n) => compact(Math.round(n * 10) / 10));
  const parts = breakdown();
  let channel = {};
  const consumers = table({
    label: "consumers", key: (row) => row.consumer_tag, none: "It has no consumer.",
    source: local(async () => channel.consumer_details ?? [], (row) => `${row.consumer_tag} ${row.queue.name}`), columns: columnsOfConsumers(),
  });
  const element = h("div", null, section("Channel", details), h("div", { class: "charts" }, chart.element), section("Consumers", consumers.element), parts.element);

  async function refresh() {
    channel = await api.get(`channels/${api.path(name)}`);
    const now = (what) => channel.message_stats?.[`${what}_details`]?.rate ?? 0;
    history.add(`channel ${name}`, { publish: now("publish"), deliver: now("deliver_get"), ack: now("ack") });
    chart.update(history.samples(`channel ${name}`));
    const connection = channel.connection_details?.name;
    replace(details, facts([
      ["Connection", connection && h("a", { href: to("connections", connection) }, connection)], ["User", channel.user], ["Virtual host", channel.vhost],
      ["Mode", modes(channel)], ["Prefetch of each consumer", channel.prefetch_count || "unlimited"], ["Prefetch of all", channel.global_prefetch_count || "unlimited"],
      ["Unacked", count(channel.messages_unacknowledged)], ["Unconfirmed", count(channel.messages_unconfirmed)], ["Uncommitted", count(channel.messages_uncommitted)],
      ["Idle since", ago(channel.idle_since)],
    ]));
    parts.ofChannel(channel);
    await consumers.refresh();
  }
  return { title: name, element, refresh };
}
