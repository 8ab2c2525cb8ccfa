// Numbers, times and tables as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export function count(n) {
  return n === undefined || n === null || Number.isNaN(n) ? "–" : whole.format(n);
}

export function compact(n) {
  if (n === undefined || n === null) return "–";
  return Math.abs(n) < 10000 ? whole.format(n) : short.format(n);
}

// Per second.
export function rate(n) {
  if (n === undefined || n === null) return "–";
  if (n === 0) return "0/s";
  return `${Math.abs(n) < 10 ? n.toFixed(1) : compact(Math.round(n))}/s`;
}

export function bytes(n) {
  if (n === undefined || n === null || Number.isNaN(n)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (Math.abs(n) >= 1024 && unit < units.length - 1) {
    n /= 1024;
    unit += 1;
  }
  return `${unit && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

export function duration(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).map(([size, unit], index) => {
    const n = Math.floor(index === 0 ? seconds / size : (seconds % parts[first][0]) / size);
    return n || index === 0 ? `${n} ${unit}` : "";
  }).join(" ").trim();
}

// How long ago something was, of milliseconds or seconds since the epoch or a text.
export function ago(time) {
  if (!time) return "–";
  const ms = typeof time === "number" ? (time < 1e11 ? time * 1000 : time) : Date.parse(time);
  if (Number.isNaN(ms)) return String(time);
  const seconds = Math.max(0, (Date.now() - ms) / 1000);
  return seconds < 2 ? "just now" : `${duration(seconds)} ago`;
}

export function clock(ms) {
  return new Date(ms).toLocaleTimeString("en-GB");
}

export function moment(seconds) {
  return new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 19);
}

// A value of an AMQP table.
export function value(v) {
  return typeof v === "string" ? v : JSON.stringify(v);
}

// What an exchange is called on the page.
export function exchangeName(name) {
  return name === "" ? "(default)" : name;
}
