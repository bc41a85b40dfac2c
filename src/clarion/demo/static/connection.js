// The connection's panel: what state it is in, a tape of what arrived, and buttons that break it.

import { appendTo, clock, find, framed, make, post } from "./dom.js";

const TAPE_MS = 60_000;
const TAPE_TICKS = 600; // more would only draw over each other
const LOG_LINES = 60;
const SVG = "http://www.w3.org/2000/svg";

export function showConnection(source, record, me) {
  const pill = find("state");
  const shown = { state: "" };
  const draw = framed(() => {
    if (shown.state !== record.state) {
      // Written only when it changes, because each writing is read out.
      shown.state = record.state;
      pill.dataset.state = record.state;
      pill.lastElementChild.textContent = record.state;
    }
    find("last-id").textContent = record.lastId || "–";
    find("client-id").textContent = record.clientId.slice(0, 12) || "–";
    find("client-id").title = record.clientId;
    find("mode").textContent = record.mode || "–";
    find("sign").textContent = record.clientId ? age(Date.now() - record.heardAt) : "–";
    for (const [name, count] of Object.entries(record.counts)) {
      find(name).textContent = count.toLocaleString("en");
      find(name).classList.toggle("bad", count > 0 && (name === "gaps" || name === "disorder"));
    }
  });
  record.addEventListener("change", draw);

  record.addEventListener("log", ({ detail }) => {
    appendTo(find("log"), [make("li", "", make("time", "", clock(detail.at)), " ", detail.text)], LOG_LINES);
  });

  for (const [id, seconds] of [["drop", 0], ["drop-long", 5]]) {
    find(id).addEventListener("click", () => post("/api/drop", { tab: me.tab, seconds }));
  }
  showTape(source, record);
}

const age = (ms) => (ms < 1500 ? "just now" : `${Math.round(ms / 1000)} s ago`);

/** One tick for each event of the last minute, on a band that shows when the line was up. */
function showTape(source, record) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 600 30");
  svg.setAttribute("preserveAspectRatio", "none");
  find("tape").append(svg);
  let ticks = [];
  let spans = [];

  source.onBatch((events) => {
    const at = Date.now();
    for (const event of events) {
      ticks.push({ at, kind: record.isReplayed(event) && !record.isHistory(event) ? "replayed" : event.type });
    }
    if (ticks.length > TAPE_TICKS) ticks = ticks.slice(-TAPE_TICKS);
  });
  record.addEventListener("change", () => {
    const last = spans.at(-1);
    if (last?.state !== record.state) spans.push({ state: record.state, from: Date.now() });
  });

  const draw = () => {
    const now = Date.now();
    const x = (at) => 600 * (1 - (now - at) / TAPE_MS);
    spans = spans.filter((span, index) => index === spans.length - 1 || spans[index + 1].from > now - TAPE_MS);
    ticks = ticks.filter((tick) => tick.at > now - TAPE_MS);
    const bands = spans.map((span, index) => {
      const from = Math.max(0, x(span.from));
      return rectangle(`band ${span.state}`, from, x(spans[index + 1]?.from ?? now) - from, 24, 6);
    });
    const lines = ticks.map((tick) => rectangle(`tick ${tick.kind}`, x(tick.at) - 2, 2, 2, 19));
    svg.replaceChildren(...bands, ...lines);
  };
  setInterval(() => document.hidden || draw(), 250);
}

function rectangle(className, x, width, y, height) {
  const element = document.createElementNS(SVG, "rect");
  element.setAttribute("class", className);
  for (const [name, value] of Object.entries({ x, y, width: Math.max(width, 0), height })) element.setAttribute(name, value);
  return element;
}
