import type { Status } from "clarion-client";
import { useSourceStatus, useValue } from "./source";

function phaseOf({ state, connected }: Status) {
  if (connected) return "live";
  return state === "closed" ? "closed" : state === "waiting" ? "reconnecting" : "connecting";
}

/** How the line is, and how many look on. Renders when one of the two changes. */
export function Connection() {
  const phase = useSourceStatus(phaseOf);
  const viewers = useValue<number>("viewers") ?? 0;
  return (
    <p className="connection" role="status" data-phase={phase}>
      <i aria-hidden="true" />
      <span className="phase">{phase}</span>
      <span className="viewers">
        {viewers} {viewers === 1 ? "viewer" : "viewers"}
      </span>
    </p>
  );
}
