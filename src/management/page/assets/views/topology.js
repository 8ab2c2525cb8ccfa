// The topology of a virtual host as a drawing.

import * as api from "../api.js";
import { button, empty, h, replace } from "../dom.js";
import { go } from "../router.js";
import { build, collapsed, filtered } from "../topology/graph.js";
import { draw } from "../topology/draw.js";
import { layout } from "../topology/layout.js";

const ZOOM_LEAST = 0.25;
const ZOOM_MOST = 2;

export function open(_, app) {
  const canvas = h("div", { class: "canvas", tabindex: 0, "aria-label": "Drawing" });
  const opened = new Set();
  let graph = null;
  let drawing = null;
  let size = null;
  let zoom = null;
  const filter = h("input", { class: "filter", type: "search", placeholder: "Filter by name (/)", "aria-label": "Filter the drawing by name", spellcheck: "false", oninput: () => show() });
  const zoomed = (by) => () => {
    zoom = Math.min(ZOOM_MOST, Math.max(ZOOM_LEAST, scale() * by));
    resize();
  };
  const fit = () => {
    zoom = null;
    opened.clear();
    show();
    if (size) zoom = Math.min(1, (canvas.clientWidth - 8) / size.width);
    resize();
  };
  const legend = h("ul", { class: "legend" }, [["binding", "binding"], ["alternate", "alternate exchange"], ["dead-letter", "dead letters"], ["consumer", "delivery"]].map(([kind, text]) => h("li", { class: kind }, text)));
  const element = h("div", null, h("div", { class: "tools" }, filter, button("−", zoomed(1 / 1.25), "plain"), button("+", zoomed(1.25), "plain"), button("Fit", fit, "plain"), legend), canvas);

  // As wide as there is room, as long as it can be read.
  function scale() {
    return zoom ?? Math.min(1, Math.max(0.7, (canvas.clientWidth - 8) / size.width));
  }

  function resize() {
    if (!drawing) return;
    drawing.setAttribute("width", size.width * scale());
    drawing.setAttribute("height", size.height * scale());
  }

  async function refresh() {
    const queueColumns = "columns=name,vhost,type,arguments,effective_policy_definition,policy,messages,messages_ready,messages_unacknowledged,message_stats";
    const [exchanges, queues, bindings, consumers, connections, policies] = await Promise.all([
      api.get(app.listOf("exchanges")), api.get(`${app.listOf("queues")}?${queueColumns}`), api.get(app.listOf("bindings")), api.maybe(app.listOf("consumers"), []),
      api.maybe(`${app.listOf("connections")}?columns=name,user_provided_name`, []), api.maybe(app.listOf("policies"), []),
    ]);
    graph = build({ exchanges, queues, bindings, consumers, connections, policies });
    show();
  }

  function show() {
    if (!graph) return;
    const shown = collapsed(filtered(graph, filter.value), opened);
    if (!shown.nodes.size) {
      replace(canvas, empty(filter.value ? `Nothing matches “${filter.value}”.` : "There is nothing to draw."));
      drawing = null;
      return;
    }
    const focused = document.activeElement?.closest?.(".box")?.dataset.key;
    size = layout(shown);
    drawing = draw(shown, size, chosen);
    replace(canvas, drawing);
    resize();
    if (focused) [...drawing.querySelectorAll(".box")].find((box) => box.dataset.key === focused)?.focus();
  }

  function chosen(key, node) {
    if (node.isGroup) {
      opened.add(key);
      show();
      return;
    }
    const pages = { exchange: "exchanges", queue: "queues" };
    if (node.kind === "consumer") go("connections", node.name);
    else go(pages[node.kind], node.vhost, api.exchange(node.name));
  }
  return { element, refresh };
}
