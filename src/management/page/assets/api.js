// The HTTP API, as the user who has logged in. The password is kept for this tab alone, and is sent with each request; no cookies.

const KEY = "leveret.authorization";

export class Failure extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

let whenLoggedOut = () => {};

export function onLoggedOut(listener) {
  whenLoggedOut = listener;
}

export function isLoggedIn() {
  return sessionStorage.getItem(KEY) !== null;
}

export async function login(name, password) {
  const utf8 = new TextEncoder().encode(`${name}:${password}`);
  sessionStorage.setItem(KEY, `Basic ${btoa(String.fromCharCode(...utf8))}`);
  try {
    return await get("whoami");
  } catch (failure) {
    sessionStorage.removeItem(KEY);
    throw failure;
  }
}

export function logout() {
  sessionStorage.removeItem(KEY);
  whenLoggedOut("");
}

// A path below /api from its parts.
export function path(...parts) {
  return parts.map(encodeURIComponent).join("/");
}

// The default exchange has another name in paths.
export function exchange(name) {
  return name === "" ? "amq.default" : name;
}

export function get(path) {
  return request("GET", path);
}

// Something that may not be there, or not be for this user: `otherwise` then.
export async function maybe(path, otherwise) {
  try {
    return await get(path);
  } catch (failure) {
    if (failure instanceof Failure && [401, 403, 404, 405].includes(failure.status) && isLoggedIn()) return otherwise;
    throw failure;
  }
}

export function put(path, body = {}) {
  return request("PUT", path, body);
}

export function post(path, body = {}) {
  return request("POST", path, body);
}

export function remove(path, headers = {}) {
  return request("DELETE", path, undefined, headers);
}

async function request(method, path, body, more = {}) {
  const headers = { ...more, authorization: sessionStorage.getItem(KEY) ?? "" };
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    // With credentials the browser would ask for a password itself.
    response = await fetch(`/api/${path}`, { method, headers, credentials: "omit", cache: "no-store", body: body && JSON.stringify(body) });
  } catch {
    throw new Failure(0, "The broker cannot be reached.");
  }
  const text = await response.text();
  const answer = text ? parse(text) : null;
  if (response.ok) return answer;
  const reason = answer?.reason ?? response.statusText;
  // `not_authorised` means that this user may not do this; with `not_authorized` there is no such user any more.
  if (response.status === 401 && answer?.error === "not_authorized" && isLoggedIn() && path !== "whoami") {
    sessionStorage.removeItem(KEY);
    whenLoggedOut("Please log in again.");
  }
  throw new Failure(response.status, reason);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return { reason: text };
  }
}
