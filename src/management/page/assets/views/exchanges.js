// Exchanges: a list of them, what one leads to, publishing through it.

import * as api from "../api.js";
import { confirm, form, note, object } from "../dialog.js";
import { badge, button, facts, folded, h, replace } from "../dom.js";
import { count, exchangeName, rate, value } from "../format.js";
import { go, to } from "../router.js";
import { remote, table } from "../table.js";
import { breakdown } from "./breakdown.js";
import { publish } from "./messages.js";
import { bindingTable } from "./queue.js";

const TYPES = ["direct", "fanout", "topic", "headers"];

export function open(args, app) {
  if (args.length === 2) return one(args[0], args[1] === "amq.default" ? "" : args[1], app);
  const all = table({
    label: "exchanges", sort: "name", key: (row) => `${row.vhost}/${row.name}`, open: (row) => to("exchanges", row.vhost, api.exchange(row.name)),
    source: remote(() => app.listOf("exchanges")),
    columns: [
      { title: "Name", sort: "name", class: "main", cell: (row) => h("a", { href: to("exchanges", row.vhost, api.exchange(row.name)) }, exchangeName(row.name)) },
      { title: "Virtual host", sort: "vhost", cell: (row) => row.vhost },
      { title: "Type", sort: "type", cell: (row) => badge(row.type, "accent") },
      { title: "Features", class: "badges", cell: features },
      { title: "In", sort: "message_stats.publish_in_details.rate", numeric: true, cell: (row) => rate(row.message_stats?.publish_in_details?.rate ?? 0) },
      { title: "Out", sort: "message_stats.publish_out_details.rate", numeric: true, cell: (row) => rate(row.message_stats?.publish_out_details?.rate ?? 0) },
    ],
  });
  const heading = h("div", { class: "heading" }, h("h1", null, "Exchanges"), button("Declare an exchange…", () => declare(app), "primary"));
  return { heading, element: all.element, refresh: all.refresh };
}

function features(exchange) {
  return [
    exchange.durable ? badge("durable") : badge("transient", "warn"), exchange.auto_delete && badge("auto-delete"), exchange.internal && badge("internal"),
    Object.entries(exchange.arguments ?? {}).map(([name, set]) => badge(name === "alternate-exchange" ? "AE" : name, "", `${name}: ${value(set)}`)),
    exchange.policy && badge(`policy ${exchange.policy}`, "accent"),
  ];
}

function one(vhost, name, app) {
  const path = `exchanges/${api.path(vhost, api.exchange(name))}`;
  const title = exchangeName(name);
  const changed = () => app.poll.now();
  const marks = h("p", { class: "badges" });
  const details = h("div");
  const from = h("div");
  const into = h("div");
  const parts = breakdown();
  const isOwn = name !== "" && !name.startsWith("amq.");
  const erase = () => confirm(`Delete ${name}?`, "Its bindings go with it.", "Delete", async () => {
    await api.remove(path);
    go("exchanges");
  });
  const heading = h("div", { class: "heading" }, h("h1", null, title), isOwn && button("Delete…", erase, "danger"));
  const element = h("div", null, marks, folded("Details", true, details), folded("Publish", false, publish(vhost, name, null, changed)),
    folded("Leads to", true, from, name !== "" && h("div", { class: "actions" }, button("Bind…", () => bind(vhost, name, changed)))), name !== "" && folded("Is led to by", true, into), parts.element);

  async function refresh() {
    const [exchange, outgoing, incoming] = await Promise.all([api.get(path), api.maybe(`${path}/bindings/source`, []), name === "" ? [] : api.maybe(`${path}/bindings/destination`, [])]);
    replace(marks, badge(vhost, "", "virtual host"), badge(exchange.type, "accent"), features(exchange));
    const stats = exchange.message_stats ?? {};
    replace(details, facts([
      ["In", rate(stats.publish_in_details?.rate ?? 0)], ["Out", rate(stats.publish_out_details?.rate ?? 0)], ["Published to it", count(stats.publish_in ?? 0)], ["Routed by it", count(stats.publish_out ?? 0)],
      ["Messages delayed", exchange.messages_delayed], ...Object.entries(exchange.arguments ?? {}).map(([key, set]) => [key, value(set)]), ["Policy", exchange.policy],
    ]));
    replace(from, bindingTable(outgoing, vhost, app, false));
    replace(into, bindingTable(incoming, vhost, app));
    parts.ofExchange(exchange);
  }
  return { title, heading, element, refresh };
}

async function bind(vhost, source, changed) {
  const [queues, exchanges] = await Promise.all([api.maybe(`queues/${api.path(vhost)}?columns=name`, []), api.maybe(`exchanges/${api.path(vhost)}?columns=name`, [])]);
  const fields = [
    { name: "kind", label: "To", options: [["q", "a queue"], ["e", "an exchange"]] },
    { name: "destination", label: "Called", required: true, list: [...queues, ...exchanges].map((one) => one.name).filter(Boolean) },
    { name: "key", label: "Routing key" }, { name: "more", label: "Arguments", hint: "JSON", type: "area" },
  ];
  await form(`Bind from ${source}`, fields, "Bind", async ({ kind, destination, key, more }) => {
    await api.post(`bindings/${api.path(vhost, "e", source, kind, destination)}`, { routing_key: key, arguments: object(more, "Arguments") });
    await changed();
  });
}

async function declare(app) {
  const overview = await api.maybe("overview", {});
  const types = overview.exchange_types?.map((type) => type.name) ?? TYPES;
  const fields = [
    { name: "vhost", label: "Virtual host", options: app.vhosts, value: app.vhost || app.vhosts[0] },
    { name: "name", label: "Name", required: true }, { name: "type", label: "Type", options: types, value: "direct" },
    { name: "durable", label: "Survives a restart", type: "check", value: true }, { name: "auto_delete", label: "Deleted when its last binding is gone", type: "check" },
    { name: "internal", label: "Internal: for other exchanges only", type: "check" }, { name: "alternate", label: "Alternate exchange", hint: "for what goes nowhere" },
    { name: "more", label: "More arguments", hint: "JSON", type: "area" },
  ];
  await form("Declare an exchange", fields, "Declare", async (given) => {
    const set = object(given.more, "More arguments");
    if (given.alternate) set["alternate-exchange"] = given.alternate;
    await api.put(`exchanges/${api.path(given.vhost, given.name)}`, { type: given.type, durable: given.durable, auto_delete: given.auto_delete, internal: given.internal, arguments: set });
    note(`Declared ${given.name}.`);
    go("exchanges", given.vhost, given.name);
  });
}
