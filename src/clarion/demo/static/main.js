// The page: one source of events, and the panels that listen to it.

import { createSource } from "/clarion.js";
import { showConnection } from "./connection.js";
import { find } from "./dom.js";
import { showFeed } from "./feed.js";
import { showJobs } from "./jobs.js";
import { showMachine } from "./machine.js";
import { showPeople } from "./people.js";
import { Record } from "./record.js";
import { showTexts } from "./texts.js";
import { showWire } from "./wire.js";

const FIRST = ["Amber", "Brisk", "Calm", "Dapper", "Early", "Fond", "Gentle", "Hazel", "Ivory", "Jolly", "Keen", "Lunar"];
const LAST = ["Heron", "Otter", "Lark", "Badger", "Finch", "Marten", "Plover", "Swift", "Wren", "Hare", "Robin", "Tern"];
const pick = (list) => list[Math.floor(Math.random() * list.length)];

/** What this tab is called, and a secret by which only it can drop its own connection. Both live as long as the tab. */
function remembered(key, invent) {
  const value = sessionStorage.getItem(key) ?? invent();
  sessionStorage.setItem(key, value);
  return value;
}

const me = {
  name: remembered("name", () => `${pick(FIRST)} ${pick(LAST)}`),
  tab: remembered("tab", () =>
    Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join(""),
  ),
};

const url = new URL(`/events?${new URLSearchParams({ user: me.name, tab: me.tab })}`, location);
const source = createSource({ url });
const record = new Record(source);
showConnection(source, record, me);
showMachine(source);
showFeed(source, record, me);
showPeople(source, record, me);
showJobs(source, me);
showTexts(source, me);
showWire(source, record);

// The buttons that break the connection have the server end it for good. This page comes back all the same.
source.on("bye", ({ data }) => {
  if (data.reason === "kicked") setTimeout(() => source.open(), data.retry);
});

const form = find("you");
const field = find("name");
field.value = me.name;

function rename() {
  const name = field.value.trim();
  field.setCustomValidity(
    /^[\p{L}\p{N}_][\p{L}\p{N}_ .'-]*$/u.test(name) ? "" : "Letters, digits, spaces and . ' - _ only, please.",
  );
  if (!form.reportValidity() || name === me.name) return;
  me.name = name;
  sessionStorage.setItem("name", name);
  url.searchParams.set("user", name); // it is read at each attempt
  source.reconnect();
}

form.addEventListener("submit", (submission) => {
  submission.preventDefault();
  rename();
});
field.addEventListener("change", rename);
field.addEventListener("input", () => field.setCustomValidity(""));
