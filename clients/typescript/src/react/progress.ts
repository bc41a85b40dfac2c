import { createElement, type HTMLAttributes, type ReactNode } from "react";
import { type ProgressAria, type ProgressValue, progressAria } from "../tasks.js";
import type { Hooks } from "./types.js";

/** What a rendered progress bar has. */
export type ProgressAttributes = ProgressAria &
  Omit<HTMLAttributes<HTMLElement>, keyof ProgressAria | "children"> & { "data-status"?: string | undefined };

export interface ProgressProps extends Omit<HTMLAttributes<HTMLElement>, "children" | "role"> {
  /** The task's id, which is its topic. */
  task: string;
  /** What is in it. A function gets the value, which is undefined while none is told. */
  children?: ReactNode | ((value: ProgressValue | undefined) => ReactNode);
  /** What to render in place of a `div`: the attributes are for its outermost element. */
  render?: (attributes: ProgressAttributes, value: ProgressValue | undefined) => ReactNode;
}

/**
 * `<Progress>`, for the hooks of a source. It tells how far a task is to who cannot see it, and looks like nothing: that is
 * left to its children and to CSS (`[data-status="failed"]`). Its other props go to its element, and win.
 */
export const createProgress =
  ({ useProgress }: Pick<Hooks, "useProgress">) =>
  ({ task, children, render, ...rest }: ProgressProps): ReactNode => {
    const value = useProgress(task);
    const attributes = { ...progressAria(value), "data-status": value?.status, ...rest } as ProgressAttributes;
    return render
      ? render(attributes, value)
      : createElement("div", attributes, typeof children === "function" ? children(value) : children);
  };
