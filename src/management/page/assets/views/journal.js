// The journal of a broker that was started for tests: what has become of each message, and one message's story.

import * as api from "../api.js";
import { badge, empty, h, replace } from "../dom.js";
import { count, exchangeName } from "../format.js";
import { to } from "../router.js";
import { local, table } from "../table.js";

// Events that are looked at: the last ones.
const LAST = 2000;
const BAD = ["dropped", "unroutable", "returned", "nacked-to-publisher", "rejected", "nacked"];
const GOOD = ["acked", "confirmed"];
const WARN = ["expired", "dead-lettered", "held", "requeued"];

export function open(args, app) {
  return args.length ? story(args[0]) : list(app);
}

function kind(event) {
  if (BAD.includes(event)) return "bad";
  if (GOOD.includes(event)) return "good";
  return WARN.includes(event) ? "warn" : "";
}

// To the millisecond: much may happen in a second.
function time(ms) {
  return new Date(ms).toISOString().slice(11, 23);
}

function list(app) {
  async function rows() {
    const { next } = (await api.get("test")).journal;
    const vhost = app.vhost ? `&vhost=${encodeURIComponent(app.vhost)}` : "";
    return (await api.get(`test/journal?since=${Math.max(0, next - LAST)}${vhost}`)).events;
  }
  const queues = (row) => row.queue ?? (row.queues ?? []).join(", ");
  const text = (row) => [row.event, queues(row), row.exchange, row.routing_key, row.connection, row.reason, row.properties?.message_id, row.properties?.correlation_id].join(" ");
  const shown = table({
    label: "events", sort: "seq", reverse: true, key: (row) => row.seq, none: "Nothing has happened to any message.",
    open: (row) => (row.message === undefined ? to("journal") : to("journal", String(row.message))),
    source: local(rows, text),
    columns: [
      { title: "#", sort: "seq", numeric: true, cell: (row) => count(row.seq) },
      { title: "Time", sort: "time", cell: (row) => time(row.time) },
      { title: "Event", sort: "event", class: "main", cell: (row) => [badge(row.event, kind(row.event)), row.count && ` ${count(row.count)} messages`] },
      { title: "Message", sort: "message", numeric: true, cell: (row) => (row.message === undefined ? "–" : h("a", { href: to("journal", String(row.message)) }, row.message)) },
      { title: "Queue", sort: "queue", cell: (row) => queues(row) || "–" },
      { title: "Exchange", sort: "exchange", cell: (row) => (row.exchange === undefined ? "–" : exchangeName(row.exchange)) },
      { title: "Routing key", sort: "routing_key", cell: (row) => row.routing_key ?? "–" },
      { title: "Client", sort: "connection", cell: (row) => (row.connection ? `${row.connection} (${row.channel})` : "–") },
      { title: "Reason", sort: "reason", cell: (row) => row.reason ?? "–" },
    ],
  });
  const hint = h("p", { class: "hint" }, `The last ${count(LAST)} events. A message opens as its story.`);
  return { title: "Journal", element: h("div", null, hint, shown.element), refresh: shown.refresh };
}

function story(id) {
  const about = h("p", { class: "hint" });
  const steps = h("tbody");
  const head = ["Time", "After", "Event", "What happened"].map((title) => h("th", { scope: "col" }, title));
  const element = h("div", { class: "table" }, about, h("table", { class: "rows", "aria-label": "steps" }, h("thead", null, h("tr", null, head)), steps),
    h("p", null, h("a", { href: to("journal") }, "All events")));

  async function refresh() {
    const told = await api.maybe(`test/journal/story/${encodeURIComponent(id)}?format=json`, null);
    if (!told) return replace(element, empty("The journal has no such message any more."));
    replace(about, told.title);
    replace(steps, told.steps.map((step) => h("tr", { tabindex: 0 },
      h("td", { "data-label": "Time" }, time(step.time)), h("td", { "data-label": "After" }, `+${count(step.since_last_ms)} ms`),
      h("td", { "data-label": "Event" }, badge(step.event, kind(step.event))), h("td", { class: "main", "data-label": "What happened" }, step.text))));
  }

  return { title: `Message ${id}`, element, refresh };
}
