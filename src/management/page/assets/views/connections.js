// Connections: who is there, what they send, ending them.

import * as api from "../api.js";
import { lineChart } from "../charts.js";
import { form } from "../dialog.js";
import { badge, button, facts, h, replace, section } from "../dom.js";
import { ago, bytes, count, value } from "../format.js";
import * as history from "../history.js";
import { go, to } from "../router.js";
import { local, remote, table } from "../table.js";
import { columnsOfChannels } from "./channels.js";

const perSecond = (n) => `${bytes(n)}/s`;

export function open(args, app) {
  return args.length ? one(args[0]) : list(app);
}

function state(connection) {
  const kind = { running: "good", blocked: "bad", blocking: "warn" }[connection.state] ?? "";
  return badge(connection.state ?? "–", kind);
}

function list(app) {
  const all = table({
    label: "connections", sort: "name", key: (row) => row.name, open: (row) => to("connections", row.name),
    none: "Nobody is connected.",
    source: remote(() => app.listOf("connections")),
    columns: [
      { title: "Name", sort: "name", class: "main", cell: (row) => [h("a", { href: to("connections", row.name) }, row.user_provided_name || row.client_properties?.connection_name || row.name), h("small", null, row.user_provided_name ? row.name : null)] },
      { title: "User", sort: "user", cell: (row) => row.user },
      { title: "Virtual host", sort: "vhost", cell: (row) => row.vhost },
      { title: "State", sort: "state", cell: state },
      { title: "TLS", sort: "ssl", cell: (row) => (row.ssl ? badge("TLS", "good") : "–") },
      { title: "Channels", sort: "channels", numeric: true, cell: (row) => count(row.channels) },
      { title: "Received", sort: "recv_oct_details.rate", numeric: true, cell: (row) => perSecond(row.recv_oct_details?.rate ?? 0) },
      { title: "Sent", sort: "send_oct_details.rate", numeric: true, cell: (row) => perSecond(row.send_oct_details?.rate ?? 0) },
      { title: "Client", cell: (row) => [row.client_properties?.product, row.client_properties?.version].filter(Boolean).join(" ") || "–" },
    ],
  });
  return { element: all.element, refresh: all.refresh };
}

function one(name) {
  const details = h("div");
  const chart = lineChart("Traffic", ["received", "sent"], perSecond, true);
  const properties = h("div");
  const path = `connections/${api.path(name)}`;
  const channels = table({
    label: "channels", sort: "number", key: (row) => row.name, open: (row) => to("channels", row.name), none: "It has no channel.",
    source: local(() => api.maybe(`${path}/channels`, []), (row) => row.name), columns: columnsOfChannels(),
  });
  const close = () => form("Close the connection", [{ name: "reason", label: "Reason", hint: "which the client is told", value: "Closed via management plugin" }], "Close it",
    async ({ reason }) => {
      // A header of HTTP takes ASCII.
      await api.remove(path, { "x-reason": reason.replace(/[^ -~]/g, "?") });
      go("connections");
    }, { text: name, isDangerous: true });
  const element = h("div", null, section("Connection", details, h("div", { class: "actions" }, button("Close…", close, "danger"))),
    h("div", { class: "charts" }, chart.element), section("Channels", channels.element), section("Client", properties));

  async function refresh() {
    const connection = await api.get(path);
    const key = `connection ${name}`;
    history.add(key, { received: connection.recv_oct_details?.rate ?? 0, sent: connection.send_oct_details?.rate ?? 0 });
    chart.update(history.samples(key));
    replace(details, facts([
      ["State", state(connection)], ["User", connection.user], ["Virtual host", connection.vhost], ["Protocol", connection.protocol],
      ["From", `${connection.peer_host}:${connection.peer_port}`], ["To", `${connection.host}:${connection.port}`], ["Since", ago(connection.connected_at)],
      ["Login", connection.auth_mechanism], ["TLS", connection.ssl ? [connection.ssl_protocol, connection.ssl_cipher].filter(Boolean).join(" ") || "yes" : "no"],
      ["Heartbeat", connection.timeout ? `${connection.timeout} s` : "none"], ["Largest frame", bytes(connection.frame_max)], ["Most channels", count(connection.channel_max)],
      ["Received", bytes(connection.recv_oct)], ["Sent", bytes(connection.send_oct)], ["Waiting to be sent", bytes(connection.send_pend)],
    ]));
    replace(properties, facts(Object.entries(connection.client_properties ?? {}).map(([key, one]) => [key, value(one)])));
    await channels.refresh();
  }
  return { title: name, element, refresh };
}
