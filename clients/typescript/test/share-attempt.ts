/** One call of a shared `fetch`, and what came of it. */
import { connected, settle } from "../src/testing/index.js";
import type { Tab } from "./share-browser.js";
import { URL_OF_HUB } from "./world.js";

export interface AttemptOptions extends RequestInit {
  url?: string;
  /** The position that it goes on from. */
  id?: string;
}

export class Attempt {
  readonly #stop = new AbortController();
  response: Response | undefined;
  error: unknown;
  /** What its body has said so far. */
  text = "";
  isEnded = false;

  constructor(
    readonly tab: Tab,
    { url = URL_OF_HUB, id, ...init }: AttemptOptions = {},
    /** Whether the body is read as it comes. */
    readonly isRead = true,
  ) {
    const headers = new Headers(init.headers);
    if (id) headers.set("last-event-id", id);
    void this.#go(tab.fetch(url, { ...init, headers, signal: this.#stop.signal }));
  }

  async #go(answer: Promise<Response>): Promise<void> {
    try {
      this.response = await answer;
      if (this.isRead) await this.read();
    } catch (error) {
      this.error = error;
      this.isEnded = true;
    }
  }

  /** Reads the body up to its end. */
  async read(): Promise<void> {
    const decoder = new TextDecoder();
    const reader = this.response?.body?.getReader();
    for (;;) {
      const chunk = await reader?.read();
      if (!chunk?.value) break;
      this.text += decoder.decode(chunk.value, { stream: true });
    }
    this.isEnded = true;
  }

  /** The ids of what it was told, and the types of what has no topic. */
  get told(): string[] {
    return this.text
      .split("\n\n")
      .slice(0, -1)
      .map((frame) => {
        const [, id = ""] = /^id: (.*)/m.exec(frame) ?? [];
        const [, type = ""] = /^event: (.*)/m.exec(frame) ?? [];
        return /^topic: ./m.test(frame) ? id : `${type} ${id}`.trim();
      });
  }

  /** The members of the newest `connected`. */
  get connected(): Record<string, unknown> {
    const [, data = "{}"] = /^.*event: connected\ndata: ([^\n]*)/s.exec(this.text) ?? [];
    return JSON.parse(data);
  }

  async abort(): Promise<void> {
    this.#stop.abort();
    await settle();
    await this.tab.browser.settle();
  }
}

/** A stream that goes on as it was asked, with all values held. */
export const goingOn = (id: string, clientId = "c-1"): string =>
  connected(id, { mode: "resumed", values: "changed", clientId });
