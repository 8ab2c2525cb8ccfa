// Users, what they may, and where.

import * as api from "../api.js";
import { attempt, confirm, form, note } from "../dialog.js";
import { badge, button, empty, facts, h, replace, section } from "../dom.js";
import { value } from "../format.js";
import { go, to } from "../router.js";
import { local, table } from "../table.js";

const TAGS = "administrator, monitoring, policymaker, management";

function tags(user) {
  const all = [user.tags].flat().flatMap((one) => String(one).split(",")).filter(Boolean);
  return all.length ? all.map((tag) => badge(tag, tag === "administrator" ? "accent" : "")) : "–";
}

export function open(args, app) {
  if (args.length) return one(args[0], app);
  const list = table({
    label: "users", sort: "name", key: (row) => row.name, open: (row) => to("users", row.name),
    source: local(() => api.get("users"), (row) => row.name),
    columns: [
      { title: "Name", sort: "name", class: "main", cell: (row) => h("a", { href: to("users", row.name) }, row.name) },
      { title: "Tags", sort: "tags", class: "badges", cell: tags },
      { title: "Password", cell: (row) => (row.password_hash ? "yes" : badge("none", "warn", "cannot log in with a password")) },
      { title: "Limits", cell: (row) => Object.entries(row.limits ?? {}).map(([name, most]) => badge(`${name} ${most}`)) },
    ],
  });
  const heading = h("div", { class: "heading" }, h("h1", null, "Users"), button("Add a user…", add, "primary"));
  return { heading, element: list.element, refresh: list.refresh };
}

function add() {
  const fields = [
    { name: "name", label: "Name", required: true }, { name: "password", label: "Password", type: "password", hint: "none if empty" }, { name: "tags", label: "Tags", hint: TAGS },
  ];
  return form("Add a user", fields, "Add", async ({ name, password, tags: given }) => {
    await api.put(`users/${api.path(name)}`, { ...(password ? { password } : { password_hash: "" }), tags: given });
    note(`Added ${name}. It may nothing yet.`);
    go("users", name);
  });
}

function one(name, app) {
  const path = `users/${api.path(name)}`;
  const details = h("div");
  const permissions = h("div");
  const topics = h("div");
  let user = {};
  const change = () => form(`Change ${name}`, [
    { name: "password", label: "New password", type: "password", hint: "as it was if empty" }, { name: "tags", label: "Tags", hint: TAGS, value: [user.tags].flat().join(", ") },
  ], "Change", async ({ password, tags: given }) => {
    const kept = { password_hash: user.password_hash, hashing_algorithm: user.hashing_algorithm };
    await api.put(path, { ...(password ? { password } : kept), tags: given });
    await app.poll.now();
  });
  const erase = () => confirm(`Delete ${name}?`, "Its connections are closed.", "Delete", async () => {
    await api.remove(path);
    go("users");
  });
  const allow = () => form(`What ${name} may`, [
    { name: "vhost", label: "Virtual host", options: app.vhosts },
    ...["configure", "write", "read"].map((what) => ({ name: what, label: `${what[0].toUpperCase()}${what.slice(1)}`, hint: "a regular expression over names", value: ".*" })),
  ], "Set", async ({ vhost, ...patterns }) => {
    await api.put(`permissions/${api.path(vhost, name)}`, patterns);
    await app.poll.now();
  });
  const forbid = (vhost) => attempt(() => api.remove(`permissions/${api.path(vhost, name)}`).then(() => app.poll.now()));
  const heading = h("div", { class: "heading" }, h("h1", null, name), button("Change…", change), button("Delete…", erase, "danger"));
  const element = h("div", null, section("User", details), section("Permissions", permissions, h("div", { class: "actions" }, button("Set…", allow, "primary"))), section("Topic permissions", topics));

  async function refresh() {
    const [found, may, of_topics] = await Promise.all([api.get(path), api.get(`${path}/permissions`), api.maybe(`${path}/topic-permissions`, [])]);
    user = found;
    replace(details, facts([["Tags", tags(user)], ["Password", user.password_hash ? user.hashing_algorithm ?? "yes" : "none"], ...Object.entries(user.limits ?? {}).map(([key, most]) => [key, value(most)])]));
    replace(permissions, may.length ? patternTable(["Virtual host", "Configure", "Write", "Read", ""], may.map((one) => [one.vhost, one.configure, one.write, one.read, button("Clear", () => forbid(one.vhost), "plain")]))
      : empty("It may open no virtual host."));
    replace(topics, of_topics.length ? patternTable(["Virtual host", "Exchange", "Write", "Read"], of_topics.map((one) => [one.vhost, one.exchange, one.write, one.read])) : empty("Any routing key, wherever it may publish or bind."));
  }
  return { title: name, heading, element, refresh };
}

function patternTable(titles, rows) {
  const cell = (content, index) => h("td", { class: index === 0 ? "main" : null, "data-label": titles[index] }, index > 0 && typeof content === "string" ? h("code", null, content || "(nothing)") : content);
  return h("table", { class: "rows" }, h("thead", null, h("tr", null, titles.map((title) => h("th", { scope: "col" }, title)))), h("tbody", null, rows.map((row) => h("tr", null, row.map(cell)))));
}
