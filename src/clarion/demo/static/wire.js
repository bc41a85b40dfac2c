// The last events as they arrived.

import { find, framed, make } from "./dom.js";

const EVENTS = 20;
const DATA_CHARS = 240;
const NOISE = new Set(["machine", "heartbeat"]);

export function showWire(stream) {
  const body = find("wire");
  const noise = find("wire-machine");
  const pause = find("wire-pause");
  const kept = { all: [], calm: [] };

  const draw = framed(() => {
    if (pause.checked) return;
    body.replaceChildren(...(noise.checked ? kept.all : kept.calm).map(row).reverse());
  });

  stream.addEventListener("event", ({ detail }) => {
    for (const list of NOISE.has(detail.type) ? [kept.all] : [kept.all, kept.calm]) {
      list.push(detail);
      if (list.length > EVENTS) list.shift();
    }
    draw();
  });
  noise.addEventListener("change", draw);
  pause.addEventListener("change", draw);
}

function row({ id, type, topic, text, replayed }) {
  const shortened = text.length > DATA_CHARS ? `${text.slice(0, DATA_CHARS)}…` : text;
  const cells = [id, type, topic, shortened].map((content) => make("td", "", content));
  return make("tr", replayed ? "replayed" : "", ...cells);
}
