// Long jobs, as every tab sees them.

import { find, framed, make, post, postForm } from "./dom.js";

const JOBS = 4;
const ENDED = { done: "done", cancelled: "cancelled", failed: "failed", lost: "lost" };

export function showJobs(stream, me) {
  const jobs = new Map(); // by id, oldest first

  const draw = framed(() => {
    for (const id of [...jobs.keys()].slice(0, -JOBS)) {
      jobs.get(id).view?.item.remove();
      jobs.delete(id);
    }
    for (const job of jobs.values()) {
      if (!job.view) {
        job.view = view(job.step);
        find("jobs").prepend(job.view.item);
      }
      drawJob(job.view, job.step);
    }
  });

  stream.addEventListener("progress", ({ detail }) => {
    const job = jobs.get(detail.data.taskId) ?? {};
    job.step = detail.data;
    jobs.set(detail.data.taskId, job);
    draw();
  });

  // A job that was unfinished when a server started had been running on the one before.
  stream.addEventListener("server", () => {
    for (const job of jobs.values()) {
      if (job.step.status === "running") {
        job.step = { ...job.step, status: "lost", message: "Lost: the server it ran on has stopped." };
      }
    }
    draw();
  });

  postForm(find("job-form"), "/api/jobs", () => ({ user: me.name }));
}

function view({ taskId, title, user }) {
  const bar = make("progress", "");
  bar.max = 100;
  bar.setAttribute("aria-label", title);
  const percent = make("span", "percent");
  const text = make("p", "what");
  const cancel = make("button", "quiet", "Cancel");
  cancel.type = "button";
  cancel.addEventListener("click", () => post(`/api/jobs/${taskId}/cancel`));
  const heading = make("p", "who", make("b", "", title), " ", make("span", "by", `for ${user}`), percent);
  return { item: make("li", "", heading, bar, make("div", "foot", text, cancel)), bar, percent, text, cancel };
}

function drawJob({ item, bar, percent, text, cancel }, step) {
  item.dataset.status = step.status;
  bar.value = step.progress;
  percent.textContent = ENDED[step.status] ?? `${Math.floor(step.progress)} %`;
  text.textContent = step.message;
  cancel.hidden = step.status !== "running";
}
