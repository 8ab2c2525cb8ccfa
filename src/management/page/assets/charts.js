// Line charts in SVG: a few lines over the last minutes, the value under the pointer, a legend with the latest values.

import { h, replace, svg } from "./dom.js";
import { clock } from "./format.js";

// Where it is not shown yet.
const WIDTH = 600;
const WIDTH_LEAST = 240;
const HEIGHT = 170;
const LEFT = 52;
const BOTTOM = 20;
const TOP = 8;
const SPAN_MS = 10 * 60 * 1000;
const SPAN_LEAST_MS = 60 * 1000;

// Names of the lines with their colours, which are variables of the style sheet.
export const COLOURS = {
  ready: "--amber", unacked: "--blue", total: "--grey", publish: "--green", confirm: "--cyan", deliver: "--violet", get: "--blue", ack: "--pink",
  redeliver: "--amber", memory: "--violet", received: "--green", sent: "--blue", limit: "--red",
};

// `lines` are names of values; `format` writes one of them. Bytes have round numbers of their own.
export function lineChart(title, lines, format, isBytes = false) {
  const plot = svg("svg", { height: HEIGHT, role: "img", "aria-label": title });
  const legend = h("ul", { class: "legend" });
  const tip = h("div", { class: "tip", hidden: true });
  const element = h("figure", { class: "chart" }, h("figcaption", null, title, legend), h("div", { class: "plot" }, plot, tip));
  let drawn = null;
  let shown = [];

  function update(samples) {
    shown = samples;
    drawn = draw(plot, samples, lines, format, isBytes);
    const last = samples.at(-1)?.values ?? {};
    replace(legend, lines.map((name) => h("li", { colour: `var(${COLOURS[name]})` }, name, " ", h("b", null, format(last[name] ?? 0)))));
    plot.setAttribute("aria-label", `${title}: ${lines.map((name) => `${name} ${format(last[name] ?? 0)}`).join(", ")}`);
  }

  plot.addEventListener("pointermove", (event) => {
    if (!drawn?.samples.length) return;
    const box = plot.getBoundingClientRect();
    const at = drawn.timeAt(event.clientX - box.left);
    const nearest = drawn.samples.reduce((best, sample) => (Math.abs(sample.at - at) < Math.abs(best.at - at) ? sample : best));
    replace(tip, h("b", null, clock(nearest.at)), lines.map((name) => h("span", { colour: `var(${COLOURS[name]})` }, `${name} ${format(nearest.values[name] ?? 0)}`)));
    tip.hidden = false;
    tip.classList.toggle("left", event.clientX - box.left > box.width / 2);
    drawn.cross(nearest.at);
  });
  plot.addEventListener("pointerleave", () => {
    tip.hidden = true;
    drawn?.cross(null);
  });
  // Text stays as large as it is, whatever the width.
  new ResizeObserver(() => (drawn = draw(plot, shown, lines, format, isBytes))).observe(plot);
  update([]);
  return { element, update };
}

function draw(plot, samples, lines, format, isBytes) {
  const width = Math.max(WIDTH_LEAST, plot.clientWidth || WIDTH);
  const end = samples.at(-1)?.at ?? Date.now();
  const span = Math.min(SPAN_MS, Math.max(SPAN_LEAST_MS, end - (samples[0]?.at ?? end)));
  const shown = samples.filter((sample) => sample.at >= end - span);
  const greatest = Math.max(3, ...shown.flatMap((sample) => lines.map((name) => sample.values[name] ?? 0)));
  const step = niceStep(greatest / 3, isBytes);
  const top = Math.ceil(greatest / step) * step;
  const x = (at) => LEFT + ((at - (end - span)) / span) * (width - LEFT - 6);
  const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  const children = [];
  for (let value = 0; value <= top + step / 2; value += step) {
    children.push(svg("line", { class: "grid", x1: LEFT, x2: width - 6, y1: y(value), y2: y(value) }));
    children.push(svg("text", { class: "axis", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)));
  }
  for (const part of [0, 0.5, 1]) {
    const anchor = part === 0 ? "start" : part === 1 ? "end" : "middle";
    const at = end - span + span * part;
    children.push(svg("text", { class: "axis", x: x(at), y: HEIGHT - 4, "text-anchor": anchor }, clock(at)));
  }
  lines.forEach((name, index) => {
    const points = shown.map((sample) => `${x(sample.at).toFixed(1)},${y(sample.values[name] ?? 0).toFixed(1)}`);
    if (!points.length) return;
    const path = svg("path", { class: "line", d: `M${points.join("L")}` });
    path.style.stroke = `var(${COLOURS[name]})`;
    if (index === 0) {
      const area = svg("path", { class: "area", d: `M${x(shown[0].at)},${y(0)}L${points.join("L")}L${x(shown.at(-1).at)},${y(0)}Z` });
      area.style.fill = `var(${COLOURS[name]})`;
      children.push(area);
    }
    children.push(path);
  });
  const cross = svg("line", { class: "cross", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  plot.replaceChildren(...children, cross);
  return {
    samples: shown,
    timeAt: (px) => end - span + ((px - LEFT) / (width - LEFT - 6)) * span,
    cross: (at) => {
      cross.setAttribute("visibility", at === null ? "hidden" : "visible");
      if (at !== null) for (const end of ["x1", "x2"]) cross.setAttribute(end, x(at));
    },
  };
}

// 1, 2 or 5 times a power of ten; of bytes a power of two.
function niceStep(least, isBytes) {
  if (isBytes) return 2 ** Math.ceil(Math.log2(Math.max(1, least)));
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  return [1, 2, 5, 10].find((factor) => factor * power >= least) * power;
}
