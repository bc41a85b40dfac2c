// The connection's panel: what state it is in, a tape of what arrived, and buttons that break it.

import { appendTo, clock, find, framed, make, post } from "./dom.js";

const TAPE_MS = 60_000;
const TAPE_TICKS = 600; // more would only draw over each other
const LOG_LINES = 60;
const SVG = "http://www.w3.org/2000/svg";

export function showConnection(stream, me) {
  const pill = find("state");
  const shown = { state: "" };
  const draw = framed(() => {
    if (shown.state !== stream.state) {
      // Written only when it changes, because each writing is read out.
      shown.state = stream.state;
      pill.dataset.state = stream.state;
      pill.lastElementChild.textContent = stream.state;
    }
    find("last-id").textContent = stream.lastId || "–";
    find("client-id").textContent = stream.clientId.slice(0, 12) || "–";
    find("client-id").title = stream.clientId;
    find("mode").textContent = stream.mode || "–";
    find("sign").textContent = stream.clientId ? age(Date.now() - stream.signAt) : "–";
    for (const [name, count] of Object.entries(stream.counts)) {
      find(name).textContent = count.toLocaleString("en");
      find(name).classList.toggle("bad", count > 0 && (name === "gaps" || name === "disorder"));
    }
  });
  stream.addEventListener("state", draw);

  stream.addEventListener("log", ({ detail }) => {
    appendTo(find("log"), [make("li", "", make("time", "", clock(detail.at)), " ", detail.text)], LOG_LINES);
  });

  for (const [id, seconds] of [["drop", 0], ["drop-long", 5]]) {
    find(id).addEventListener("click", () => post("/api/drop", { tab: me.tab, seconds }));
  }
  showTape(stream);
}

const age = (ms) => (ms < 1500 ? "just now" : `${Math.round(ms / 1000)} s ago`);

/** One tick for each event of the last minute, on a band that shows when the line was up. */
function showTape(stream) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 600 30");
  svg.setAttribute("preserveAspectRatio", "none");
  find("tape").append(svg);
  let ticks = [];
  let spans = [];

  stream.addEventListener("event", ({ detail }) => {
    ticks.push({ at: Date.now(), kind: detail.replayed && !detail.history ? "replayed" : detail.type });
    if (ticks.length > TAPE_TICKS) ticks = ticks.slice(-TAPE_TICKS);
  });
  stream.addEventListener("state", () => {
    const last = spans.at(-1);
    if (last?.state !== stream.state) spans.push({ state: stream.state, from: Date.now() });
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
