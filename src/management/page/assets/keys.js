// The keyboard: `/` to filter, `g` and a letter to go somewhere, `j` and `k` over rows, Enter and Escape, `?` for help.

import { h } from "./dom.js";
import { current, go } from "./router.js";

const PAGES = {
  o: ["overview", "Overview"], q: ["queues", "Queues"], s: ["streams", "Streams"], e: ["exchanges", "Exchanges"],
  c: ["connections", "Connections"], h: ["channels", "Channels"], t: ["topology", "Topology"], d: ["deadletters", "Dead letters"],
  p: ["policies", "Policies"], u: ["users", "Users"], v: ["vhosts", "Virtual hosts"],
};

const LETTERS_MS = 1200;

export function listen({ pause, theme }) {
  let wentAt = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input, textarea, select");
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") {
      const { page, args } = current();
      if (typing) typing.blur();
      else if (args.length) go(page);
      return;
    }
    if (typing) {
      // From the filter to what it has found.
      if (event.key === "ArrowDown" && typing.matches(".filter")) move(1, event);
      return;
    }
    if (Date.now() - wentAt < LETTERS_MS && PAGES[event.key]) {
      wentAt = 0;
      go(PAGES[event.key][0]);
      return;
    }
    const act = {
      "/": () => document.querySelector(".filter")?.focus(),
      "?": help,
      g: () => (wentAt = Date.now()),
      j: () => move(1, event),
      k: () => move(-1, event),
      p: pause,
      t: theme,
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

// The row that has the focus is the chosen one.
function move(by, event) {
  const rows = [...document.querySelectorAll("#content tbody tr[tabindex]")];
  if (!rows.length) return;
  event.preventDefault();
  const at = rows.indexOf(document.activeElement?.closest("tr"));
  const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by));
  rows[next].focus();
}

export function help() {
  const row = (keys, what) => h("tr", null, h("td", null, keys.map((key) => h("kbd", null, key))), h("td", null, what));
  const dialog = h("dialog", { class: "help", "aria-label": "Keys", onclose: () => dialog.remove() },
    h("h2", null, "Keys"),
    h("table", null, h("tbody", null,
      row(["/"], "filter"), row(["j"], "next row"), row(["k"], "row before"), row(["Enter"], "open"), row(["Esc"], "back"),
      row(["p"], "pause, go on"), row(["t"], "light or dark"), row(["?"], "this"),
      Object.entries(PAGES).map(([key, [, title]]) => row(["g", key], title)))),
    h("form", { method: "dialog" }, h("button", { class: "primary" }, "Close")));
  document.body.append(dialog);
  dialog.showModal();
}
