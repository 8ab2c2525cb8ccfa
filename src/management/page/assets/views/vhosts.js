// Virtual hosts, their limits, adding and deleting them.

import * as api from "../api.js";
import { confirm, form, note } from "../dialog.js";
import { badge, button, h } from "../dom.js";
import { compact } from "../format.js";
import { local, table } from "../table.js";

export function open(_, app) {
  const may = app.is("administrator");
  const load = async () => {
    const [vhosts, limits] = await Promise.all([api.get("vhosts"), api.maybe("vhost-limits", [])]);
    app.listVhosts(vhosts.map((vhost) => vhost.name));
    const of = new Map(limits.map((one) => [one.vhost, one.value]));
    return vhosts.map((vhost) => ({ ...vhost, limits: of.get(vhost.name) ?? {} }));
  };
  const list = table({
    label: "virtual hosts", sort: "name", key: (row) => row.name, source: local(load, (row) => row.name),
    columns: [
      { title: "Name", sort: "name", class: "main", cell: (row) => row.name },
      { title: "Description", sort: "description", cell: (row) => row.description || "–" },
      { title: "Tags", class: "badges", cell: (row) => [row.tags].flat().filter(Boolean).map((tag) => badge(tag)) },
      { title: "Queue type", cell: (row) => row.default_queue_type ?? "–" },
      { title: "Limits", class: "badges", cell: (row) => Object.entries(row.limits).map(([name, most]) => badge(`${name} ${most}`)) },
      { title: "Ready", sort: "messages_ready", numeric: true, cell: (row) => compact(row.messages_ready ?? 0) },
      { title: "Unacked", sort: "messages_unacknowledged", numeric: true, cell: (row) => compact(row.messages_unacknowledged ?? 0) },
      { title: "", cell: (row) => may && [button("Limits…", () => limit(row, app), "plain"), button("Delete", () => erase(row, app), "plain")] },
    ],
  });
  const heading = h("div", { class: "heading" }, h("h1", null, "Virtual hosts"), may && button("Add a virtual host…", () => add(app), "primary"));
  return { heading, element: list.element, refresh: list.refresh };
}

function add(app) {
  const fields = [
    { name: "name", label: "Name", required: true }, { name: "description", label: "Description" }, { name: "tags", label: "Tags", hint: "with commas between them" },
    { name: "type", label: "Default queue type", options: ["classic", "quorum", "stream"] },
  ];
  return form("Add a virtual host", fields, "Add", async ({ name, description, tags, type }) => {
    await api.put(`vhosts/${api.path(name)}`, { description, tags, default_queue_type: type });
    note(`Added ${name}.`);
    await app.poll.now();
  });
}

function limit({ name, limits }, app) {
  const kinds = ["max-connections", "max-queues"];
  const fields = kinds.map((kind) => ({ name: kind, label: kind, hint: "no limit if empty", type: "number", value: String(limits[kind] ?? "") }));
  return form(`Limits of ${name}`, fields, "Set", async (given) => {
    for (const kind of kinds) {
      const path = `vhost-limits/${api.path(name, kind)}`;
      if (given[kind] !== "") await api.put(path, { value: Number(given[kind]) });
      else if (kind in limits) await api.remove(path);
    }
    await app.poll.now();
  });
}

function erase({ name }, app) {
  return confirm(`Delete ${name}?`, "Everything in it goes: queues, messages, exchanges, permissions. Its connections are closed.", "Delete", async () => {
    await api.remove(`vhosts/${api.path(name)}`);
    await app.poll.now();
  });
}
