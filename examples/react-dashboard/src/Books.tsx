import type { WorkStatus } from "clarion-client/react";
import { useState } from "react";
import { Progress, useProgress } from "./source";

const WORDS: Record<WorkStatus, string> = {
  pending: "Waiting",
  running: "Running",
  completed: "Done",
  failed: "Failed",
  cancelled: "Stopped",
  lost: "Broken off",
};

/** Long work on the server. A reload, and everybody else, sees how far it is. */
export function Books() {
  const task = useProgress("books");
  const [problem, setProblem] = useState("");
  const isRunning = task?.status === "running" || task?.status === "pending";

  async function post(path: string) {
    setProblem("");
    const isDone = await fetch(path, { method: "POST" }).then(
      ({ ok }) => ok,
      () => false,
    );
    if (!isDone) setProblem("That did not work. Please try again.");
  }

  return (
    <section className="card books" id="books" data-status={task?.status}>
      <h2>Close the books</h2>
      <p className="status">
        <b>{task ? WORDS[task.status] : "Not begun"}</b>
        <span className="percent">{task?.progress == null ? "" : `${Math.floor(task.progress)}%`}</span>
      </p>
      <Progress task="books" className="bar">
        <div style={{ inlineSize: `${task?.progress ?? 0}%` }} />
      </Progress>
      <ol className="steps">
        {task?.steps.map((step) => (
          <li key={step.name} data-status={step.status}>
            <span>{step.name}</span>
            <span className="percent">{step.progress == null ? "" : `${Math.floor(step.progress)}%`}</span>
          </li>
        ))}
      </ol>
      <p className="hint message">{isRunning ? task.message : (task?.error?.message ?? "")}</p>
      <div className="actions">
        {isRunning ? (
          <button
            type="button"
            className="quiet"
            disabled={task.cancelRequested}
            onClick={() => post("/tasks/books/cancel")}
          >
            Stop
          </button>
        ) : (
          <button type="button" onClick={() => post("/books")}>
            {task ? "Again" : "Begin"}
          </button>
        )}
        <span role="alert">{problem}</span>
      </div>
    </section>
  );
}
