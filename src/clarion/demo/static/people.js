// Who is here, and a word to one of them.

import { appendTo, find, hue, line, make, postForm } from "./dom.js";

const NOTES = 100;
const TOAST_MS = 6000;
const TOASTS = 4;

export function showPeople(source, record, me) {
  source.on("people", ({ data }) => {
    const { people, streams } = data;
    find("people-count").textContent = `${streams} ${streams === 1 ? "tab is" : "tabs are"} connected`;
    find("people").replaceChildren(...people.map((person) => name(person, me)));
    find("people-names").replaceChildren(...people.map(({ user }) => Object.assign(make("option"), { value: user })));
  });

  source.on("notification", (event) => {
    const { user, text, at } = event.data;
    appendTo(find("notes"), [line(user, text, at)], NOTES);
    if (!record.isHistory(event)) toast(`${user}: ${text}`);
  });

  postForm(
    find("notify"),
    "/api/notify",
    () => ({ user: me.name }),
    ({ readers }) => {
      const to = find("notify-to").value;
      find("notify-text").value = "";
      toast(readers ? `${to} has it.` : `${to} is away. The journal keeps it for a day.`);
    },
  );
}

function name({ user, tabs }, me) {
  const initial = make("span", "initial", [...user][0].toUpperCase());
  initial.style.setProperty("--hue", hue(user));
  initial.setAttribute("aria-hidden", "true");
  const suffix = [user === me.name ? "you" : "", tabs > 1 ? `${tabs} tabs` : ""].filter(Boolean).join(", ");
  const button = make("button", "name", initial, user, make("small", "", suffix));
  button.type = "button";
  button.title = `Notify ${user}`;
  button.addEventListener("click", () => {
    find("notify-to").value = user;
    find("notify-text").focus();
  });
  return make("li", "", button);
}

function toast(text) {
  const place = find("toasts");
  const item = make("p", "toast", text);
  place.append(item);
  while (place.children.length > TOASTS) place.firstElementChild.remove();
  setTimeout(() => item.remove(), TOAST_MS);
}
