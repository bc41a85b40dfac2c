// @vitest-environment happy-dom
// biome-ignore-all lint/correctness/noComponentHookFactories: each test has components of its own
/** `useSSE`: one connection for each URL, whoever subscribes, and whenever. */
import { useEffect } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, describe, expect, it } from "vitest";
import { type SSE, type SSEOptions, useSSE } from "../src/react/index.js";
import { type Clock, connected, createClock, createPage, createServer } from "../src/testing/index.js";
import { acting, advance, complained, hydrate, LINGER_MS, MODES, render, withReact } from "./react-pieces.js";
import { event } from "./world.js";

withReact();

const start = connected("k3v9-4");
const clocks: Clock[] = [];
let count = 0;

// What is left of a test is let go before the next one.
afterEach(async () => {
  for (const clock of clocks.splice(0)) await clock.advance(LINGER_MS);
});

function createSite() {
  const [clock, server] = [createClock(), createServer()];
  clocks.push(clock);
  const options: SSEOptions = { ...clock, ...server, ...createPage(), random: () => 0 };
  const url = `http://hub.test/${count++}/events`;
  const stream = async (...said: string[]) => {
    const answer = await (await server.next()).open();
    if (said.length) await answer.send(said.join(""));
    return answer;
  };
  return { clock, server, options, url, stream };
}

describe.each(MODES)("useSSE, in %s", (_mode, isStrict) => {
  it("keeps what a child subscribes to before the effects of its parent", async () => {
    const site = createSite();
    const told: string[] = [];
    const order: string[] = [];
    function Child({ subscribe }: Pick<SSE, "subscribe">) {
      useEffect(() => {
        order.push("child");
        return subscribe("message", ({ text }) => told.push(text));
      }, [subscribe]);
      return null;
    }
    function Parent() {
      const { subscribe, status } = useSSE(site.url, site.options);
      useEffect(() => void order.push("parent"), []);
      return [<Child key="1" subscribe={subscribe} />, status.state];
    }
    const page = await render(<Parent />, isStrict);
    expect(order.slice(0, 2)).toEqual(["child", "parent"]);
    expect(page.text).toBe("connecting");
    await acting(() => site.stream(start, event(5)));
    expect(told).toEqual(["5"]);
    expect(page.text).toBe("open");
    expect(site.server.requests.length).toBe(1);
  });

  it("opens one connection for all components with the same URL, and another for another", async () => {
    const site = createSite();
    const One = ({ topics }: { topics?: string[] }) =>
      useSSE(site.url, { ...site.options, ...(topics && { topics }) }).status.state;
    const page = await render([<One key="1" />, <One key="2" />, <One key="3" topics={["a"]} />], isStrict);
    expect(site.server.requests.map(({ url }) => url.search)).toEqual(["", "?topic=a"]);
    const [first, second] = [await acting(() => site.stream(start)), await acting(() => site.stream(start))];
    await page.render([<One key="2" />]);
    await advance(site.clock, LINGER_MS);
    expect([first.closed, second.closed]).toEqual([false, true]);
    await page.render([<One key="2" />, <One key="4" />]);
    expect(page.text).toBe("openopen");
    await page.render([]);
    await advance(site.clock, LINGER_MS);
    expect(first.closed).toBe(true);
    expect(site.server.requests.length).toBe(2);
  });

  it("does not give one user's stream to another", async () => {
    const site = createSite();
    const One = ({ user }: { user: string }) => useSSE(site.url, { ...site.options, user }).status.state;
    await render([<One key="1" user="ann" />, <One key="2" user="bob" />], isStrict);
    expect(site.server.requests.length).toBe(2);
  });

  it("calls the listener of the last render, over the same connection", async () => {
    const site = createSite();
    const told: string[] = [];
    const subscribes = new Set<unknown>();
    function Listening({ name }: { name: string }) {
      const { subscribe } = useSSE(site.url, { ...site.options });
      subscribes.add(subscribe);
      useEffect(() => subscribe("message", ({ text }) => told.push(name + text)));
      return null;
    }
    const page = await render(<Listening name="a" />, isStrict);
    const stream = await acting(() => site.stream(start, event(5)));
    await page.render(<Listening name="b" />);
    subscribes.clear();
    await page.render(<Listening name="c" />);
    await acting(() => stream.send(event(6)));
    expect(told).toEqual(["a5", "c6"]);
    expect(subscribes.size).toBe(1);
    expect(site.server.requests.length).toBe(1);
  });

  it("ends a subscription once, and only that one", async () => {
    const site = createSite();
    const told: string[] = [];
    let subscribe: SSE["subscribe"] | undefined;
    function Page() {
      subscribe = useSSE(site.url, site.options).subscribe;
      return null;
    }
    await render(<Page />, isStrict);
    const listener = ({ text }: { text: string }) => told.push(text);
    const offs = [subscribe?.("message", listener), subscribe?.("message", listener)];
    const stream = await acting(() => site.stream(start, event(5)));
    offs[0]?.();
    offs[0]?.();
    await acting(() => stream.send(event(6)));
    expect(told).toEqual(["5", "5", "6"]);
    offs[1]?.();
    await acting(() => stream.send(event(7)));
    await advance(site.clock, LINGER_MS);
    expect(told.length).toBe(3);
    expect(stream.closed).toBe(false);
  });

  it("counts who ends a subscription twice once, when it is about who still needs a closed stream", async () => {
    const site = createSite();
    let subscribe: SSE["subscribe"] | undefined;
    const Page = () => {
      subscribe = useSSE(site.url, site.options).subscribe;
      return null;
    };
    const page = await render([<Page key="1" />], isStrict);
    const off = subscribe?.("message", () => {});
    off?.();
    off?.();
    await acting(async () => (await site.server.next()).answer(404));
    subscribe?.("message", () => {})();
    await page.render([<Page key="1" />, <Page key="2" />]);
    expect(site.server.requests.length).toBe(1);
    expect(complained().map(String)).toEqual(["Error: clarion: refused"]);
  });

  it("follows a change of URL", async () => {
    const [site, other] = [createSite(), createSite()];
    const told: string[] = [];
    function Page({ url, options }: Pick<typeof site, "url" | "options">) {
      const { subscribe, status } = useSSE(url, options);
      useEffect(() => subscribe("message", ({ text }) => told.push(text)), [subscribe]);
      return status.state;
    }
    const page = await render(<Page {...site} />, isStrict);
    const stream = await acting(() => site.stream(start, event(5)));
    await page.render(<Page {...other} />);
    expect(page.text).toBe("connecting");
    await acting(() => other.stream(start, event(6)));
    await advance(site.clock, LINGER_MS);
    expect(stream.closed).toBe(true);
    expect(told).toEqual(["5", "6"]);
  });

  it("asks the function for headers that was rendered last", async () => {
    const site = createSite();
    const asked: (number | undefined)[] = [];
    const Page = ({ token }: { token: string }) => {
      const headers = (refused: number | undefined) => {
        asked.push(refused);
        return { authorization: token };
      };
      return useSSE(site.url, { ...site.options, headers }).status.state;
    };
    const page = await render(<Page token="a" />, isStrict);
    const stream = await acting(() => site.stream(start));
    await acting(() => stream.end());
    await page.render(<Page token="b" />);
    await advance(site.clock, 2000);
    await acting(async () => (await site.server.next()).answer(401));
    const tokens = site.server.requests.map(({ headers }) => headers.get("authorization"));
    expect(tokens).toEqual(["a", "b", "b"]);
    expect(asked).toEqual([undefined, undefined, 401]);
  });

  it("does not come back after a refusal until all have left; then it does", async () => {
    const site = createSite();
    const Page = ({ n }: { n: number }) => {
      const { subscribe, status } = useSSE(site.url, site.options);
      useEffect(() => subscribe("message", () => {}));
      return `${n} ${status.state} ${status.reason}`;
    };
    const page = await render([<Page key="1" n={1} />], isStrict);
    await acting(async () => (await site.server.next()).answer(404));
    expect(page.text).toBe("1 closed refused");
    await page.render([<Page key="1" n={2} />, <Page key="2" n={2} />]);
    await page.render([<Page key="2" n={3} />]);
    expect(page.text).toBe("3 closed refused");
    expect(site.server.requests.length).toBe(1);
    await page.render([]);
    await page.render([<Page key="3" n={4} />]);
    expect(page.text).toBe("4 connecting ");
    expect(site.server.requests.length).toBe(2);
    expect(complained().map(String)).toEqual(["Error: clarion: refused"]);
  });

  it("takes over what a server rendered, also where the connection is there already", async () => {
    const site = createSite();
    const Page = () => useSSE(site.url, site.options).status.state;
    const html = renderToString(<Page />);
    await render(<Page />, isStrict);
    await acting(() => site.stream(start));
    const errors: unknown[] = [];
    const page = await hydrate(html, <Page />, errors, isStrict);
    expect([html, page.text, errors]).toEqual(["idle", "open", []]);
    expect(site.server.requests.length).toBe(1);
  });

  it("begins anew after the last one has left for a second, and goes on before that", async () => {
    const site = createSite();
    const Page = () => useSSE(site.url, site.options).status.state;
    const page = await render([<Page key="1" />], isStrict);
    const stream = await acting(() => site.stream(start, event(5)));
    await page.render([]);
    await advance(site.clock, LINGER_MS - 1);
    await page.render([<Page key="2" />]);
    expect(page.text).toBe("open");
    expect(stream.closed).toBe(false);
    await page.render([]);
    await advance(site.clock, LINGER_MS);
    await page.render([<Page key="3" />]);
    expect(site.server.requests.map(({ headers }) => headers.get("last-event-id"))).toEqual([null, null]);
  });
});
