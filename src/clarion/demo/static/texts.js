// A text as it is written. It is a value: a tab that reloads is told all of it so far, and then the rest.

import { failure, find, framed, post, postForm } from "./dom.js";

const TOPIC = "text";
const SAYS = {
  running: "writing",
  completed: "",
  cancelled: "stopped",
  lost: "lost: its server has stopped",
};

export function showTexts(stream, me) {
  const sheet = find("sheet");
  const prose = find("prose");
  let generation; // the value; undefined where there is none

  const draw = framed(() => {
    const { status = "empty", text = "", metadata } = generation ?? {};
    sheet.dataset.status = status;
    find("asked").textContent = metadata ? `“${metadata.prompt}”, for ${metadata.user}` : "";
    const atEnd = sheet.scrollHeight - sheet.scrollTop - sheet.clientHeight < 40;
    prose.textContent = text || (generation?.refusal ?? "");
    if (atEnd) sheet.scrollTop = sheet.scrollHeight;
    find("text-stop").hidden = status !== "running";
    if (generation) find("text-source").textContent = [`by ${metadata.source}`, says(generation)].filter(Boolean).join(" · ");
  });

  stream.addEventListener("value", ({ detail: { topic, value } }) => {
    if (topic !== TOPIC) return;
    generation = value;
    draw();
  });

  postForm(find("text-form"), "/api/texts", () => ({ user: me.name }));
  find("text-stop").addEventListener("click", () => post(`/api/tasks/${TOPIC}/cancel`));
  showSource();
}

function says({ status, text, reasoning, error, finishReason }) {
  if (status === "failed") return failure(error);
  if (status === "running" && reasoning && !text) return "thinking";
  if (status === "completed" && finishReason === "length") return "cut off at its greatest length";
  return SAYS[status];
}

async function showSource() {
  const response = await fetch("/api/about");
  const { textSource } = await response.json();
  const place = find("text-source");
  if (!place.textContent) place.textContent = `by ${textSource}`;
}
