// Long jobs, as every tab sees them: each is a value, which is told whole to who comes late.

import { failure, find, framed, make, post, postForm, size } from "./dom.js";

const JOBS = 4;
const NO_BREAK = "\u00a0"; // a space at which no line ends
const ENDED = { completed: "done", cancelled: "cancelled", failed: "failed", lost: "lost" };

export function showJobs(source, me) {
  const list = find("jobs");
  const jobs = new Map(); // by topic: {value, view}
  const known = new Set(); // their topics

  const draw = framed(() => {
    const shown = [...jobs].sort(([, one], [, other]) => order(one.value, other.value));
    for (const [topic] of shown.splice(JOBS)) jobs.delete(topic);
    for (const [topic, job] of shown) {
      job.view ??= view(topic, job.value.title);
      drawJob(job.view, job.value);
    }
    const items = shown.map(([, job]) => job.view.item);
    // A button that is moved while it is pressed is not clicked.
    if (items.length !== list.children.length || items.some((item, index) => item !== list.children[index])) {
      list.replaceChildren(...items);
    }
  });

  // Each job is told whole before its changes, so no topic is missed.
  source.on("progress", ({ topic }) => {
    if (known.has(topic)) return;
    known.add(topic);
    source.value(topic).subscribe((value) => {
      if (value === undefined) jobs.delete(topic);
      else jobs.set(topic, { ...jobs.get(topic), value });
      draw();
    });
  });

  postForm(find("job-form"), "/api/jobs", () => ({ user: me.name }));
}

/** Those under way come first, then the newest. */
const order = (one, other) => (one.status in ENDED) - (other.status in ENDED) || since(other) - since(one);
const since = ({ startedAt, updatedAt }) => startedAt ?? updatedAt;

function view(topic, title) {
  const bar = make("progress", "");
  bar.max = 100;
  bar.setAttribute("aria-label", title);
  const percent = make("span", "percent");
  const text = make("p", "what");
  const cancel = make("button", "quiet", "Cancel");
  cancel.type = "button";
  cancel.addEventListener("click", () => post(`/api/tasks/${topic}/cancel`));
  const heading = make("p", "who", make("b", "", title), " ", percent);
  return { item: make("li", "", heading, bar, make("div", "foot", text, cancel)), bar, percent, text, cancel };
}

function drawJob({ item, bar, percent, text, cancel }, job) {
  item.dataset.status = job.status;
  if (job.progress !== null) bar.value = job.progress;
  else if (job.status in ENDED) bar.value = 0;
  else bar.removeAttribute("value"); // how far it is, nobody knows yet
  percent.textContent = ENDED[job.status] ?? (job.progress === null ? "" : `${Math.floor(job.progress)} %`);
  text.textContent = says(job);
  cancel.hidden = job.status in ENDED;
  cancel.disabled = job.cancelRequested;
}

function says({ status, message, error, rate, eta, cancelRequested }) {
  switch (status) {
    case "pending": return "Waiting for its turn";
    case "failed": return failure(error);
    case "lost": return "The server that it ran on has stopped.";
    case "cancelled":
    case "completed": return message;
  }
  const speed = rate ? `${size(rate)}/s` : "";
  const rest = eta === null ? "" : `${eta < 90 ? `${eta} s` : `${Math.round(eta / 60)} min`} to go`;
  const figures = [speed, rest].map((figure) => figure.replaceAll(" ", NO_BREAK));
  return [cancelRequested ? "Stopping" : message || "Starting", ...figures].filter(Boolean).join(" · ");
}
