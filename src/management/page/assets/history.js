// What charts show: samples that the page has collected, and those that the broker had before the page was opened.

const KEPT_MS = 10 * 60 * 1000;

const known = new Map();

// The samples of something: `{ at, values }`, oldest first.
export function samples(key) {
  return known.get(key) ?? [];
}

export function add(key, values) {
  const now = Date.now();
  const kept = samples(key).filter((sample) => sample.at > now - KEPT_MS);
  kept.push({ at: now, values });
  known.set(key, kept);
  // Of what nobody has looked at lately nothing is kept.
  if (known.size > 200) known.delete(known.keys().next().value);
}

export function forget() {
  known.clear();
}

// Takes in what the broker knows of before, once. `lengths` and `rates` are of the form { name: x_details }; of a rate the samples
// are counters.
export function begin(key, lengths, rates) {
  if (known.has(key)) return;
  const at = new Map();
  const put = (time, name, value) => {
    if (!at.has(time)) at.set(time, {});
    at.get(time)[name] = value;
  };
  for (const [name, details] of Object.entries(lengths)) {
    for (const { timestamp, sample } of details?.samples ?? []) put(timestamp, name, sample);
  }
  for (const [name, details] of Object.entries(rates)) {
    const points = [...(details?.samples ?? [])].sort((a, b) => a.timestamp - b.timestamp);
    for (let n = 1; n < points.length; n += 1) {
      const seconds = (points[n].timestamp - points[n - 1].timestamp) / 1000;
      put(points[n].timestamp, name, Math.max(0, (points[n].sample - points[n - 1].sample) / seconds));
    }
  }
  const before = [...at].map(([time, values]) => ({ at: time, values })).sort((a, b) => a.at - b.at);
  // Before the broker was there it has nothing but zeros.
  const first = before.findIndex(({ values }) => Object.values(values).some((value) => value > 0));
  known.set(key, before.slice(first < 0 ? before.length : Math.max(0, first - 1)).filter((sample) => sample.at < Date.now() && sample.at > Date.now() - KEPT_MS));
}

// What to ask the broker for, for `begin`.
export const PAST = "lengths_age=600&lengths_incr=5&msg_rates_age=600&msg_rates_incr=5";
