// A text as it is written. The pieces are in the journal, so a tab that reloads reads it from its beginning.

import { find, framed, post, postForm } from "./dom.js";

const SAYS = { streaming: "writing", stopped: "stopped", failed: "failed", done: "", lost: "lost: its server has stopped" };

export function showTexts(stream, me) {
  const sheet = find("sheet");
  const prose = find("prose");
  let text = null; // the newest; older ones go on unseen

  const draw = framed(() => {
    sheet.dataset.status = text.status;
    find("asked").textContent = text.prompt ? `“${text.prompt}”, for ${text.user}` : "";
    const atEnd = sheet.scrollHeight - sheet.scrollTop - sheet.clientHeight < 40;
    prose.textContent = text.whole;
    if (atEnd) sheet.scrollTop = sheet.scrollHeight;
    find("text-stop").hidden = text.status !== "streaming";
    const says = text.reason ?? SAYS[text.status];
    find("text-source").textContent = [text.source && `by ${text.source}`, says].filter(Boolean).join(" · ");
  });

  stream.addEventListener("text", ({ detail }) => {
    const piece = detail.data;
    if (piece.seq === 0) text = { id: piece.textId, whole: "", ...pick(piece) };
    if (text?.id !== piece.textId) return;
    text.whole += piece.delta;
    text.status = piece.status;
    text.reason = piece.reason;
    draw();
  });

  stream.addEventListener("server", () => {
    if (text?.status !== "streaming") return;
    text.status = "lost";
    draw();
  });

  postForm(find("text-form"), "/api/texts", () => ({ user: me.name }));
  find("text-stop").addEventListener("click", () => post(`/api/texts/${text.id}/stop`));
  showSource();
}

const pick = ({ prompt, user, source, status }) => ({ prompt, user, source, status });

async function showSource() {
  const response = await fetch("/api/about");
  const { textSource } = await response.json();
  const place = find("text-source");
  if (!place.textContent) place.textContent = `by ${textSource}`;
}
