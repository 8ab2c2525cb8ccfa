// The node at a glance: what waits, what flows, what it takes.

import * as api from "../api.js";
import { COLOURS, lineChart } from "../charts.js";
import { badge, empty, facts, h, replace, section } from "../dom.js";
import { bytes, compact, count, duration, rate } from "../format.js";
import * as history from "../history.js";
import { to } from "../router.js";

const LONGEST = 8;

export function open(_, app) {
  const alarms = h("div");
  const tiles = h("div", { class: app.vhost ? "tiles" : "tiles ten" });
  const queued = lineChart("Queued messages", ["ready", "unacked"], compact);
  const flow = lineChart("Messages per second", ["publish", "deliver", "ack"], (n) => compact(Math.round(n * 10) / 10));
  const memory = lineChart("Memory", ["memory"], bytes, true);
  const longest = h("div");
  const node = h("div");
  const isMonitor = app.is("monitoring");
  const element = h("div", null, alarms, tiles,
    h("div", { class: "charts" }, queued.element, flow.element, isMonitor && memory.element),
    h("div", { class: "columns" }, section("Longest queues", longest), isMonitor && section("Node", node)));

  async function refresh() {
    const path = app.vhost ? `vhosts/${api.path(app.vhost)}` : `overview?${history.PAST}`;
    const query = new URLSearchParams({ page: 1, page_size: LONGEST, sort: "messages", sort_reverse: true, columns: "name,vhost,messages,messages_ready,messages_unacknowledged,consumers,type" });
    const [overview, nodes, top] = await Promise.all([api.get(path), isMonitor ? api.maybe("nodes", []) : [], api.maybe(`${app.listOf("queues")}?${query}`, { items: [] })]);
    const totals = overview.queue_totals ?? overview;
    const stats = overview.message_stats ?? {};
    const key = `overview ${app.vhost}`;
    const per = (name) => stats[`${name}_details`];
    if (!app.vhost) {
      const of = (name) => totals[`messages_${name}_details`];
      history.begin(key, { ready: of("ready"), unacked: of("unacknowledged") }, { publish: per("publish"), deliver: per("deliver_get"), ack: per("ack") });
    }
    history.add(key, {
      ready: totals.messages_ready ?? 0, unacked: totals.messages_unacknowledged ?? 0,
      publish: per("publish")?.rate ?? 0, deliver: per("deliver_get")?.rate ?? 0, ack: per("ack")?.rate ?? 0,
    });
    queued.update(history.samples(key));
    flow.update(history.samples(key));
    showTiles(tiles, totals, per, app.vhost ? null : overview.object_totals);
    replace(longest, bars(top.items));
    const [one] = nodes;
    if (one) {
      history.add("node", { memory: one.mem_used ?? 0 });
      memory.update(history.samples("node"));
      replace(node, nodeFacts(one, overview));
    }
    replace(alarms, nodes.filter((one) => one.mem_alarm || one.disk_free_alarm).map((one) =>
      h("div", { class: "alarm", role: "alert" }, h("b", null, one.mem_alarm ? "Memory alarm. " : "Disk alarm. "), "Connections that publish are blocked until it is over.")));
  }
  return { element, refresh };
}

function showTiles(tiles, totals, per, objects) {
  const tile = (name, value, colour, href) => h(href ? "a" : "div", { class: "tile", href, colour: colour && `var(${colour})` }, h("span", null, name), h("b", null, value));
  replace(tiles,
    tile("Ready", compact(totals.messages_ready ?? 0), COLOURS.ready, to("queues")), tile("Unacked", compact(totals.messages_unacknowledged ?? 0), COLOURS.unacked, to("queues")),
    tile("Publish", rate(per("publish")?.rate ?? 0), COLOURS.publish), tile("Deliver", rate(per("deliver_get")?.rate ?? 0), COLOURS.deliver), tile("Ack", rate(per("ack")?.rate ?? 0), COLOURS.ack),
    objects && [["connections", "Connections"], ["channels", "Channels"], ["exchanges", "Exchanges"], ["queues", "Queues"]].map(([page, name]) => tile(name, count(objects[page]), null, to(page))),
    objects && tile("Consumers", count(objects.consumers), null, to("topology")));
}

// The longest queues, as bars of what is ready and what is unacked.
function bars(queues) {
  const shown = queues.filter((queue) => queue.messages > 0);
  if (!shown.length) return empty("All queues are empty.");
  const most = Math.max(...shown.map((queue) => queue.messages));
  return h("ul", { class: "bars" }, shown.map((queue) => h("li", null,
    h("a", { href: to("queues", queue.vhost, queue.name) }, queue.name),
    queue.consumers === 0 && badge("no consumer", "warn"),
    h("span", { class: "amount" }, compact(queue.messages)),
    h("span", { class: "bar", "aria-hidden": "true" },
      h("i", { class: "ready", width_percent: (queue.messages_ready / most) * 100 }), h("i", { class: "unacked", width_percent: (queue.messages_unacknowledged / most) * 100 })))));
}

function meter(used, limit, isBad) {
  return limit > 0 && h("span", { class: isBad ? "meter bad" : "meter", "aria-hidden": "true" }, h("i", { width_percent: Math.min(100, (used / limit) * 100) }));
}

function nodeFacts(node, overview) {
  const listeners = (overview.listeners ?? []).map((one) => badge(`${one.protocol} ${one.ip_address}:${one.port}`));
  return facts([
    ["Name", node.name], ["Version", overview.leveret_version && `${overview.leveret_version}, as RabbitMQ ${overview.rabbitmq_version}`],
    ["Up for", node.uptime && duration(node.uptime / 1000)],
    ["Memory", h("span", null, `${bytes(node.mem_used)} of ${bytes(node.mem_limit)}`, meter(node.mem_used, node.mem_limit, node.mem_alarm))],
    ["Free on disk", node.disk_free > 0 ? `${bytes(node.disk_free)}, at least ${bytes(node.disk_free_limit)}` : null],
    ["Sockets", node.sockets_used !== undefined ? count(node.sockets_used) : null], ["Processors", node.processors], ["Listens", listeners.length ? listeners : null],
  ]);
}
