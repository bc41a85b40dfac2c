/** `<clarion-progress>`: how far a task is, for pages without a framework. */
import type { Source, Unsubscribe } from "./index.js";
import { keyOf, withSource } from "./sources.js";
import { isUnderWay, type ProgressValue, progressAria } from "./tasks.js";

const STYLE = `
:host { display: block; --color: var(--clarion-progress-color, currentColor); --size: var(--clarion-progress-height, 0.5em) }
:host([hidden]) { display: none }
[part=head] { display: flex; justify-content: space-between; gap: 1em }
[part=percent] { font-variant-numeric: tabular-nums }
[part=track] {
  position: relative; overflow: hidden; margin-block: 0.25em; height: var(--size); border-radius: var(--size);
  background: var(--clarion-progress-track, color-mix(in srgb, var(--color) 20%, transparent));
}
[part=bar] {
  position: absolute; inset-block: 0; inset-inline-start: 0; width: 0; border-radius: inherit;
  background: var(--color);
}
[part=bar].unknown { width: 40%; animation: unknown 1.4s ease-in-out infinite alternate }
@keyframes unknown { from { inset-inline-start: -10% } to { inset-inline-start: 70% } }
@media (prefers-reduced-motion: no-preference) { [part=bar] { transition: width 0.15s linear } }
@media (prefers-reduced-motion) { [part=bar].unknown { width: 100%; opacity: 0.4; animation: none } }
@media (forced-colors: active) { [part=track] { border: 1px solid } [part=bar] { background: Highlight } }
`;

/** What `<clarion-progress>` is to scripts. It dispatches `change` when the value has changed. */
export interface ProgressElement extends HTMLElement {
  /** The task's value; undefined while none is told. */
  readonly value: ProgressValue | undefined;
}

/**
 * Defines `<clarion-progress task="42" src="/events">`. A second call with the name of one that is there does nothing.
 *
 * `task` is the task's id. `src` is the URL of the stream, `/events` by default; elements with the same one share a
 * connection. source: in place of a stream of their own for all that have no `src`. An element is connected while it is
 * in the document. CSS reaches its parts `head`, `title`, `percent`, `track`, `bar` and `message`, its properties
 * `--clarion-progress-color`, `-track` and `-height`, and its attribute `data-status`.
 *
 * Throws a `SyntaxError` for what cannot be an element's name.
 */
export function defineProgress(name = "clarion-progress", source?: Source): void {
  if (!customElements.get(name)) customElements.define(name, progressClass(source));
}

function progressClass(source: Source | undefined): new () => ProgressElement {
  return class extends HTMLElement implements ProgressElement {
    static readonly observedAttributes = ["task", "src"];
    value: ProgressValue | undefined;
    #parts = shadow(this.attachShadow({ mode: "open" }));
    // Not everywhere. Where it is, what the page says of the element by attributes wins.
    #internals = this.attachInternals?.();
    #said = new Set<string>();
    #off: Unsubscribe | undefined;

    connectedCallback() {
      this.#off?.();
      this.#off = undefined;
      this.value = undefined;
      this.#show();
      const task = this.getAttribute("task");
      if (task === null) return;
      const use = (source: Source) =>
        source.value<ProgressValue>(task).subscribe((value) => {
          if (value === this.value) return;
          this.value = value;
          this.#show();
          this.dispatchEvent(new Event("change", { bubbles: true }));
        });
      const src = this.getAttribute("src");
      const url = src ?? "/events";
      this.#off = source && src === null ? use(source) : withSource(keyOf({ url }), () => ({ url }), use);
    }

    disconnectedCallback() {
      this.#off?.();
      this.#off = undefined;
    }

    attributeChangedCallback() {
      if (this.isConnected) this.connectedCallback();
    }

    #show() {
      const { value } = this;
      const aria = progressAria(value);
      for (const [name, said] of Object.entries(aria)) this.#say(name, said);
      if (value) this.dataset["status"] = String(value.status);
      else delete this.dataset["status"];
      const now = aria["aria-valuenow"];
      const { title, percent, bar, message } = this.#parts;
      title.textContent = value?.title ?? "";
      percent.textContent = now === undefined ? "" : `${Math.floor(now)}\u00a0%`;
      message.textContent = value?.error?.message || value?.message || "";
      bar.classList.toggle("unknown", now === undefined && isUnderWay(value));
      bar.style.width = now === undefined ? "" : `${now}%`;
    }

    #say(name: string, said: unknown) {
      // `aria-valuenow` is `ariaValueNow`.
      const property = name.replace(
        /-(value)?(.)/,
        (_, value, letter) => (value ? "Value" : "") + letter.toUpperCase(),
      );
      if (this.#internals && property in this.#internals) {
        Object.assign(this.#internals, { [property]: said === undefined ? null : String(said) });
      } else if (!this.hasAttribute(name) || this.#said.has(name)) {
        this.#said.add(name);
        if (said === undefined) this.removeAttribute(name);
        else this.setAttribute(name, String(said));
      }
    }
  };
}

type Parts = Record<"head" | "title" | "percent" | "track" | "bar" | "message", HTMLElement>;

/** Fills the shadow of an element, without HTML or style attributes that a page's policy may forbid. */
function shadow(root: ShadowRoot): Parts {
  const part = (name: keyof Parts, ...inner: Node[]) => {
    const element = document.createElement("div");
    element.setAttribute("part", name);
    element.append(...inner);
    return element;
  };
  const [title, percent, bar, message] = [part("title"), part("percent"), part("bar"), part("message")];
  const [head, track] = [part("head", title, percent), part("track", bar)];
  root.append(head, track, message);
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  root.adoptedStyleSheets = [sheet];
  return { head, title, percent, track, bar, message };
}
