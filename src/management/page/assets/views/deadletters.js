// Dead letters, by the queue that holds them, why they died and where; sending them back.

import * as api from "../api.js";
import { badge, button, empty, h, replace } from "../dom.js";
import { ago, compact, count, exchangeName } from "../format.js";
import { to } from "../router.js";
import { deadLetterTargets } from "../topology/graph.js";
import { peek, redrive } from "./messages.js";

const REASONS = { rejected: ["rejected", "bad"], expired: ["expired", "warn"], maxlen: ["queue full", "warn"], delivery_limit: ["came back too often", "bad"] };

export function open(_, app) {
  const all = h("div");
  const filter = h("input", { class: "filter", type: "search", placeholder: "Filter by queue, reason or source (/)", "aria-label": "Filter dead letters", oninput: () => show() });
  const element = h("div", null, h("p", { class: "hint" }, "Queues that dead letters are sent to, with what is in memory of them. Redriving publishes a message to the queue in which it died, and removes it here once that is confirmed."),
    h("div", { class: "tools" }, filter), all);
  let holders = [];

  async function refresh() {
    const columns = "columns=name,vhost,arguments,effective_policy_definition,messages_ready,type";
    const [queues, bindings] = await Promise.all([api.get(`${app.listOf("queues")}?${columns}`), api.maybe(app.listOf("bindings"), [])]);
    const targets = deadLetterTargets(queues, bindings);
    const holding = queues.filter((queue) => queue.messages_ready > 0 && queue.type !== "stream" && targets.has(`${queue.vhost}\n${queue.name}`));
    holders = await Promise.all(holding.map(async (queue) => ({ queue, found: await api.maybe(`leveret/queues/${api.path(queue.vhost, queue.name)}/dead-letters`, null) })));
    show();
  }

  function show() {
    // What somebody looks into stays as it is.
    if (all.querySelector(".messages article, details[open]") && all.dataset.filter === filter.value) return;
    all.dataset.filter = filter.value;
    const wanted = filter.value.toLowerCase();
    const shown = holders.filter(({ found }) => found?.groups.length).map(({ queue, found }) => {
      const groups = found.groups.filter((group) => `${queue.name} ${group.reason} ${group.queue} ${group.exchange}`.toLowerCase().includes(wanted));
      return groups.length && h("section", { class: "panel" },
        h("div", { class: "heading" }, h("h2", null, h("a", { href: to("queues", queue.vhost, queue.name) }, queue.name), " ", badge(queue.vhost, "", "virtual host")),
          h("span", { class: "space" }), badge(`${compact(queue.messages_ready)} ready`), button("Redrive all…", () => redrive(queue.vhost, queue.name, {}, changed), "primary")),
        deathsOf(queue.vhost, queue.name, { ...found, groups }, changed),
        h("details", null, h("summary", null, "Look at the messages"), peek(queue.vhost, queue.name)));
    });
    replace(all, shown, !shown.some(Boolean) && empty(wanted ? "Nothing matches." : "There are no dead letters."));
  }

  const changed = () => {
    all.dataset.filter = "\n";
    return app.poll.now();
  };
  return { element, refresh };
}

// The groups of dead letters of a queue.
export function deathsOf(vhost, queue, found, changed) {
  const rows = found.groups.map((group) => {
    const [text, kind] = REASONS[group.reason] ?? [group.reason, ""];
    return h("tr", null,
      h("td", { class: "main" }, badge(text, kind, group.reason)), h("td", { "data-label": "Died in" }, h("a", { href: to("queues", vhost, group.queue) }, group.queue)),
      h("td", { "data-label": "Exchange" }, exchangeName(group.exchange)), h("td", { "data-label": "Keys" }, group.routing_keys.map((key) => [h("code", null, key), " "])),
      h("td", { class: "brief", "data-label": "Last" }, ago(group.last_time)), h("td", { class: "number", "data-label": "Messages" }, count(group.count)),
      h("td", null, button("Redrive…", () => redrive(vhost, queue, { reason: group.reason, source: group.queue, count: group.count }, changed))));
  });
  return [
    h("table", { class: "rows" }, h("thead", null, h("tr", null, ["Reason", "Died in", "Exchange", "Keys", "Last", "Messages", ""].map((title) => h("th", { scope: "col", class: title === "Messages" ? "number" : null }, title)))), h("tbody", null, rows)),
    found.on_disk > 0 && empty(`${count(found.on_disk)} messages on disk are not counted.`),
    found.not_dead_lettered > 0 && empty(`${count(found.not_dead_lettered)} messages came here otherwise.`),
  ];
}
