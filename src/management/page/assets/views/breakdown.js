// Message rates in detail: with whom a channel, an exchange or a queue has to do. The broker counts that with rates_mode = detailed
// alone; in the other modes the lists are empty, and nothing is shown.

import * as api from "../api.js";
import { h, replace } from "../dom.js";
import { count, exchangeName, rate } from "../format.js";
import { to } from "../router.js";

const PUBLISHED = [["publish", "Published"], ["confirm", "Confirmed"], ["drop_unroutable", "Dropped"], ["return_unroutable", "Returned"]];
const DELIVERED = [["deliver_get", "Delivered"], ["ack", "Acked"], ["redeliver", "Again"]];
const ROUTED = [["publish", "Messages"]];

// A place for lists that come with each refresh.
export function breakdown() {
  const element = h("div");
  const list = (title, parts, columns) => parts?.length > 0 && h("section", { class: "panel" }, h("h2", null, title), tableOf(parts, columns));
  return {
    element,
    ofChannel: ({ publishes, deliveries }) => replace(element, list("Publishes to", publishes, PUBLISHED), list("Is given from", deliveries, DELIVERED)),
    ofExchange: ({ incoming, outgoing }) => replace(element, list("Published by", incoming, PUBLISHED), list("Routed to", outgoing, ROUTED)),
    ofQueue: ({ incoming, deliveries }) => replace(element, list("Comes from", incoming, ROUTED), list("Goes to", deliveries, DELIVERED)),
  };
}

function tableOf(parts, columns) {
  const heads = ["", ...columns.map(([, title]) => title)];
  const cell = ({ stats }, [name, title]) => h("td", { class: "number", "data-label": title }, `${rate(stats[`${name}_details`].rate)} (${count(stats[name])})`);
  return h("table", { class: "rows" }, h("thead", null, h("tr", null, heads.map((title, n) => h("th", { scope: "col", class: n ? "number" : null }, title)))),
    h("tbody", null, parts.map((part) => h("tr", null, h("td", { class: "main" }, end(part)), columns.map((column) => cell(part, column))))));
}

function end({ exchange, queue, channel_details }) {
  if (exchange) return h("a", { href: to("exchanges", exchange.vhost, api.exchange(exchange.name)) }, exchangeName(exchange.name));
  if (queue) return h("a", { href: to("queues", queue.vhost, queue.name) }, queue.name);
  return h("a", { href: to("channels", channel_details.name) }, channel_details.name);
}
