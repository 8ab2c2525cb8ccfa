// Where things stand: columns of exchanges by how far they are from where messages come in, then queues, then consumers; within a
// column near to what they are connected with.

export const BOX = { width: 184, height: 46 };
const GAP = { x: 124, y: 16 };
const MARGIN = 16;
const LAYERS_MAX = 4;
const SWEEPS = 6;

// Gives { width, height, places: Map of id → { x, y }, paths: [{ edge, d, label: { x, y, anchor } }] }.
export function layout({ nodes, edges }) {
  const columns = columnsOf(nodes, edges);
  order(columns, edges);
  const tallest = Math.max(1, ...columns.map((column) => column.length));
  const height = tallest * (BOX.height + GAP.y);
  const places = new Map();
  columns.forEach((column, index) => {
    // Few stand in the middle of many, evenly.
    const step = Math.min(height / Math.max(1, column.length), (BOX.height + GAP.y) * 3);
    const top = (height - step * column.length) / 2;
    column.forEach((key, row) => places.set(key, { x: MARGIN + index * (BOX.width + GAP.x), y: MARGIN + top + step * (row + 0.5) - BOX.height / 2 }));
  });
  const width = Math.max(1, columns.length) * (BOX.width + GAP.x) - GAP.x + 2 * MARGIN;
  return { width, height: height + 2 * MARGIN + 30, places, paths: paths(edges, places) };
}

function columnsOf(nodes, edges) {
  const depth = new Map([...nodes].filter(([, node]) => node.kind === "exchange").map(([key]) => [key, 0]));
  const between = edges.filter((edge) => depth.has(edge.from) && depth.has(edge.to) && edge.from !== edge.to);
  // As often as there are layers at most: exchanges may be bound in a circle.
  for (let turn = 1; turn < LAYERS_MAX; turn += 1) {
    for (const { from, to } of between) if (depth.get(to) <= depth.get(from)) depth.set(to, Math.min(LAYERS_MAX - 1, depth.get(from) + 1));
  }
  const used = [...new Set(depth.values())].sort();
  const columns = used.map((layer) => [...depth].filter(([, one]) => one === layer).map(([key]) => key));
  for (const kind of ["queue", "consumer"]) columns.push([...nodes].filter(([, node]) => node.kind === kind).map(([key]) => key));
  return columns.filter((column) => column.length).map((column) => column.sort());
}

// Each goes to the middle of its neighbours, in turns from left to right and back.
function order(columns, edges) {
  const neighbours = new Map(columns.flat().map((key) => [key, []]));
  for (const { from, to, kind } of edges) {
    const times = kind === "dead-letter" ? 1 : 3;
    for (let n = 0; n < times; n += 1) {
      neighbours.get(from)?.push(to);
      neighbours.get(to)?.push(from);
    }
  }
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    for (const column of sweep % 2 ? [...columns].reverse() : columns) {
      const at = new Map(columns.flatMap((all) => all.map((key, row) => [key, (row + 0.5) / all.length])));
      const middle = (key) => {
        const around = neighbours.get(key).filter((other) => !column.includes(other));
        return around.length ? around.reduce((sum, other) => sum + at.get(other), 0) / around.length : at.get(key);
      };
      const wanted = new Map(column.map((key) => [key, middle(key)]));
      column.sort((a, b) => wanted.get(a) - wanted.get(b) || (a < b ? -1 : 1));
    }
  }
}

function paths(edges, places) {
  const shown = edges.filter((edge) => places.has(edge.from) && places.has(edge.to));
  // Edges that end at the same box end below each other, in the order in which they come.
  const ports = new Map();
  const portsOf = (end, key) => {
    const name = `${end}${key}`;
    if (!ports.has(name)) ports.set(name, []);
    return ports.get(name);
  };
  for (const edge of shown) {
    portsOf("<", edge.from).push({ edge, other: places.get(edge.to).y });
    portsOf(">", edge.to).push({ edge, other: places.get(edge.from).y });
  }
  for (const all of ports.values()) all.sort((a, b) => a.other - b.other);
  const port = (end, key, edge) => {
    const all = ports.get(`${end}${key}`);
    const row = all.findIndex((one) => one.edge === edge);
    return places.get(key).y + ((row + 1) / (all.length + 1)) * BOX.height;
  };
  return shown.map((edge) => {
    const [from, to] = [places.get(edge.from), places.get(edge.to)];
    const [y1, y2] = [port("<", edge.from, edge), port(">", edge.to, edge)];
    const isCrowded = ports.get(`>${edge.to}`).length > 3;
    if (to.x > from.x) {
      const [x1, x2] = [from.x + BOX.width, to.x];
      const bend = Math.max(40, (x2 - x1) / 2);
      const isToConsumer = edge.kind === "consumer";
      const label = isToConsumer ? { x: x1 + 10, y: y1 - 4, anchor: "start" } : { x: x2 - 12, y: y2 - 4, anchor: "end" };
      return { edge, d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`, label: isCrowded && !isToConsumer ? null : label };
    }
    if (to.x === from.x) {
      // Within a column: round the right side.
      const x = from.x + BOX.width;
      return { edge, d: `M${x} ${y1}C${x + 70} ${y1} ${x + 70} ${y2} ${x} ${y2}`, label: { x: x + 56, y: (y1 + y2) / 2, anchor: "start" } };
    }
    // Back to the left: out of the bottom of one box and into the bottom of the other.
    const [x1, x2] = [from.x + BOX.width * 0.3, to.x + BOX.width * 0.7];
    const [b1, b2] = [from.y + BOX.height, to.y + BOX.height];
    const bend = 30 + Math.abs(b1 - b2) * 0.1;
    return { edge, d: `M${x1} ${b1}C${x1 - 60} ${b1 + bend} ${x2 + 90} ${b2 + bend} ${x2} ${b2}`, label: { x: x1 - 16, y: b1 + 12, anchor: "end" } };
  });
}
