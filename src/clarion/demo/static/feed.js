// The feed: what anyone says, every tab hears. The journal keeps it; a new tab shows the last 30.

import { appendTo, find, framed, line, postForm } from "./dom.js";

const HISTORY_LINES = 30;
const LINES = 500;

export function showFeed(source, record, me) {
  const list = find("feed");
  let history = [];
  let waiting = [];

  const draw = framed(() => {
    const drawn = [...history.slice(-HISTORY_LINES), ...waiting];
    history = [];
    waiting = [];
    appendTo(list, drawn.map(({ lastEventId, data }) => entry(lastEventId, data)), LINES);
  });

  function entry(id, { user, text, at }) {
    const item = line(user, text, at, user === me.name ? "mine" : "");
    item.dataset.id = id;
    return item;
  }

  source.on("chat", (event) => {
    (record.isHistory(event) ? history : waiting).push(event);
    draw();
  });

  postForm(find("say"), "/api/chat", () => ({ user: me.name }), () => find("say").reset());
}
