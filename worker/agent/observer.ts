// What is told of a task while it runs: the seam between those who run it and what makes log lines and spans of it.
// worker/telemetry implements it for each task; loop.ts, tool_call.ts, outside_agent.ts and handler/ speak to it.
// Told are names, counts, sizes and classes: never a prompt, an answer, an argument or a result.

import { DomainError } from "../../kit/errors.ts";
import type { LogFields, LogLevel } from "../log.ts";
import { ModelError } from "../model/adapter.ts";
import { TaskStopped } from "./stop.ts";

/** Something that takes time in a task. */
export type Activity =
  /** A question to a model; turn from 1. */
  | { readonly of: "model"; readonly provider: string; readonly model: string; readonly turn: number }
  /** A tool call from its first question to the server until it is recorded. */
  | { readonly of: "call"; readonly tool: string; readonly turn: number; readonly index: number }
  /** The server's answer to the question whether a call is allowed. */
  | { readonly of: "decision"; readonly tool: string; readonly attempt: number }
  /** One attempt that was granted; means: the kind of the tool. */
  | { readonly of: "attempt"; readonly tool: string; readonly means: string; readonly attempt: number }
  /** Reaching an agent outside of this worker. */
  | { readonly of: "agent"; readonly agent: string; readonly runtime: string };

/** How something ended. */
export interface Ending {
  /** Class of what went wrong; absent: nothing did. */
  readonly error?: string | undefined;
  /** Counts, sizes, and a verdict. */
  readonly facts?: LogFields;
}

/** Something that can have parts. */
export interface Observed {
  /** W3C trace context for what is called in it; absent: nobody is to be told of a trace. */
  readonly traceparent?: string | undefined;
  /** A part of it begins. */
  begin(activity: Activity): ObservedActivity;
}

/** Something that ends. */
export interface ObservedActivity extends Observed {
  end(how: Ending): void;
}

/** What is told of one task. */
export interface TaskObserver extends Observed {
  /** A line about the task, for those who look at its run. Secrets are left out. */
  log(level: LogLevel, message: string, fields?: LogFields): void;
}

/** Runs something as a part of what is observed; only runs it where nobody looks. */
export async function observe<Result>(
  observed: Observed | undefined,
  activity: Activity,
  run: (activity: ObservedActivity | undefined) => Promise<Result>,
  ending: (result: Result) => Ending,
): Promise<Result> {
  if (observed === undefined) return await run(undefined);
  const begun = observed.begin(activity);
  let result: Result;
  try {
    result = await run(begun);
  } catch (error) {
    begun.end({ error: classOf(error) });
    throw error;
  }
  begun.end(ending(result));
  return result;
}

function classOf(error: unknown): string {
  if (error instanceof TaskStopped) return error.stop;
  if (error instanceof ModelError) return error.class;
  return error instanceof DomainError ? error.reason : "Error";
}
