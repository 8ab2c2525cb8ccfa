// Messages: showing them, looking into a queue, publishing, getting, moving, sending dead letters back.

import * as api from "../api.js";
import { attempt, form, inlineForm, note, object } from "../dialog.js";
import { badge, button, empty, facts, h, replace } from "../dom.js";
import { bytes, count, exchangeName, value } from "../format.js";

const LOOK = 10;

// A message, with its properties and headers folded away.
export function message(one, at) {
  const properties = Array.isArray(one.properties) ? {} : { ...one.properties };
  const headers = properties.headers ?? {};
  delete properties.headers;
  const death = headers["x-death"]?.[0];
  return h("article", { class: "message" },
    h("header", null, h("b", null, `#${at}`), h("span", null, "exchange ", h("code", null, exchangeName(one.exchange))), h("span", null, "key ", h("code", null, one.routing_key || "(none)")),
      h("span", null, bytes(one.payload_bytes)), properties.content_type && badge(properties.content_type), properties.delivery_mode === 2 && badge("persistent"),
      one.redelivered && badge("redelivered", "warn"), death && badge(`${death.reason} in ${death.queue}`, "bad")),
    h("pre", { tabindex: 0 }, readable(one)),
    (Object.keys(properties).length || Object.keys(headers).length) && h("details", null, h("summary", null, "Properties and headers"),
      facts(Object.entries(properties).map(([name, set]) => [name, value(set)])),
      facts(Object.entries(headers).map(([name, set]) => [name, typeof set === "object" ? h("pre", null, JSON.stringify(set, null, 1)) : value(set)]))));
}

// JSON with line breaks, other text as it is, bytes as base64.
function readable({ payload, payload_encoding, payload_bytes }) {
  if (payload_bytes === 0) return "(empty)";
  if (payload_encoding === "base64") return `base64: ${payload}`;
  try {
    if (/^\s*[[{]/.test(payload)) return JSON.stringify(JSON.parse(payload), null, 2);
  } catch {
    // It only looks like JSON.
  }
  return payload;
}

// Looking at messages without taking them.
export function peek(vhost, queue) {
  const found = h("div", { class: "messages" });
  let from = 0;
  const look = async () => {
    const answer = await api.get(`leveret/queues/${api.path(vhost, queue)}/peek?count=${LOOK}&from=${from}`);
    const back = button("‹ Before", turn(-LOOK));
    const next = button("After ›", turn(LOOK));
    back.disabled = from === 0;
    next.disabled = answer.messages.length < LOOK;
    replace(found, answer.messages.map((one) => message(one, count(one.position))), !answer.messages.length && empty("There is no message here that is ready and in memory."),
      answer.on_disk > 0 && empty(`${count(answer.on_disk)} messages are on disk alone and not shown.`),
      h("div", { class: "actions" }, back, h("span", null, answer.messages.length ? `${from + 1} to ${from + answer.messages.length}` : ""), next));
  };
  const turn = (by) => () => {
    from = Math.max(0, from + by);
    return attempt(look);
  };
  const begin = () => {
    from = 0;
    return attempt(look);
  };
  return h("div", null, h("p", { class: "hint" }, "The messages stay in the queue, as they are: nothing is marked as redelivered, no order changes."),
    h("div", { class: "actions" }, button("Peek", begin, "primary")), found);
}

// Getting messages: they are taken from the queue, or put back.
export function get(vhost, queue, changed) {
  const found = h("div", { class: "messages" });
  const fields = [
    { name: "ackmode", label: "And then", options: [["ack_requeue_true", "requeue them"], ["ack_requeue_false", "remove them"], ["reject_requeue_false", "reject them (dead-letter)"]] },
    { name: "count", label: "How many", type: "number", value: 1, min: 1, max: 1000 },
  ];
  const take = async ({ ackmode, count: number }) => attempt(async () => {
    const got = await api.post(`queues/${api.path(vhost, queue)}/get`, { ackmode, count: Number(number), encoding: "auto", truncate: 50000 });
    replace(found, got.map((one, index) => message(one, index + 1)), !got.length && empty("The queue is empty."));
    await changed();
  });
  return h("div", null, h("p", { class: "hint" }, "As a consumer would. Messages that are requeued count as redelivered."), inlineForm(fields, "Get", take), found);
}

// Publishing to an exchange, or to a queue by way of the default exchange.
export function publish(vhost, exchange, key, changed) {
  const fields = [
    key === null && { name: "routing_key", label: "Routing key" },
    { name: "mode", label: "Delivery", options: [["2", "persistent"], ["1", "transient"]] },
    { name: "properties", label: "Properties", hint: "JSON", type: "area", placeholder: '{"content_type": "application/json"}' },
    { name: "headers", label: "Headers", hint: "JSON", type: "area", placeholder: '{"tenant": "a"}' },
    { name: "payload", label: "Body", type: "area" },
  ].filter(Boolean);
  return inlineForm(fields, "Publish", (given) => attempt(async () => {
    const properties = { delivery_mode: Number(given.mode), ...object(given.properties, "Properties") };
    const headers = object(given.headers, "Headers");
    if (Object.keys(headers).length) properties.headers = { ...properties.headers, ...headers };
    const body = { routing_key: key ?? given.routing_key, properties, payload: given.payload, payload_encoding: "string" };
    const answer = await api.post(`exchanges/${api.path(vhost, api.exchange(exchange))}/publish`, body);
    note(answer.routed ? "Published." : "Published, but no queue took it.", !answer.routed);
    await changed();
  }));
}

function said({ moved, skipped, unroutable, unroutable_to, stopped }) {
  const parts = [`${count(moved)} moved`, skipped && `${count(skipped)} skipped`, unroutable && `${count(unroutable)} left: no queue ${unroutable_to.join(", ")}`, stopped && `stopped: ${stopped}`];
  note(`${parts.filter(Boolean).join("; ")}.`, Boolean(unroutable || stopped));
}

// Moving messages to another queue.
export async function move(vhost, queue, changed) {
  const others = await api.maybe(`queues/${api.path(vhost)}?columns=name`, []);
  const names = others.map((other) => other.name).filter((name) => name !== queue);
  const fields = [
    { name: "destination", label: "To the queue", required: true, list: names },
    { name: "count", label: "How many", hint: "all that are ready if empty", type: "number", min: 1 },
    { name: "reason", label: "Only dead letters that", options: [["", "(any message)"], ["rejected", "were rejected"], ["expired", "expired"], ["maxlen", "were too many"], ["delivery_limit", "came back too often"]] },
    { name: "source", label: "Only dead letters of the queue" },
  ];
  await form(`Move messages of ${queue}`, fields, "Move", async (given) => {
    if (!names.includes(given.destination)) throw new Error("There is no such queue.");
    const body = { destination: given.destination, reason: given.reason, source: given.source };
    if (given.count) body.count = Number(given.count);
    said(await api.post(`leveret/queues/${api.path(vhost, queue)}/move`, body));
  }, { text: "A message is removed here once the other queue has confirmed it." });
  await changed();
}

// Sending dead letters back to where they died; `which` may have a reason and a source.
export async function redrive(vhost, queue, which, changed) {
  const what = which.reason ? `${count(which.count)} messages that ${which.reason === "rejected" ? "were rejected" : `died (${which.reason})`} in ${which.source}` : "All dead letters";
  const fields = [
    { name: "to", label: "Back to the queue in which they died", options: [["last", "last"], ["first", "first"]] },
    { name: "count", label: "How many", hint: "all if empty", type: "number", min: 1 },
  ];
  await form(`Redrive ${queue}`, fields, "Redrive", async (given) => {
    const body = { to: given.to, reason: which.reason ?? "", source: which.source ?? "" };
    if (given.count) body.count = Number(given.count);
    said(await api.post(`leveret/queues/${api.path(vhost, queue)}/redrive`, body));
  }, { text: `${what} go back. A message is removed here once that queue has confirmed it.` });
  await changed();
}
