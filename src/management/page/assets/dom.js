// Building elements. Text only ever becomes text nodes and attributes: whatever a queue is called, it cannot become markup.

const SVG = "http://www.w3.org/2000/svg";

// An element: properties that begin with `on` are listeners, null and false leave an attribute out.
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else if (name === "width_percent") element.style.width = `${value}%`;
    else if (name === "colour") element.style.setProperty("--colour", value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...flat(children));
  return element;
}

export function replace(element, ...children) {
  element.replaceChildren(...flat(children));
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

export function button(text, onclick, kind = "") {
  return h("button", { type: "button", class: kind, onclick }, text);
}

export function badge(text, kind = "", title = null) {
  return h("span", { class: `badge ${kind}`, title }, text);
}

// Names and values beside each other.
export function facts(pairs) {
  const shown = pairs.filter((pair) => pair && pair[1] !== undefined && pair[1] !== null && pair[1] !== "");
  return h("dl", { class: "facts" }, shown.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

// A part of a page with a heading, which can be closed where `closed` is given.
export function section(title, ...children) {
  return h("section", { class: "panel" }, h("h2", null, title), children);
}

export function folded(title, isOpen, ...children) {
  return h("details", { class: "panel", open: isOpen }, h("summary", null, h("h2", null, title)), children);
}

export function empty(text) {
  return h("p", { class: "empty" }, text);
}
