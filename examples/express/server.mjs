/** An Express app that pushes to its users through a Clarion hub. The page reads the hub's stream by itself. */
import { fileURLToPath } from "node:url";
import { createPublisher, PublishError } from "clarion-client/publish";
import express from "express";
import { nameIn, sign } from "./tokens.mjs";

const { PUBLISH_TOKEN, READER_SECRET, HUB_URL = "http://127.0.0.1:8000", PORT = "3000" } = process.env;
if (!PUBLISH_TOKEN || !READER_SECRET) throw new Error("set PUBLISH_TOKEN and READER_SECRET, here as for the hub");

const SESSION_SECONDS = 86_400;
const READER_SECONDS = 600; // the page fetches a new token by itself
const NAME = /^[A-Za-z0-9]{1,20}$/;
const isText = (text) => typeof text === "string" && text.trim() !== "" && text.length <= 500;

const publisher = createPublisher({ url: HUB_URL, token: PUBLISH_TOKEN });
const app = express();
app.disable("x-powered-by");
app.use(express.static(fileURLToPath(new URL("public", import.meta.url))));
// The client as it is in node_modules: a page needs no bundler for it.
app.use("/clarion-client", express.static(fileURLToPath(new URL(".", import.meta.resolve("clarion-client")))));
app.use(express.json({ limit: "16kb" }));

/** Whose session it is, if there is one. Your own session goes here. */
function userOf(request) {
  const [, session = ""] = /(?:^|; )session=([^;]+)/.exec(request.headers.cookie ?? "") ?? [];
  return nameIn(READER_SECRET, "session", session);
}

/** Lets signed-in users in. */
function signedIn(request, response, next) {
  const user = userOf(request);
  if (user === undefined) return response.status(401).json({ error: "Please sign in." });
  response.locals.user = user;
  next();
}

/** Lets those in who say something. */
function saysSomething(request, response, next) {
  if (!isText(request.body?.text)) return response.status(400).json({ error: "Please say something, in JSON." });
  next();
}

/** What a page has to know: who its user is, and where the stream. */
const about = (user) => ({ user, url: new URL("/events", HUB_URL) });

// Your own login; this one believes everybody.
app.post("/login", (request, response) => {
  const user = request.body?.user;
  if (typeof user !== "string" || !NAME.test(user)) {
    return response.status(400).json({ error: "A name has 1 to 20 letters and digits." });
  }
  const session = sign(READER_SECRET, "session", user, SESSION_SECONDS);
  response.cookie("session", session, { httpOnly: true, sameSite: "lax", maxAge: SESSION_SECONDS * 1000 });
  response.json(about(user));
});

app.get("/session", (request, response) => response.json(about(userOf(request))));

// Opens the user's stream, and nothing else. The page never gets PUBLISH_TOKEN.
app.get("/token", signedIn, (_request, response) => {
  const token = sign(READER_SECRET, "events", response.locals.user, READER_SECONDS);
  response.set("cache-control", "no-store").json({ token });
});

app.post("/notify/:user", signedIn, saysSomething, async (request, response) => {
  const { user } = request.params;
  if (!NAME.test(user)) return response.status(404).json({ error: "There is nobody of that name." });
  const note = { from: response.locals.user, text: request.body.text };
  const { sent } = await publisher.sendToUser(user, note, { event: "note" });
  response.json({ sent });
});

app.post("/broadcast", signedIn, saysSomething, async (request, response) => {
  const announcement = { from: response.locals.user, text: request.body.text };
  const { sent } = await publisher.broadcast(announcement, { event: "announcement" });
  response.json({ sent });
});

// Express 5 brings what a route rejects with here. What went wrong is for the log, not for the page.
app.use((error, _request, response, next) => {
  if (!(error instanceof PublishError)) return next(error);
  console.error(error);
  response.status(503).json({ error: "That could not be sent now. Please try again." });
});

const server = app.listen(Number(PORT), "127.0.0.1", (error) => {
  if (error) throw error;
  console.log(`http://127.0.0.1:${server.address().port}`);
});
