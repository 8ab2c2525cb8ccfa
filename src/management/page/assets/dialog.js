// Questions before something is done, forms, and short notes of what has been done.

import { button, h, replace } from "./dom.js";

const NOTE_MS = 6000;

export function note(text, isBad = false) {
  const element = h("div", { class: isBad ? "toast bad" : "toast" }, text);
  document.getElementById("toasts").append(element);
  setTimeout(() => element.remove(), NOTE_MS);
}

// Carries something out, and says what came of it; gives whether it went well.
export async function attempt(action, done) {
  try {
    const answer = await action();
    const text = typeof done === "function" ? done(answer) : done;
    if (text) note(text);
    return true;
  } catch (failure) {
    note(failure.message, true);
    return false;
  }
}

// Asks, and does it when the answer is yes.
export function confirm(title, text, verb, action) {
  return form(title, [], verb, action, { text, isDangerous: true });
}

// A form. Fields: { name, label, type, value, options, hint, required }. `action` is given the values; the dialog stays open when
// it fails, and says why.
export function form(title, fields, verb, action, { text = null, isDangerous = false } = {}) {
  return new Promise((resolve) => {
    const inputs = new Map(fields.map((field) => [field.name, input(field)]));
    const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
    const submit = h("button", { class: isDangerous ? "danger" : "primary" }, verb);
    let isDone = false;
    const onsubmit = async (event) => {
      event.preventDefault();
      submit.disabled = true;
      try {
        await action(valuesOf(inputs));
        isDone = true;
        dialog.close();
      } catch (failure) {
        replace(wrong, failure.message);
        wrong.hidden = false;
      }
      submit.disabled = false;
    };
    const content = h("form", { onsubmit }, h("h2", null, title), text && h("p", null, text),
      fields.map((field) => labelled(field, inputs.get(field.name))), wrong,
      h("div", { class: "actions" }, button("Cancel", () => dialog.close()), submit));
    const dialog = h("dialog", { "aria-label": title, onclose: () => (dialog.remove(), resolve(isDone)) }, content);
    document.body.append(dialog);
    dialog.showModal();
    (content.querySelector("input, textarea, select") ?? submit).focus();
  });
}

// The same as part of a page.
export function inlineForm(fields, verb, action) {
  const inputs = new Map(fields.map((field) => [field.name, input(field)]));
  const onsubmit = async (event) => {
    event.preventDefault();
    await action(valuesOf(inputs));
  };
  return h("form", { class: "inline", onsubmit }, fields.map((field) => labelled(field, inputs.get(field.name))),
    h("div", { class: "actions" }, h("button", { class: "primary" }, verb)));
}

function input({ name, type = "text", value = "", options, required, placeholder, min, max, list }) {
  const shared = { name, required, placeholder, autocomplete: type === "password" ? "new-password" : "off" };
  if (options) {
    const option = (one) => (Array.isArray(one) ? one : [one, one]);
    return h("select", { name, value: null }, options.map(option).map(([key, text]) => h("option", { value: key, selected: key === value }, text)));
  }
  if (type === "area") return h("textarea", { ...shared, rows: 4, spellcheck: "false", value });
  if (type === "check") return h("input", { name, type: "checkbox", checked: Boolean(value) });
  if (list) {
    const id = `list-${name}-${Math.random().toString(36).slice(2)}`;
    const box = h("input", { ...shared, value, list: id });
    box.choices = h("datalist", { id }, list.map((one) => h("option", { value: one })));
    return box;
  }
  return h("input", { ...shared, type, value, min, max });
}

function labelled({ label, type, hint }, element) {
  const text = [h("span", null, label), hint && h("small", null, hint)];
  return h("label", { class: type === "check" ? "check" : type === "area" ? "wide" : null },
    type === "check" ? [element, text] : [text, element, element.choices]);
}

function valuesOf(inputs) {
  return Object.fromEntries([...inputs].map(([name, element]) => [name, element.type === "checkbox" ? element.checked : element.value]));
}

// A text of JSON that has to be an object, as arguments are.
export function object(text, what) {
  if (!text.trim()) return {};
  let parsed;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new Error(`${what} is not JSON`);
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) throw new Error(`${what} has to be a JSON object`);
  return parsed;
}
