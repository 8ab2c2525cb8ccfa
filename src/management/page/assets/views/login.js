// Logging in, with the name and password of a user of the broker.

import * as api from "../api.js";
import { h, replace } from "../dom.js";

export function loginForm(text, entered) {
  const name = h("input", { name: "username", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false" });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password" });
  const wrong = h("p", { class: "wrong", role: "alert" }, text);
  const submit = h("button", { class: "primary" }, "Log in");
  const onsubmit = async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      await api.login(name.value, password.value);
      await entered();
    } catch (failure) {
      const isUnknown = failure.status === 401 && failure.message === "Not_Authorized";
      replace(wrong, isUnknown ? "There is no such user, or the password is another." : failure.message);
      password.select();
    }
    submit.disabled = false;
  };
  return h("main", { class: "login", id: "content" }, h("form", { onsubmit },
    h("img", { src: "/assets/icon.svg", alt: "", width: 56, height: 56 }), h("h1", null, "Leveret"),
    h("label", null, h("span", null, "User"), name), h("label", null, h("span", null, "Password"), password), wrong, submit));
}
