// The frame: who has logged in, where one can go, which virtual host is shown, and asking again while somebody looks.

import * as api from "./api.js";
import { note } from "./dialog.js";
import { button, h, replace } from "./dom.js";
import { forget } from "./history.js";
import * as keys from "./keys.js";
import { Poll } from "./poll.js";
import { current, go, to } from "./router.js";
import * as channels from "./views/channels.js";
import * as connections from "./views/connections.js";
import * as deadletters from "./views/deadletters.js";
import * as exchanges from "./views/exchanges.js";
import * as journal from "./views/journal.js";
import { loginForm } from "./views/login.js";
import * as overview from "./views/overview.js";
import * as policies from "./views/policies.js";
import * as queues from "./views/queues.js";
import * as topology from "./views/topology.js";
import * as users from "./views/users.js";
import * as vhosts from "./views/vhosts.js";

const THEME = "leveret.theme";

// Page → title and what opens it; `open(args, app)` gives { title, element, refresh }.
const PAGES = {
  overview: ["Overview", overview.open],
  queues: ["Queues", queues.open],
  streams: ["Streams", queues.openStreams],
  exchanges: ["Exchanges", exchanges.open],
  topology: ["Topology", topology.open],
  deadletters: ["Dead letters", deadletters.open],
  journal: ["Journal", journal.open, "administrator", "test_api"],
  connections: ["Connections", connections.open],
  channels: ["Channels", channels.open],
  policies: ["Policies", policies.open],
  users: ["Users", users.open, "administrator"],
  vhosts: ["Virtual hosts", vhosts.open, "monitoring"],
};

const root = document.getElementById("app");
let frame = null;

function start() {
  applyTheme(localStorage.getItem(THEME));
  api.onLoggedOut(showLogin);
  keys.listen({ pause: () => frame?.pause(), theme: nextTheme });
  window.addEventListener("hashchange", () => frame?.show());
  if (api.isLoggedIn()) enter();
  else showLogin("");
}

function showLogin(text) {
  frame?.stop();
  frame = null;
  forget();
  document.title = "Log in · Leveret";
  replace(root, loginForm(text, enter));
  root.querySelector("input")?.focus();
}

async function enter() {
  try {
    const [me, list, extensions] = await Promise.all([api.get("whoami"), api.get("vhosts?columns=name"), api.get("extensions")]);
    frame = new Frame(me, list.map((vhost) => vhost.name), extensions);
    frame.show();
  } catch (failure) {
    showLogin(failure.message);
  }
}

class Frame {
  constructor(me, names, extensions) {
    this.me = me;
    this.extensions = extensions;
    this.tags = [me.tags].flat().flatMap((tags) => String(tags).split(","));
    this.vhosts = names;
    this.vhost = "";
    this.view = null;
    this.poll = new Poll(() => this.refresh());
    this.content = h("main", { id: "content", tabindex: -1 });
    this.status = h("span", { class: "status", role: "status" });
    this.pauser = button("Pause", () => this.pause());
    this.nav = h("nav", { "aria-label": "Pages" });
    const choose = (event) => {
      this.vhost = event.target.value;
      this.show();
    };
    this.chooser = h("select", { "aria-label": "Virtual host", onchange: choose });
    this.listVhosts(names);
    replace(root, h("div", { class: "frame" },
      h("header", null,
        h("a", { class: "brand", href: to("overview") }, h("img", { src: "/assets/icon.svg", alt: "", width: 28, height: 28 }), "Leveret"),
        this.chooser, h("span", { class: "space" }), this.status, this.pauser,
        button("◐", nextTheme, "plain theme"), button("?", keys.help, "plain help-button"),
        h("span", { class: "user" }, me.name), button("Log out", api.logout)),
      this.nav, this.content));
    root.querySelector(".theme").setAttribute("aria-label", "Light or dark");
    root.querySelector(".help-button").setAttribute("aria-label", "Keys");
  }

  // Whether the user has a tag, or one that includes it.
  is(tag) {
    const including = { monitoring: ["monitoring", "administrator"], policymaker: ["policymaker", "administrator"] };
    return (including[tag] ?? [tag]).some((one) => this.tags.includes(one));
  }

  // Whether a page is for this user and this broker, which may have been started with something that others do not have.
  mayOpen([, , tag, extension]) {
    return (!tag || this.is(tag)) && (!extension || this.extensions.some((one) => one[extension]));
  }

  listVhosts(names) {
    this.vhosts = names;
    if (!names.includes(this.vhost)) this.vhost = "";
    replace(this.chooser, h("option", { value: "" }, "All virtual hosts"), names.map((name) => h("option", { value: name, selected: name === this.vhost }, name)));
  }

  // A list of the API, of the chosen virtual host or of all.
  listOf(kind) {
    if (!this.vhost) return kind;
    return ["connections", "channels"].includes(kind) ? api.path("vhosts", this.vhost, kind) : `${kind}/${api.path(this.vhost)}`;
  }

  show() {
    const { page, args } = current();
    const [title, open] = PAGES[page] && this.mayOpen(PAGES[page]) ? PAGES[page] : PAGES.overview;
    replace(this.nav, Object.entries(PAGES).filter(([, one]) => this.mayOpen(one)).map(([name, [text]]) =>
      h("a", { href: to(name), "aria-current": name === page ? "page" : null }, text)));
    this.nav.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.view?.close?.();
    this.view = open(args, this);
    document.title = `${this.view.title ?? title} · Leveret`;
    replace(this.content, this.view.heading ?? h("h1", null, this.view.title ?? title), this.view.element);
    scrollTo(0, 0);
    this.poll.now();
  }

  async refresh() {
    const view = this.view;
    try {
      await view.refresh();
      this.say(this.poll.isPaused ? "paused" : "live", "");
    } catch (failure) {
      if (view !== this.view || !api.isLoggedIn()) return;
      this.say(failure.status === 0 ? "unreachable" : "error", "bad");
      if (failure.status === 404 && current().args.length) {
        note("It is not there any more.", true);
        go(current().page);
      } else if (failure.status !== 0) {
        note(failure.message, true);
      }
    }
  }

  say(text, kind) {
    replace(this.status, text);
    this.status.className = `status ${kind || text}`;
  }

  pause() {
    this.poll.pause(!this.poll.isPaused);
    replace(this.pauser, this.poll.isPaused ? "Go on" : "Pause");
    this.say(this.poll.isPaused ? "paused" : "live", "");
  }

  stop() {
    this.view?.close?.();
    this.poll.stop();
  }
}

function isDark() {
  return document.documentElement.dataset.theme === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
}

function nextTheme() {
  const next = isDark() ? "light" : "dark";
  localStorage.setItem(THEME, next);
  applyTheme(next);
}

function applyTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}

start();
