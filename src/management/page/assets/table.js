// Tables with a filter, columns to sort by and pages. The rows come from a source: the API, which filters, sorts and pages itself, or
// a list that is there as a whole.

import * as api from "./api.js";
import { button, empty, h, replace } from "./dom.js";
import { count } from "./format.js";

const PAGE_SIZE = 50;

// Columns: { title, cell(row), sort (a name, for the API a field), numeric }. `open(row)` is an address, `key(row)` tells rows apart.
export function table({ label, columns, source, open, key, sort = null, reverse = false, none = "There is nothing here." }) {
  const state = { filter: "", sort, reverse, page: 1 };
  const body = h("tbody");
  const footer = h("div", { class: "pages" });
  const nothing = h("div");
  const heads = columns.map((column) => head(column));
  const filter = h("input", {
    class: "filter", type: "search", placeholder: `Filter ${label} (/)`, "aria-label": `Filter ${label}`, spellcheck: "false",
    oninput: later(() => {
      state.filter = filter.value;
      state.page = 1;
      refresh();
    }),
  });
  const frame = h("table", { class: "rows", "aria-label": label }, h("thead", null, h("tr", null, heads)), body);
  const element = h("div", { class: "table" }, h("div", { class: "tools" }, filter), frame, nothing, footer);

  function head(column) {
    if (!column.sort) return h("th", { scope: "col", class: column.numeric ? "number" : null }, column.title);
    const onclick = () => {
      state.reverse = state.sort === column.sort ? !state.reverse : Boolean(column.numeric);
      state.sort = column.sort;
      refresh();
    };
    return h("th", { scope: "col", class: column.numeric ? "number" : null }, h("button", { type: "button", class: "sort", onclick }, column.title));
  }

  let asked = 0;
  async function refresh() {
    const turn = (asked += 1);
    const found = await source({ ...state });
    // A later question has been answered already, or will be.
    if (turn !== asked) return;
    state.page = Math.min(state.page, Math.max(1, found.pages));
    columns.forEach((column, index) => {
      const direction = column.sort && column.sort === state.sort ? (state.reverse ? "descending" : "ascending") : null;
      if (direction) heads[index].setAttribute("aria-sort", direction);
      else heads[index].removeAttribute("aria-sort");
    });
    show(found);
  }

  function show({ rows, total, pages }) {
    const focused = document.activeElement?.closest("tr")?.rowKey;
    replace(body, rows.map(row));
    if (focused) [...body.children].find((tr) => tr.rowKey === focused)?.focus();
    frame.hidden = rows.length === 0;
    replace(nothing, rows.length === 0 && empty(state.filter ? `Nothing matches “${state.filter}”.` : none));
    const turn = (by) => () => {
      state.page += by;
      refresh();
    };
    const turner = (text, by, isThere) => {
      const one = button(text, turn(by));
      one.disabled = !isThere;
      return one;
    };
    replace(footer, h("span", null, `${count(total)} ${total === 1 ? singular(label) : label}`), pages > 1 && [turner("‹", -1, state.page > 1), h("span", null, `page ${state.page} of ${pages}`), turner("›", 1, state.page < pages)]);
  }

  function row(item) {
    const address = open?.(item);
    const goes = (event) => {
      if (event.target.closest("a, button, input, label") || getSelection()?.toString()) return;
      location.hash = address;
    };
    const onkeydown = (event) => event.key === "Enter" && event.target === tr && (location.hash = address);
    const tr = h("tr", address ? { tabindex: 0, class: "opens", onclick: goes, onkeydown } : { tabindex: 0 },
      columns.map((column) => h("td", { class: column.numeric ? "number" : column.class, "data-label": column.title }, column.cell(item))));
    tr.rowKey = key(item);
    return tr;
  }

  return { element, refresh };
}

// A list of the API, with its own paging.
export function remote(path, parameters = "") {
  return async ({ filter, sort, reverse, page }) => {
    const query = new URLSearchParams(parameters);
    query.set("page", page);
    query.set("page_size", PAGE_SIZE);
    if (filter) {
      query.set("name", filter);
      query.set("use_regex", "false");
    }
    if (sort) {
      query.set("sort", sort);
      query.set("sort_reverse", reverse);
    }
    const ask = () => api.get(`${path()}?${query}`);
    let answer;
    try {
      answer = await ask();
    } catch (failure) {
      // There are fewer pages than before.
      if (failure.status !== 400 || page === 1) throw failure;
      query.set("page", 1);
      answer = await ask();
    }
    return { rows: answer.items, total: answer.filtered_count, pages: answer.page_count };
  };
}

// A list that is there as a whole; `text(row)` is what the filter looks at.
export function local(rows, text) {
  return async ({ filter, sort, reverse, page }) => {
    const wanted = filter.toLowerCase();
    const found = (await rows()).filter((row) => !wanted || text(row).toLowerCase().includes(wanted));
    if (sort) found.sort((a, b) => compare(at(a, sort), at(b, sort)) * (reverse ? -1 : 1));
    const pages = Math.ceil(found.length / PAGE_SIZE);
    return { rows: found.slice((Math.min(page, pages || 1) - 1) * PAGE_SIZE).slice(0, PAGE_SIZE), total: found.length, pages };
  };
}

function at(row, field) {
  return field.split(".").reduce((value, name) => value?.[name], row);
}

function compare(a, b) {
  if (typeof a === "number" || typeof b === "number") return (a ?? 0) - (b ?? 0);
  return String(a ?? "").localeCompare(String(b ?? ""));
}

function singular(label) {
  return label.replace(/ies$/, "y").replace(/s$/, "");
}

function later(action) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, 200);
  };
}
