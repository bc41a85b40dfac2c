/** What tasks and generated texts are to a page: their values, how one is asked to stop, what a progress bar says. */
import type { SourceOptions } from "./index.js";

/** `lost`: whoever did the work died without a word. */
export type WorkStatus = "pending" | "running" | "completed" | "failed" | "cancelled" | "lost";

/** What people are told of a failure. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  /** The server's log has more under this name. */
  readonly ref?: string | null;
}

/** A part of a task. */
export interface Step {
  readonly name: string;
  readonly status: WorkStatus;
  /** 0 to 100; null where it is unknown. */
  readonly progress: number | null;
  /** Against the other steps beside it. */
  readonly weight: number;
  readonly current: number;
  readonly total: number | null;
  readonly steps?: readonly Step[];
}

/** The value of a task's topic, which is the task's id. */
export interface ProgressValue {
  readonly taskId: string;
  readonly title: string;
  readonly message: string;
  readonly status: WorkStatus;
  /** 0 to 100, one decimal; null where it is unknown. */
  readonly progress: number | null;
  readonly current: number;
  /** Null where it is unknown. */
  readonly total: number | null;
  readonly unit: string | null;
  /** Units per second; null where it is unknown. */
  readonly rate: number | null;
  /** Seconds to go; null where they are unknown. */
  readonly eta: number | null;
  readonly steps: readonly Step[];
  /** 1, or more after retries. */
  readonly attempt: number;
  readonly error: Failure | null;
  /** Whether people may stop it. */
  readonly cancellable: boolean;
  /** Whether somebody has asked to. */
  readonly cancelRequested: boolean;
  /** Unix time in milliseconds; null before it began. */
  readonly startedAt: number | null;
  readonly updatedAt: number;
}

/** The value of the topic of a generated text. It may have other named parts, too. */
export interface GenerationValue {
  /** Names this run. */
  readonly messageId: string;
  readonly status: Exclude<WorkStatus, "pending">;
  readonly text: string;
  readonly reasoning?: string;
  readonly refusal?: string;
  readonly toolCalls?: { readonly [id: string]: ToolCall };
  /** The order of the flow; `from` counts characters (code points) of the part. */
  readonly segments: readonly ({ readonly part: string; readonly from: number } | { readonly toolCall: string })[];
  readonly finishReason?: string;
  readonly usage?: { readonly inputTokens?: number; readonly outputTokens?: number; readonly totalTokens?: number };
  readonly error?: Failure;
  readonly model?: string;
  readonly metadata?: { readonly [name: string]: unknown };
  /** Unix time in milliseconds. */
  readonly startedAt: number;
  readonly endedAt?: number;
}

export interface ToolCall {
  readonly name: string;
  /** JSON text, complete once `done` is true. */
  readonly input: string;
  readonly done?: boolean;
  readonly output?: unknown;
  readonly errorText?: string;
}

/** WAI-ARIA 1.2, role `progressbar`. Without `aria-valuenow` it is indeterminate. */
export interface ProgressAria {
  readonly role: "progressbar";
  readonly "aria-valuemin": 0;
  readonly "aria-valuemax": 100;
  readonly "aria-valuenow"?: number | undefined;
  /** Percent and message; read in place of the number. */
  readonly "aria-valuetext"?: string | undefined;
  readonly "aria-label"?: string | undefined;
  /** Whether more is to come. */
  readonly "aria-busy": boolean;
}

/** Whether more is to come, as far as is known. */
export const isUnderWay = (value: Partial<ProgressValue> | undefined): boolean =>
  !/^(completed|failed|cancelled|lost)$/.test(value?.status ?? "");

/** What a progress bar says of itself to who cannot see it. value: the task's, undefined while it is not known. */
export function progressAria(value: ProgressValue | undefined): ProgressAria {
  const { progress, message, title, error }: Partial<ProgressValue> = value ?? {};
  const now = typeof progress === "number" ? Math.min(Math.max(progress, 0), 100) : undefined;
  const words = [now !== undefined && `${Math.floor(now)}%`, error?.message || message];
  return {
    role: "progressbar",
    "aria-valuemin": 0,
    "aria-valuemax": 100,
    "aria-valuenow": now,
    "aria-valuetext": words.filter(Boolean).join(", ") || undefined,
    "aria-label": title || undefined,
    "aria-busy": isUnderWay(value),
  };
}

/** As the source was told it: its options can be given. The URL of the stream is `/events` by default. */
export type CancelOptions = Partial<Pick<SourceOptions, "url" | "headers" | "init" | "fetch">>;

/**
 * Asks the server to stop a task or a generation: `POST tasks/ID/cancel`, beside the stream's URL. Its value says when it
 * has stopped.
 *
 * Rejects with an error with the `status` of a refusal, with a `RangeError` for what cannot be in a URL, or with what
 * `fetch` throws.
 */
export async function cancelTask(id: string, options: CancelOptions = {}): Promise<void> {
  const { url = "/events", headers, init, fetch: ask = fetch } = options;
  const path = `/tasks/${id.split("/").map(encodeURIComponent).join("/")}/cancel`;
  const target = new URL(`.${path}`, new URL(url, globalThis.location as never));
  // A level of one dot or two leads to some other place.
  if (!target.pathname.endsWith(path)) throw new RangeError(`clarion: no URL can ask for ${id}`);
  const answer = await ask(target.href, {
    ...init,
    method: "POST",
    body: null,
    headers: new Headers(await (typeof headers === "function" ? headers(undefined) : headers)),
  });
  if (!answer.ok) throw Object.assign(new Error("clarion: not cancelled"), { status: answer.status });
}
