// A text as it is written. It is a value: a tab that reloads is told all of it so far, and then the rest.

import { failure, find, framed, post, postForm } from "./dom.js";

const TOPIC = "text";
const SAYS = {
  running: "writing",
  completed: "",
  cancelled: "stopped",
  lost: "lost: its server has stopped",
};

export function showTexts(source, me) {
  const sheet = find("sheet");
  const prose = find("prose");
  let generation; // the value; undefined where there is none
  let label = ""; // of who writes the next one

  const draw = framed(() => {
    const { status = "empty", text, refusal, metadata } = generation ?? {};
    sheet.dataset.status = status;
    find("asked").textContent = metadata ? `“${metadata.prompt}”, for ${metadata.user}` : "";
    const atEnd = sheet.scrollHeight - sheet.scrollTop - sheet.clientHeight < 40;
    prose.textContent = text || refusal || "";
    if (atEnd) sheet.scrollTop = sheet.scrollHeight;
    find("text-stop").hidden = status !== "running";
    const source = metadata?.source ?? label;
    find("text-source").textContent = [source && `by ${source}`, generation && says(generation)].filter(Boolean).join(" · ");
  });

  source.value(TOPIC).subscribe((value) => {
    generation = value;
    draw();
  });

  postForm(find("text-form"), "/api/texts", () => ({ user: me.name }));
  find("text-stop").addEventListener("click", () => post(`/api/tasks/${TOPIC}/cancel`));
  fetch("/api/about")
    .then((answer) => answer.json())
    .then(({ textSource }) => {
      label = textSource;
      draw();
    });
}

function says({ status, text, reasoning, error, finishReason }) {
  if (status === "failed") return failure(error);
  if (status === "running" && reasoning && !text) return "thinking";
  if (status === "completed" && finishReason === "length") return "cut off at its greatest length";
  return SAYS[status];
}
