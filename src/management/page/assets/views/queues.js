// Queues and streams: lists of them, and declaring one.

import * as api from "../api.js";
import { form, note, object } from "../dialog.js";
import { badge, button, h } from "../dom.js";
import { ago, bytes, compact, count, rate, value } from "../format.js";
import { go, to } from "../router.js";
import { local, remote, table } from "../table.js";
import { openQueue } from "./queue.js";

// What arguments are called in short.
const SHORT = {
  "x-message-ttl": "TTL", "x-expires": "expires", "x-max-length": "max", "x-max-length-bytes": "max bytes", "x-overflow": "overflow", "x-dead-letter-exchange": "DLX",
  "x-dead-letter-routing-key": "DLK", "x-single-active-consumer": "SAC", "x-max-priority": "priorities", "x-delivery-limit": "delivery limit", "x-queue-mode": "mode", "x-max-age": "max age",
};

// The features of a queue, with what they are set to in their titles.
export function features(queue) {
  const declared = Object.entries(queue.arguments ?? {}).filter(([name]) => name !== "x-queue-type");
  return [
    queue.type && queue.type !== "classic" && badge(queue.type, "accent"), queue.durable ? badge("durable") : badge("transient", "warn", "gone after a restart"),
    queue.auto_delete && badge("auto-delete"), queue.exclusive && badge("exclusive"),
    declared.map(([name, set]) => badge(SHORT[name] ?? name, "", `${name}: ${value(set)}`)),
    queue.policy && badge(`policy ${queue.policy}`, "accent"), queue.operator_policy && badge(`operator policy ${queue.operator_policy}`, "accent"),
  ];
}

const per = (name) => (row) => rate(row.message_stats?.[`${name}_details`]?.rate ?? 0);

const NAME = { title: "Name", sort: "name", class: "main", cell: (row) => h("a", { href: to("queues", row.vhost, row.name) }, row.name) };
const VHOST = { title: "Virtual host", sort: "vhost", cell: (row) => row.vhost };

export function open(args, app) {
  if (args.length === 2) return openQueue(args, app);
  const all = table({
    label: "queues", sort: "name", key: (row) => `${row.vhost}/${row.name}`, open: (row) => to("queues", row.vhost, row.name), none: "There is no queue.",
    source: remote(() => app.listOf("queues")),
    columns: [
      NAME, VHOST,
      { title: "Features", class: "badges", cell: features },
      { title: "Ready", sort: "messages_ready", numeric: true, cell: (row) => compact(row.messages_ready) },
      { title: "Unacked", sort: "messages_unacknowledged", numeric: true, cell: (row) => compact(row.messages_unacknowledged) },
      { title: "Bytes", sort: "message_bytes", numeric: true, cell: (row) => bytes(row.message_bytes) },
      { title: "Consumers", sort: "consumers", numeric: true, cell: (row) => count(row.consumers) },
      { title: "In", sort: "message_stats.publish_details.rate", numeric: true, cell: per("publish") },
      { title: "Out", sort: "message_stats.deliver_get_details.rate", numeric: true, cell: per("deliver_get") },
      { title: "Ack", sort: "message_stats.ack_details.rate", numeric: true, cell: per("ack") },
    ],
  });
  const heading = h("div", { class: "heading" }, h("h1", null, "Queues"), button("Declare a queue…", () => declare(app), "primary"));
  return { heading, element: all.element, refresh: all.refresh };
}

export function openStreams(_, app) {
  const streams = async () => (await api.get(app.listOf("queues"))).filter((queue) => queue.type === "stream");
  const all = table({
    label: "streams", sort: "name", key: (row) => `${row.vhost}/${row.name}`, open: (row) => to("queues", row.vhost, row.name),
    none: "There is no stream. Declare a queue of type stream to have one.", source: local(streams, (row) => row.name),
    columns: [
      NAME, VHOST,
      { title: "Messages", sort: "messages", numeric: true, cell: (row) => compact(row.messages) },
      { title: "First offset", sort: "first_offset", numeric: true, cell: (row) => count(row.first_offset) },
      { title: "Last offset", sort: "committed_offset", numeric: true, cell: (row) => (row.messages ? count(row.committed_offset) : "–") },
      { title: "Segments", sort: "segments", numeric: true, cell: (row) => count(row.segments) },
      { title: "Bytes", sort: "message_bytes", numeric: true, cell: (row) => bytes(row.message_bytes) },
      { title: "Readers", sort: "consumers", numeric: true, cell: (row) => count(row.consumers) },
      { title: "Kept", cell: retention },
      { title: "In", sort: "message_stats.publish_details.rate", numeric: true, cell: per("publish") },
      { title: "Last used", sort: "idle_since", cell: (row) => ago(row.idle_since) },
    ],
  });
  const heading = h("div", { class: "heading" }, h("h1", null, "Streams"), button("Declare a stream…", () => declare(app, "stream"), "primary"));
  return { heading, element: all.element, refresh: all.refresh };
}

function retention(stream) {
  const set = { ...stream.effective_policy_definition, ...stream.arguments };
  const age = set["x-max-age"] ?? set["max-age"];
  const most = set["x-max-length-bytes"] ?? set["max-length-bytes"];
  return [age, most && bytes(most)].filter(Boolean).join(", ") || "for ever";
}

function declare(app, type = "classic") {
  const fields = [
    { name: "vhost", label: "Virtual host", options: app.vhosts, value: app.vhost || app.vhosts[0] },
    { name: "name", label: "Name", required: true },
    { name: "type", label: "Type", options: ["classic", "quorum", "stream"], value: type },
    { name: "durable", label: "Survives a restart", type: "check", value: true },
    { name: "auto_delete", label: "Deleted when its last consumer is gone", type: "check" },
    { name: "ttl", label: "Message TTL", hint: "milliseconds", type: "number", min: 0 },
    { name: "length", label: "Most messages", type: "number", min: 0 },
    { name: "dlx", label: "Dead-letter exchange" },
    { name: "dlk", label: "Dead-letter routing key" },
    { name: "more", label: "More arguments", hint: "JSON, such as {\"x-max-priority\": 5}", type: "area" },
  ];
  return form("Declare a queue", fields, "Declare", async (given) => {
    const set = { ...object(given.more, "More arguments"), "x-queue-type": given.type };
    if (given.ttl) set["x-message-ttl"] = Number(given.ttl);
    if (given.length) set["x-max-length"] = Number(given.length);
    if (given.dlx) set["x-dead-letter-exchange"] = given.dlx;
    if (given.dlk) set["x-dead-letter-routing-key"] = given.dlk;
    await api.put(`queues/${api.path(given.vhost, given.name)}`, { durable: given.durable, auto_delete: given.auto_delete, arguments: set });
    note(`Declared ${given.name}.`);
    go("queues", given.vhost, given.name);
  });
}
