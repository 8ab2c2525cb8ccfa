// Policies and operator policies: what administrators set for queues and exchanges by their names.

import * as api from "../api.js";
import { confirm, form, note, object } from "../dialog.js";
import { badge, button, h, section } from "../dom.js";
import { value } from "../format.js";
import { local, table } from "../table.js";

const APPLY_TO = ["all", "queues", "classic_queues", "quorum_queues", "streams", "exchanges"];

export function open(_, app) {
  const may = app.is("policymaker");
  const lists = [["policies", "Policies", "for queues and exchanges"], ["operator-policies", "Operator policies", "limits that users cannot lift"]].map(([kind, title, hint]) => {
    const list = table({
      label: title.toLowerCase(), sort: "name", key: (row) => `${row.vhost}/${row.name}`, none: `There are no ${title.toLowerCase()}.`,
      source: local(() => api.maybe(app.listOf(kind), []), (row) => `${row.name} ${row.pattern}`),
      columns: [
        { title: "Name", sort: "name", class: "main", cell: (row) => row.name },
        { title: "Virtual host", sort: "vhost", cell: (row) => row.vhost },
        { title: "Pattern", sort: "pattern", cell: (row) => h("code", null, row.pattern) },
        { title: "For", sort: "apply-to", cell: (row) => row["apply-to"] },
        { title: "Sets", class: "badges", cell: (row) => Object.entries(row.definition ?? {}).map(([name, set]) => badge(`${name}: ${value(set)}`)) },
        { title: "Priority", sort: "priority", numeric: true, cell: (row) => row.priority },
        { title: "", cell: (row) => may && [button("Change…", () => edit(kind, app, row), "plain"), button("Delete", () => erase(kind, app, row), "plain")] },
      ],
    });
    const add = may && h("div", { class: "actions" }, button("Add…", () => edit(kind, app, null), "primary"));
    return { list, element: section(title, h("p", { class: "hint" }, `${hint[0].toUpperCase()}${hint.slice(1)}.`), list.element, add) };
  });
  return { element: h("div", null, lists.map((one) => one.element)), refresh: () => Promise.all(lists.map((one) => one.list.refresh())) };
}

function edit(kind, app, policy) {
  const fields = [
    !policy && { name: "vhost", label: "Virtual host", options: app.vhosts, value: app.vhost || app.vhosts[0] },
    !policy && { name: "name", label: "Name", required: true },
    { name: "pattern", label: "Pattern", hint: "a regular expression over names", required: true, value: policy?.pattern ?? "" },
    { name: "apply", label: "For", options: APPLY_TO, value: policy?.["apply-to"] ?? "all" },
    { name: "priority", label: "Priority", type: "number", value: String(policy?.priority ?? 0) },
    { name: "definition", label: "Sets", hint: "JSON, such as {\"max-length\": 1000}", type: "area", value: policy ? JSON.stringify(policy.definition, null, 1) : "" },
  ].filter(Boolean);
  return form(policy ? `Change ${policy.name}` : "Add a policy", fields, policy ? "Change" : "Add", async (given) => {
    const [vhost, name] = policy ? [policy.vhost, policy.name] : [given.vhost, given.name];
    const body = { pattern: given.pattern, "apply-to": given.apply, priority: Number(given.priority), definition: object(given.definition, "What it sets") };
    await api.put(`${kind}/${api.path(vhost, name)}`, body);
    note(`${name} applies.`);
    await app.poll.now();
  });
}

function erase(kind, app, policy) {
  return confirm(`Delete ${policy.name}?`, "What it has set is as it was declared again.", "Delete", async () => {
    await api.remove(`${kind}/${api.path(policy.vhost, policy.name)}`);
    await app.poll.now();
  });
}
