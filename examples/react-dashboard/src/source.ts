import { createSource } from "clarion-client";
import { createHooks, createProgress } from "clarion-client/react";

export interface Order {
  number: number;
  what: string;
  where: string;
  amount: number;
  /** Unix time in milliseconds. */
  at: number;
}

/** What a topic `metrics/NAME` is. */
export interface Metric {
  now: number;
  /** The last minute, one point a second. */
  history: number[];
}

export interface Events {
  order: Order;
}

/** The one connection of the page, however many components read it. */
const source = createSource<Events>({ url: "/events" });
const hooks = createHooks(source);

export const { useProgress, useReducedEvents, useSourceStatus, useValue } = hooks;
export const Progress = createProgress(hooks);
