// The drawing: boxes and curves in SVG, with the neighbours of what is pointed at brought out.

import { svg } from "../dom.js";
import { compact, rate } from "../format.js";
import { labelOf, shorten } from "./graph.js";
import { BOX } from "./layout.js";

const KINDS = ["binding", "alternate", "dead-letter", "consumer"];

// `open(key, node)` is called for a box that is chosen. Gives an element with a function `bringOut(key)`.
export function draw({ nodes }, { width, height, places, paths }, open) {
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "topology", role: "group", "aria-label": "Exchanges, queues and consumers with what connects them" },
    svg("defs", null, KINDS.map((kind) => svg("marker", { id: `arrow-${kind}`, viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto" }, svg("path", { class: `arrow ${kind}`, d: "M0 0L8 4L0 8Z" })))));
  const edges = paths.map(({ edge, d, label }) => {
    const text = label && labelOf(edge);
    const all = edge.labels.slice(0, 30).join("\n");
    return { edge, element: svg("g", { class: `edge ${edge.kind}` }, svg("title", null, `${edge.kind}\n${all}`),
      svg("path", { d, "marker-end": `url(#arrow-${edge.kind})` }), svg("path", { class: "near", d }), text && svg("text", { x: label.x, y: label.y, "text-anchor": label.anchor }, text)) };
  });
  const boxes = [...nodes].filter(([key]) => places.has(key)).map(([key, node]) => ({ key, element: box(key, node, places.get(key), open) }));
  root.append(...edges.map((one) => one.element), ...boxes.map((one) => one.element));

  root.bringOut = (key) => {
    const near = new Set([key]);
    for (const { edge, element } of edges) {
      const isNear = edge.from === key || edge.to === key;
      if (isNear) near.add(edge.from).add(edge.to);
      element.classList.toggle("out", isNear && key !== null);
      element.classList.toggle("dim", !isNear && key !== null);
    }
    for (const one of boxes) one.element.classList.toggle("dim", key !== null && !near.has(one.key));
  };
  for (const { key, element } of boxes) {
    for (const name of ["pointerenter", "focus"]) element.addEventListener(name, () => root.bringOut(key));
    for (const name of ["pointerleave", "blur"]) element.addEventListener(name, () => root.bringOut(null));
  }
  return root;
}

function box(key, node, { x, y }, open) {
  const element = svg("g", {
    class: `box ${node.kind}${node.isGroup ? " group" : ""}`, transform: `translate(${x} ${y})`, tabindex: 0, role: "link", "aria-label": `${node.kind} ${node.title}`, "data-key": key,
    onclick: () => open(key, node), onkeydown: (event) => event.key === "Enter" && open(key, node),
  }, svg("title", null, `${node.kind} ${node.title}\n${node.detail}${node.isGroup ? "\nopen to see them" : ""}`),
  node.isGroup && svg("rect", { class: "behind", x: 5, y: 5, width: BOX.width, height: BOX.height, rx: 8 }),
  svg("rect", { width: BOX.width, height: BOX.height, rx: node.kind === "exchange" ? 23 : 8 }),
  svg("text", { class: "title", x: 14, y: 19 }, shorten(node.title, 19)), svg("text", { class: "detail", x: 14, y: 36 }, detail(node)));
  if (node.ready || node.unacked) {
    element.append(svg("rect", { class: "backlog", x: 0, y: BOX.height - 3, width: BOX.width * Math.min(1, Math.log10(node.ready + node.unacked + 1) / 6), height: 3 }));
  }
  return element;
}

function detail(node) {
  if (node.kind === "exchange") return shorten([node.isGroup ? shorten(node.detail, 24) : node.detail, node.in > 0 && `in ${rate(node.in)}`, node.out > 0 && `out ${rate(node.out)}`].filter(Boolean).join(" · "), 29);
  if (node.kind === "consumer") return shorten(node.detail ?? "", 26);
  // There is room for one of them.
  const flow = node.in > 0 || node.out > 0 ? `${rate(node.in)} → ${rate(node.out)}` : "";
  return [`${compact(node.ready)} ready`, node.unacked > 0 ? `${compact(node.unacked)} unacked` : flow].filter(Boolean).join(" · ");
}
