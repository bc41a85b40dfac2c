// Small tools of the page. Text from the wire only ever becomes a text node; markup is never parsed.

/** Make an element: make("li", "line", "text", child ...). */
export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

export const find = (id) => document.getElementById(id);

/** Run `draw` once in the next frame, however often it is asked for: a replay of a thousand events draws once. */
export function framed(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    // A hidden tab gets no frames; a timer keeps its page true all the same.
    const schedule = document.hidden ? (run) => setTimeout(run, 100) : requestAnimationFrame;
    schedule(() => {
      asked = false;
      draw();
    });
  };
}

/** Post JSON; resolves to {ok, answer}, never rejects. `answer.error` is a sentence for people. */
export async function post(path, body = {}) {
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok && !answer.error) answer.error = `The server answered with ${response.status}.`;
    return { ok: response.ok, answer };
  } catch {
    return { ok: false, answer: { error: "The server cannot be reached. Nothing was sent." } };
  }
}

/** Send a form as JSON to `path`, with what `more` adds; shows refusals below the form. Resolves to success. */
export function postForm(form, path, more, onSuccess) {
  const place = form.parentElement.querySelector(".answer");
  form.addEventListener("submit", async (submission) => {
    submission.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    const { ok, answer } = await post(path, { ...Object.fromEntries(new FormData(form)), ...more() });
    button.disabled = false;
    place.textContent = ok ? "" : answer.error;
    if (ok) onSuccess?.(answer);
  });
}

export const clock = (at = Date.now()) =>
  new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** What went wrong, as a sentence. Of what is not for people they get a reference, which the server's log has too. */
export const failure = ({ code, message, ref }) =>
  code === "internal" ? `${message} The server's log has it under ${ref}.` : message;

/** Bytes for people: "1.2 MB". */
export function size(bytes) {
  let unit = 0;
  while (bytes >= 999.5 && unit < 4) {
    bytes /= 1000;
    unit += 1;
  }
  return `${bytes.toFixed(unit && bytes < 9.95 ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
}

/** A hue for a name, the same in every tab. */
export function hue(name) {
  let sum = 0;
  for (const char of name) sum = (sum * 31 + char.codePointAt(0)) % 360;
  return sum;
}

/** A line with a coloured initial, as in the feed. */
export function line(user, text, at, className = "") {
  const initial = make("span", "initial", [...user][0]?.toUpperCase() ?? "?");
  initial.style.setProperty("--hue", hue(user));
  initial.setAttribute("aria-hidden", "true");
  const when = make("time", "", clock(at));
  when.dateTime = new Date(at).toISOString();
  return make("li", className, initial, make("p", "who", make("b", "", user), " ", when), make("p", "what", text));
}

/** Append to a scrolling list, keep at most `limit`, and stay at the end if the reader was there. */
export function appendTo(list, items, limit) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(...items);
  while (list.children.length > limit) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}
