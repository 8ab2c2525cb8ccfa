// One queue: how it fares, who consumes, what leads to it, its messages.

import * as api from "../api.js";
import { lineChart } from "../charts.js";
import { attempt, confirm, form, object } from "../dialog.js";
import { badge, button, empty, facts, folded, h, replace } from "../dom.js";
import { ago, bytes, compact, count, exchangeName, rate, value } from "../format.js";
import * as history from "../history.js";
import { go, to } from "../router.js";
import { local, table } from "../table.js";
import { breakdown } from "./breakdown.js";
import { columnsOfConsumers } from "./channels.js";
import { deathsOf } from "./deadletters.js";
import { get, move, peek, publish, redrive } from "./messages.js";
import { features } from "./queues.js";

export function openQueue([vhost, name], app) {
  const path = `queues/${api.path(vhost, name)}`;
  const key = `queue ${vhost}/${name}`;
  const changed = () => app.poll.now();
  let queue = {};
  const marks = h("p", { class: "badges" });
  const tiles = h("div", { class: "tiles" });
  const details = h("div");
  const deaths = h("div");
  const bindings = h("div");
  const parts = breakdown();
  const lengths = lineChart("Messages", ["ready", "unacked"], compact);
  const rates = lineChart("Per second", ["publish", "deliver", "ack"], (n) => compact(Math.round(n * 10) / 10));
  const consumers = table({
    label: "consumers", key: (row) => `${row.channel_details.name} ${row.consumer_tag}`, none: "Nobody consumes from it.",
    source: local(async () => queue.consumer_details ?? [], (row) => row.consumer_tag), columns: columnsOfConsumers().filter((column) => column.title !== "Queue"),
  });
  const purge = () => confirm(`Purge ${name}?`, `${count(queue.messages_ready)} messages are removed for good. Unacked ones stay.`, "Purge", async () => {
    await api.remove(`${path}/contents`);
    await changed();
  });
  const erase = () => confirm(`Delete ${name}?`, `The queue goes with its ${count(queue.messages)} messages and its bindings.`, "Delete", async () => {
    await api.remove(path);
    go("queues");
  });
  const removals = h("div", { class: "actions" });
  const messagesOnly = [button("Move…", () => attempt(() => move(vhost, name, changed))), button("Redrive…", () => redrive(vhost, name, {}, changed)), button("Purge…", purge, "danger")];
  const heading = h("div", { class: "heading" }, h("h1", null, name), removals);
  const getPanel = folded("Get", false, get(vhost, name, changed));
  const element = h("div", null, marks, tiles, h("div", { class: "charts" }, lengths.element, rates.element), deaths,
    folded("Peek", true, peek(vhost, name)), folded("Publish", false, h("p", { class: "hint" }, "By way of the default exchange, to this queue."), publish(vhost, "", name, changed)), getPanel,
    folded("Consumers", true, consumers.element), folded("Bindings", true, bindings), parts.element, folded("Details", true, details));

  async function refresh() {
    const [one, bound] = await Promise.all([api.get(`${path}?${history.PAST}`), api.maybe(`${path}/bindings`, [])]);
    queue = one;
    const isStream = queue.type === "stream";
    const per = (what) => queue.message_stats?.[`${what}_details`];
    history.begin(key, { ready: queue.messages_ready_details, unacked: queue.messages_unacknowledged_details }, { publish: per("publish"), deliver: per("deliver_get"), ack: per("ack") });
    history.add(key, { ready: queue.messages_ready, unacked: queue.messages_unacknowledged, publish: per("publish")?.rate ?? 0, deliver: per("deliver_get")?.rate ?? 0, ack: per("ack")?.rate ?? 0 });
    lengths.update(history.samples(key));
    rates.update(history.samples(key));
    replace(marks, badge(vhost, "", "virtual host"), features(queue));
    if (removals.dataset.type !== queue.type) {
      removals.dataset.type = queue.type;
      replace(removals, isStream ? [] : messagesOnly, button("Delete…", erase, "danger"));
      getPanel.hidden = isStream;
    }
    const tile = (title, text, colour) => h("div", { class: "tile", colour: colour && `var(${colour})` }, h("span", null, title), h("b", null, text));
    replace(tiles, tile("Ready", compact(queue.messages_ready), "--amber"), tile("Unacked", compact(queue.messages_unacknowledged), "--blue"), tile("In", rate(per("publish")?.rate ?? 0), "--green"),
      tile("Out", rate(per("deliver_get")?.rate ?? 0), "--violet"), tile("Consumers", count(queue.consumers)), tile("Bytes", bytes(queue.message_bytes)));
    parts.ofQueue(queue);
    replace(details, definition(queue));
    replace(bindings, bindingTable(bound, vhost, app), h("div", { class: "actions" }, button("Bind…", () => bind(vhost, name, changed))));
    await Promise.all([consumers.refresh(), showDeaths(queue)]);
  }

  // Looked for once, and then as long as there are any: it goes over the messages.
  let hasDeaths = true;
  async function showDeaths({ messages_ready, type }) {
    if (!hasDeaths || !messages_ready || type === "stream") return replace(deaths);
    const found = await api.maybe(`leveret/queues/${api.path(vhost, name)}/dead-letters`, null);
    hasDeaths = Boolean(found?.groups.length);
    return replace(deaths, hasDeaths && h("section", { class: "panel" }, h("h2", null, "Dead letters in this queue"), deathsOf(vhost, name, found, changed)));
  }
  return { title: name, heading, element, refresh };
}

function definition(queue) {
  return facts([
    ["State", queue.state], ["Idle since", ago(queue.idle_since)], ["Owner", queue.owner_pid_details?.name], ["In memory", count(queue.messages_ram)], ["On disk alone", count(queue.messages_paged_out)],
    ["Persistent", count(queue.messages_persistent)], ["Memory", bytes(queue.memory)], ["Active consumer", queue.single_active_consumer_tag], ["First offset", queue.first_offset], ["Segments", queue.segments],
    ...Object.entries(queue.arguments ?? {}).map(([name, set]) => [name, value(set)]), ["Policy", queue.policy], ["Operator policy", queue.operator_policy],
    ...Object.entries(queue.effective_policy_definition ?? {}).map(([name, set]) => [`${name} (policy)`, value(set)]),
  ]);
}

// Bindings as a table, with a way to remove each.
export function bindingTable(bindings, vhost, app, toSource = true) {
  if (!bindings.length) return empty("There is no binding.");
  const end = (binding) => (toSource ? [binding.source, "exchanges"] : [binding.destination, `${binding.destination_type}s`]);
  const unbind = (binding) => confirm("Remove the binding?", `${exchangeName(binding.source)} → ${binding.destination} with “${binding.routing_key}”`, "Unbind", async () => {
    const kind = binding.destination_type === "queue" ? "q" : "e";
    await api.remove(`bindings/${api.path(vhost, "e", binding.source, kind, binding.destination, binding.properties_key)}`);
    await app.poll.now();
  });
  return h("table", { class: "rows" }, h("thead", null, h("tr", null, [toSource ? "From" : "To", "Routing key", "Arguments", ""].map((title) => h("th", { scope: "col" }, title)))),
    h("tbody", null, bindings.map((binding) => {
      const [name, page] = end(binding);
      const set = Object.entries(binding.arguments ?? {}).map(([key, one]) => `${key}: ${value(one)}`).join(", ");
      return h("tr", null, h("td", { class: "main" }, h("a", { href: to(page, vhost, api.exchange(name)) }, exchangeName(name)), !toSource && badge(binding.destination_type)),
        h("td", { "data-label": "Routing key" }, h("code", null, binding.routing_key || "(none)")), h("td", { "data-label": "Arguments" }, set || "–"),
        h("td", null, binding.source !== "" && button("Unbind", () => unbind(binding), "plain")));
    })));
}

async function bind(vhost, queue, changed) {
  const exchanges = await api.maybe(`exchanges/${api.path(vhost)}?columns=name`, []);
  const fields = [
    { name: "source", label: "From the exchange", required: true, list: exchanges.map((one) => one.name).filter(Boolean) },
    { name: "key", label: "Routing key" }, { name: "more", label: "Arguments", hint: "JSON", type: "area" },
  ];
  await form(`Bind ${queue}`, fields, "Bind", async ({ source, key, more }) => {
    await api.post(`bindings/${api.path(vhost, "e", source, "q", queue)}`, { routing_key: key, arguments: object(more, "Arguments") });
    await changed();
  });
}
