// The last events as they arrived.

import { find, framed, make } from "./dom.js";

const EVENTS = 20;
const DATA_CHARS = 240;
const NOISE = new Set(["machine", "heartbeat"]);

export function showWire(source, record) {
  const body = find("wire");
  const noise = find("wire-machine");
  const pause = find("wire-pause");
  const kept = { all: [], calm: [] };

  const draw = framed(() => {
    if (pause.checked) return;
    body.replaceChildren(...(noise.checked ? kept.all : kept.calm).map(row).reverse());
  });

  source.onBatch((events) => {
    for (const event of events) {
      const shown = { ...event, replayed: record.isReplayed(event) };
      for (const list of NOISE.has(event.type) ? [kept.all] : [kept.all, kept.calm]) {
        list.push(shown);
        if (list.length > EVENTS) list.shift();
      }
    }
    draw();
  });
  noise.addEventListener("change", draw);
  pause.addEventListener("change", draw);
}

function row({ lastEventId, type, topic, text, replayed }) {
  const shortened = text.length > DATA_CHARS ? `${text.slice(0, DATA_CHARS)}…` : text;
  const cells = [lastEventId, type, topic, shortened].map((content) => make("td", "", content));
  return make("tr", replayed ? "replayed" : "", ...cells);
}
