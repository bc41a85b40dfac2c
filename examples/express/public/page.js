import { createSource } from "/clarion-client/index.js";

const $ = (id) => document.getElementById(id);
let source;

/** Asks the Express app; throws what it says is wrong. */
async function ask(path, body) {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(path, body && { method: "POST", headers, body: JSON.stringify(body) });
  const told = await answer.json();
  if (answer.status === 401) signOut();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

function signOut() {
  source?.close();
  $("app").hidden = true;
  $("login").hidden = false;
}

/** Opens the user's stream at the hub. */
function read({ user, url }) {
  source = createSource({
    url,
    // Asked before every attempt: a token that is ten minutes old is no use.
    headers: async () => ({ authorization: `Bearer ${(await ask("/token")).token}` }),
  });
  source.on("note", ({ data }) => show("note", `${data.from} to you`, data.text));
  source.on("announcement", ({ data }) => show("announcement", `${data.from} to all`, data.text));
  source.onGap(() => show("gap", "Clarion", "Something was missed while you were away."));
  source.onStatus(({ state, connected }) => {
    $("state").textContent = connected ? "live" : state;
  });
  $("user").textContent = user;
  $("login").hidden = true;
  $("app").hidden = false;
}

function show(kind, who, text) {
  const line = document.createElement("li");
  const name = document.createElement("b");
  line.className = kind;
  name.textContent = who;
  line.append(name, text); // what people write stays text
  $("feed").prepend(line);
}

/** Has a form do something, and say what came of it. */
function onSubmit(form, act) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = form.querySelector("output");
    try {
      answer.textContent = (await act(Object.fromEntries(new FormData(form)))) ?? "";
    } catch (error) {
      answer.textContent = error.message;
    }
  });
}

const streams = ({ sent }) => `Sent to ${sent} open ${sent === 1 ? "stream" : "streams"}.`;
onSubmit($("notify"), async ({ to, text }) => streams(await ask(`/notify/${encodeURIComponent(to)}`, { text })));
onSubmit($("broadcast"), async ({ text }) => streams(await ask("/broadcast", { text })));
onSubmit($("login"), async ({ user }) => read(await ask("/login", { user })));

const session = await ask("/session");
if (session.user) read(session);
else signOut();
