// What leads to what in a virtual host: exchanges, queues, consumers as nodes; bindings, dead-lettering, alternates, deliveries as edges.

import { compact, exchangeName, rate } from "../format.js";

// Nodes of a kind above which those that are alike become one.
const MANY = 60;
// Those that are alike need to be this many to become one.
const ALIKE = 3;

// What a queue or exchange is set to, by its arguments or else by its policy.
function setting(one, argument, key, policies) {
  const definition = one.effective_policy_definition ?? policies?.get(`${one.vhost}\n${one.policy}`) ?? {};
  return one.arguments?.[argument] ?? definition[key];
}

function deadLettering(queue) {
  return { exchange: setting(queue, "x-dead-letter-exchange", "dead-letter-exchange"), key: setting(queue, "x-dead-letter-routing-key", "dead-letter-routing-key") };
}

// The queues that dead letters may be sent to, as `vhost\nname`: all that are bound to a dead-letter exchange.
export function deadLetterTargets(queues, bindings) {
  const exchanges = new Set();
  const targets = new Set();
  for (const queue of queues) {
    const { exchange, key } = deadLettering(queue);
    if (exchange === "" && key) targets.add(`${queue.vhost}\n${key}`);
    if (exchange) exchanges.add(`${queue.vhost}\n${exchange}`);
  }
  // Exchanges may lead to further ones.
  for (let found = true; found; ) {
    found = false;
    for (const { vhost, source, destination, destination_type } of bindings) {
      if (source === "" || !exchanges.has(`${vhost}\n${source}`)) continue;
      const into = destination_type === "queue" ? targets : exchanges;
      found ||= !into.has(`${vhost}\n${destination}`);
      into.add(`${vhost}\n${destination}`);
    }
  }
  return targets;
}

// The graph of these, as the API lists them: { nodes: Map of id → node, edges }.
export function build({ exchanges, queues, bindings, consumers, connections, policies }) {
  const nodes = new Map();
  const edges = new Map();
  const byName = new Map(policies.map((policy) => [`${policy.vhost}\n${policy.name}`, policy.definition]));
  const id = (kind, vhost, name) => `${kind}\n${vhost}\n${name}`;
  const add = (from, to, kind, label, perSecond = null) => {
    if (!nodes.has(from) || !nodes.has(to)) return;
    const key = `${from}\n${to}\n${kind}`;
    const edge = edges.get(key) ?? { from, to, kind, labels: [], rate: perSecond };
    if (label) edge.labels.push(label);
    edges.set(key, edge);
  };
  const per = (one, name) => one.message_stats?.[`${name}_details`]?.rate ?? 0;

  for (const one of exchanges) {
    const [into, out] = [per(one, "publish_in"), per(one, "publish_out")];
    nodes.set(id("exchange", one.vhost, one.name), { kind: "exchange", vhost: one.vhost, name: one.name, title: exchangeName(one.name), in: into, out, weight: into + out, detail: one.type, count: 1 });
  }
  for (const one of queues) {
    nodes.set(id("queue", one.vhost, one.name), {
      kind: "queue", vhost: one.vhost, name: one.name, title: one.name, in: per(one, "publish"), out: per(one, "deliver_get"), weight: one.messages ?? 0,
      ready: one.messages_ready ?? 0, unacked: one.messages_unacknowledged ?? 0, detail: one.type, count: 1,
    });
  }
  for (const { source, vhost, destination, destination_type, routing_key, arguments: set } of bindings) {
    if (source === "") continue;
    const label = routing_key || (Object.keys(set ?? {}).length ? "headers" : "");
    add(id("exchange", vhost, source), id(destination_type, vhost, destination), "binding", label);
  }
  for (const one of exchanges) {
    const other = setting(one, "alternate-exchange", "alternate-exchange", byName);
    if (other) add(id("exchange", one.vhost, one.name), id("exchange", one.vhost, other), "alternate", "alternate");
  }
  for (const one of queues) {
    const { exchange, key } = deadLettering(one);
    if (exchange) add(id("queue", one.vhost, one.name), id("exchange", one.vhost, exchange), "dead-letter", key ?? "");
    if (exchange === "" && key) add(id("queue", one.vhost, one.name), id("queue", one.vhost, key), "dead-letter", "");
  }
  addConsumers(nodes, add, id, consumers, connections);
  hideUnused(nodes, edges);
  addRates(nodes, edges);
  return { nodes, edges: [...edges.values()] };
}

// Consumers of the same connection are one node.
function addConsumers(nodes, add, id, consumers, connections) {
  const called = new Map(connections.map((one) => [one.name, one.user_provided_name]));
  for (const { queue, channel_details: channel, consumer_tag } of consumers) {
    const name = channel?.connection_name ?? consumer_tag;
    const key = id("consumer", queue.vhost, name);
    const node = nodes.get(key) ?? { kind: "consumer", vhost: queue.vhost, name, title: called.get(name) || channel?.user || consumer_tag, detail: channel?.peer_host ? `${channel.peer_host}:${channel.peer_port}` : name, weight: 0, count: 0 };
    node.count += 1;
    node.weight += 1;
    nodes.set(key, node);
    add(id("queue", queue.vhost, queue.name), key, "consumer", "");
  }
  for (const node of nodes.values()) if (node.kind === "consumer" && node.count > 1) node.title = `${node.title} × ${node.count}`;
}

// Exchanges that are always there are shown when they are used.
function hideUnused(nodes, edges) {
  const used = new Set([...edges.values()].flatMap((edge) => [edge.from, edge.to]));
  for (const [key, node] of nodes) {
    const isAlwaysThere = node.kind === "exchange" && (node.name === "" || node.name.startsWith("amq."));
    if (isAlwaysThere && !used.has(key) && !node.in) nodes.delete(key);
  }
}

// A rate is known of an edge that is the only one of its kind at one of its ends.
function addRates(nodes, edges) {
  const number = new Map();
  const once = (end, kind) => `${end}\n${kind}`;
  for (const edge of edges.values()) for (const end of [`>${edge.to}`, `<${edge.from}`]) number.set(once(end, edge.kind), (number.get(once(end, edge.kind)) ?? 0) + 1);
  for (const edge of edges.values()) {
    const [from, to] = [nodes.get(edge.from), nodes.get(edge.to)];
    if (edge.kind === "consumer" && number.get(once(`<${edge.from}`, edge.kind)) === 1) edge.rate = from.out;
    if (edge.kind !== "binding") continue;
    if (to.kind === "queue" && number.get(once(`>${edge.to}`, edge.kind)) === 1) edge.rate = to.in;
    else if (number.get(once(`<${edge.from}`, edge.kind)) === 1) edge.rate = from.out;
  }
}

// What of a graph has to do with a name: whatever leads there, and wherever it leads.
export function filtered({ nodes, edges }, text) {
  const wanted = text.toLowerCase();
  if (!wanted) return { nodes, edges };
  const found = [...nodes].filter(([, node]) => `${node.name} ${node.title}`.toLowerCase().includes(wanted)).map(([key]) => key);
  const kept = new Set(found);
  for (const [near, far] of [["from", "to"], ["to", "from"]]) {
    const open = [...found];
    const seen = new Set(found);
    while (open.length) {
      const at = open.pop();
      for (const edge of edges) {
        if (edge[near] !== at || seen.has(edge[far])) continue;
        seen.add(edge[far]);
        kept.add(edge[far]);
        // Dead letters are shown for one step, or everything would belong together.
        if (edge.kind !== "dead-letter") open.push(edge[far]);
      }
    }
  }
  return { nodes: new Map([...nodes].filter(([key]) => kept.has(key))), edges: edges.filter((edge) => kept.has(edge.from) && kept.has(edge.to)) };
}

// The same with fewer nodes: where there are many of a kind, those with the same neighbours are one; of what is left the rest is.
export function collapsed(graph, opened) {
  return ["consumer", "queue", "exchange"].reduce((all, kind) => collapseKind(all, kind, opened), graph);
}

function collapseKind(graph, kind, opened) {
  const ofKind = [...graph.nodes].filter(([, node]) => node.kind === kind);
  if (ofKind.length <= MANY) return graph;
  const around = new Map(ofKind.map(([key]) => [key, []]));
  for (const edge of graph.edges) {
    around.get(edge.from)?.push(`>${edge.kind} ${edge.to}`);
    around.get(edge.to)?.push(`<${edge.kind} ${edge.from}`);
  }
  const groups = new Map();
  for (const [key] of ofKind) {
    const sign = `${kind}*${[...new Set(around.get(key))].sort().join("|")}`;
    if (!groups.has(sign)) groups.set(sign, []);
    groups.get(sign).push(key);
  }
  const into = new Map();
  let left = [];
  for (const [sign, members] of groups) {
    if (members.length >= ALIKE && !opened.has(sign)) members.forEach((key) => into.set(key, sign));
    else if (!opened.has(sign)) left.push(...members);
  }
  left = left.sort((a, b) => graph.nodes.get(b).weight - graph.nodes.get(a).weight);
  if (!opened.has(`${kind}*rest`)) left.slice(MANY).forEach((key) => into.set(key, `${kind}*rest`));
  return merge(graph, kind, into);
}

function merge({ nodes, edges }, kind, into) {
  const merged = new Map([...nodes].filter(([key]) => !into.has(key)));
  for (const [key, target] of into) {
    const one = nodes.get(key);
    const all = merged.get(target) ?? { kind, isGroup: true, vhost: one.vhost, name: one.name, in: 0, out: 0, ready: 0, unacked: 0, weight: 0, count: 0, first: one.name, names: [] };
    for (const sum of ["in", "out", "ready", "unacked", "weight", "count"]) all[sum] += one[sum] ?? 0;
    all.names.push(one.name);
    merged.set(target, all);
  }
  for (const node of merged.values()) {
    if (!node.isGroup || node.kind !== kind) continue;
    node.title = `${compact(node.count)} ${kind}s`;
    node.detail = node.names.length > 1 ? `${node.names[0]} … ${node.names.at(-1)}` : node.names[0];
  }
  const kept = new Map();
  for (const edge of edges) {
    const [from, to] = [into.get(edge.from) ?? edge.from, into.get(edge.to) ?? edge.to];
    const key = `${from}\n${to}\n${edge.kind}`;
    const one = kept.get(key) ?? { ...edge, from, to, labels: [], rate: null };
    for (const label of edge.labels) if (!one.labels.includes(label)) one.labels.push(label);
    if (edge.rate !== null) one.rate = (one.rate ?? 0) + edge.rate;
    kept.set(key, one);
  }
  return { nodes: merged, edges: [...kept.values()] };
}

// What is written at an edge: its first keys, and how fast it is.
export function labelOf(edge) {
  const keys = edge.labels.slice(0, 2).join(", ") + (edge.labels.length > 2 ? ` +${edge.labels.length - 2}` : "");
  return [shorten(keys, 17), edge.rate ? rate(edge.rate) : ""].filter(Boolean).join(" · ");
}

export function shorten(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}
