// The feed: what anyone says, every tab hears. The journal keeps it; a new tab shows the last 30.

import { appendTo, find, framed, line, postForm } from "./dom.js";

const HISTORY_LINES = 30;
const LINES = 500;

export function showFeed(stream, me) {
  const list = find("feed");
  let history = [];
  let waiting = [];

  const draw = framed(() => {
    const drawn = [...history.slice(-HISTORY_LINES), ...waiting];
    history = [];
    waiting = [];
    appendTo(list, drawn.map(({ id, data }) => entry(id, data)), LINES);
  });

  function entry(id, { user, text, at }) {
    const item = line(user, text, at, user === me.name ? "mine" : "");
    item.dataset.id = id;
    return item;
  }

  stream.addEventListener("chat", ({ detail }) => {
    (detail.history ? history : waiting).push(detail);
    draw();
  });

  postForm(find("say"), "/api/chat", () => ({ user: me.name }), () => find("say").reset());
}
