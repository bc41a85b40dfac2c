/**
 * One connection for all tabs and workers of an origin: a `fetch` whose answers tell one stream to all who ask for it.
 *
 * Whoever holds a Web Lock, the leader, is connected, and tells the others over a BroadcastChannel what comes, and where
 * it stood before (spec/stream.md, section 4). Who is behind asks the server itself, from where it is, until it stands
 * where the leader does. So nothing depends on what a tab remembers of the stream, and a new tab, a reload and a new
 * leader are all the same case: a reader with a position.
 */
import { isUpTo, placeOf } from "./positions.js";
import type { Environment } from "./types.js";

/** For a leader to answer; one that is suspended never does, and keeps its lock. */
const ANSWER_MS = 2000;
/** Told to a tab and not read by it: it is too slow for the others' pace. */
const MAX_WAITING_BYTES = 1_048_576;
/** Characters; everybody asks for a larger frame by itself. */
const MAX_FRAME_LENGTH = 16_777_216;

// What tabs say to each other. Nothing: the leader is there, and is connecting.
/** Who leads? */
const HELLO = 0;
/** The leader's connection failed, perhaps with an answer. */
const LOST = 1;
/**
 * What the leader's stream said: whole frames, perhaps none. Before them it stood at `till`, and had said nothing but
 * heartbeats since `from`; after them it stands at `to`. begun: the data of its `connected`, without which it is no hub's.
 */
type Told = [frames: string, from: string, till: string, to: string, begun: string];
type Said = [] | [typeof HELLO] | [typeof LOST, ResponseInit?] | Told;

/** Whether who stands at `other`, and was told all values up to there, has had what is at `id`. */
const isHad = (id: string, other: string): boolean => isUpTo(placeOf(id), placeOf(other.replace("~", "?")));

/**
 * Makes of `fetch` one that shares streams: all calls for the same url, method, body and user in this origin hold one
 * connection. `createSource` does so where `share` is given. Each call is one attempt, which its signal ends.
 *
 * user: whose streams these are; without it, who signs in next would read those of who was there before.
 *
 * Other headers are taken to ask for the same. Each call is connected by itself where there are no Web Locks (outside of
 * browsers, and of secure contexts), with a body that is no text, and, in the end, to a server that is no hub.
 *
 * Throws a `TypeError` for a user that is no text.
 */
export const sharedFetch = (user: string, fetch: Environment["fetch"]): Environment["fetch"] => {
  if (typeof user !== "string") throw TypeError("to share a stream, say whose it is: give a user, or an empty text");
  return (url, init) =>
    new Promise((resolve, reject) => {
      const { method, body, signal } = init;
      const { navigator, BroadcastChannel } = globalThis;
      const locks = navigator?.locks;
      if (!locks || !BroadcastChannel || typeof (body ?? "") !== "string" || signal?.aborted)
        return resolve(fetch(url, init));

      const name = JSON.stringify([user, url, method, body]);
      const channel = new BroadcastChannel(name);
      const tell = (...said: Said) => channel.postMessage(said);
      const headers = new Headers(init.headers);
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>(
        {},
        { highWaterMark: MAX_WAITING_BYTES, size: (chunk) => chunk.length },
      );
      const writer = writable.getWriter();
      const answer = new Response(readable, { headers: { "content-type": "text/event-stream" } });

      let at = headers.get("last-event-id") ?? ""; // up to here the body was told
      let from = at; // since here, nothing but heartbeats
      let greeting = ""; // the data of its own stream's `connected`
      let followed = ""; // the same of the leader's, while it follows that
      let leaderAt = ""; // the least position that is as good as the leader's
      let isSilent = true; // there is no leader, or it does not answer
      let isLeader = false;
      let isOver = false;
      let release = () => {};
      let direct: AbortController | undefined; // its own connection
      let isOpen = false; // and that has been answered
      let tail = ""; // what came of an unfinished frame

      const isSlow = () => (writer.desiredSize as number) <= 0;
      const pass = (chunk: Uint8Array) => writer.write(chunk).catch(end);
      const hangUp = () => {
        direct?.abort();
        direct = undefined;
        isOpen = false;
      };
      /** It is over. reason: for who has had no answer yet. isRefused: who has one may want to read it. */
      const end = (reason: unknown = new TypeError("connection lost"), isRefused = false) => {
        isOver = true;
        isSilent = false;
        channel.close();
        release();
        if (!isRefused) hangUp();
        reject(reason);
        // Not `abort`, which would take away what was not read yet, such as a `bye`.
        writer.close().catch(() => {});
      };

      const tellWhere = () => (isOpen ? tell("", from, at, at, greeting) : tell());
      const lock = (options: LockOptions) =>
        locks
          .request(
            name,
            options,
            () =>
              isOver ||
              new Promise<void>((done) => {
                release = done;
                isLeader = true;
                isSilent = false;
                tellWhere();
                connect();
              }),
          )
          // Somebody stole the lock; or there can be none here, and all are connected by themselves.
          .catch(() => (isLeader ? end() : connect()));
      const queue = () => lock({ signal: signal as AbortSignal });
      /** Who is slow leads nobody. */
      const giveUp = () => {
        isLeader = false;
        release();
        queue();
      };
      /** Lets go of its own connection, and asks where the leader is: what it was told last may be from an earlier one. */
      const join = () => {
        if (direct) tell(HELLO);
        hangUp();
      };
      /** Follows the leader, if it stands where that does, or further. */
      const follow = () => {
        if (isOpen && !isLeader && !tail && !isSlow() && isHad(leaderAt, leaderAt) && isHad(leaderAt, at)) join();
      };

      /** Takes what its own stream says. */
      const take = (text: string) => {
        tail += text;
        if (tail.length > MAX_FRAME_LENGTH) at = from = tail = "";
        if (!text.includes("\n")) return;
        const length = (tail.lastIndexOf("\n\n") + 1 || -1) + 1;
        const frames = tail.slice(0, length);
        tail = tail.slice(length);
        const since = from;
        const till = at;
        greeting = /\nevent: connected\n(.*)/.exec(frames)?.[1] ?? greeting;
        // The place after a gap is not taken before the gap is told.
        if (!/\nevent: connected\n.*"mode":"gap".*\n\n$/.test(frames))
          at = /^.*\nid: ([^\n]*)/s.exec(`\n${frames}`)?.[1] ?? at;
        const isJump = /\nevent: (connected|gap)\n/.test(frames);
        if (isJump || /\ntopic:/.test(frames)) from = at;
        if (isLeader) isJump ? tellWhere() : tell(frames, since, till, at, greeting);
      };
      /** Asks the server itself, from where it is. */
      const connect = async () => {
        if (direct || isOver) return;
        const own = new AbortController();
        direct = own;
        let reason: unknown;
        try {
          if (at) headers.set("last-event-id", at);
          const response = await fetch(url, { ...init, headers, signal: own.signal });
          if (direct !== own) return;
          const { status } = response;
          if (status !== 200 || !response.headers.get("content-type")?.includes("event-stream")) {
            // What is final is for who was refused.
            if (isLeader && status > 407 && status < 600) tell(LOST, { status, headers: [...response.headers] });
            resolve(response);
            return end(reason, true);
          }
          isOpen = true;
          followed = "";
          resolve(answer);
          const chunks = (response.body as ReadableStream<Uint8Array>).getReader();
          const decoder = new TextDecoder();
          for (;;) {
            if (isSlow()) {
              if (isLeader) giveUp();
              await writer.ready;
            }
            const { value } = await chunks.read();
            if (direct !== own) return;
            if (!value) break;
            pass(value);
            take(decoder.decode(value, { stream: true }));
            follow();
          }
        } catch (cause) {
          reason = cause;
        }
        if (direct !== own) return;
        if (isLeader) tell(LOST);
        end(reason);
      };

      const told = ([frames, since, till, to, begun]: Told) => {
        leaderAt = begun && (frames ? to : since);
        if (isOpen) return follow();
        // Changes of values may be folded: one frame stands for several, and is not for who has had the first of them.
        // So who stands between the leader's positions takes none of those that build on others.
        const isFit =
          begun &&
          ((begun === followed && at === till) ||
            (isHad(since, at) && (isHad(to, at) || (isHad(to, to) && !/\nchange: [am]/.test(frames)))));
        if (!isFit || isSlow()) return connect();
        join();
        resolve(answer);
        const hello =
          begun === followed
            ? ""
            : `id: ${at}\nevent: connected\n${begun.replace(
                /("mode":").*("heartbeat":.*"values":")\w+/,
                `$1resumed","from":"${at}","to":"${at}",$2changed`,
              )}\n\n`;
        if (hello + frames) pass(new TextEncoder().encode(hello + frames));
        followed = begun;
        if (!isHad(to, at)) at = from = to;
        if (isLeader) connect();
      };
      channel.onmessage = ({ data }: MessageEvent<Said>) => {
        if (data[0] === HELLO) {
          if (isLeader) (isSlow() ? giveUp : tellWhere)();
          return;
        }
        isSilent = false;
        if (data[0] === LOST) {
          if (isOpen) return;
          if (data[1]) resolve(new Response(null, data[1]));
          end();
        } else if (data.length) told(data as Told);
      };
      signal?.addEventListener("abort", () => end(signal.reason));
      queue();
      tell(HELLO);
      setTimeout(() => isSilent && lock({ steal: true }), ANSWER_MS);
    });
};
