// The life of one task's handler code: what it began and has not ended, what ends the task whatever the code does, and when all is over.
// Made by run_handler.ts for each task; everything that `ctx` does runs in it. Decides nothing.
// While the code runs, what it waits for rejects as soon as the task stops. After its end nothing settles any more: a promise that nobody waits
// for would else end the process by its rejection.

import { DomainError } from "../../kit/errors.ts";
import { orStopped, TaskStopped } from "../agent/stop.ts";
import type { TaskEnd } from "../agent/task.ts";

/** Reason of the code's signal when the task ended for another cause than its own stop. */
class TaskEnded extends Error {
  override readonly name = "TaskEnded";
}

// One for all: making an error costs more than running a small handler, for it looks where it is.
const TASK_ENDED = new TaskEnded("the task has ended");

type Cause = { readonly end: TaskEnd } | { readonly error: Error };

/** See the file header. */
export class Scope {
  /** What the code sees: aborts when the task stops, and when it has ended. */
  readonly signal: AbortSignal;
  readonly #ended = new AbortController();
  readonly #onLateUse: () => void;
  readonly #begun = new Set<Promise<unknown>>();
  #cause: Cause | undefined;
  #over = false;

  /** @param stopped aborts when the task is stopped. @param onLateUse the code used its context after its end. */
  constructor(stopped: AbortSignal, onLateUse: () => void) {
    this.signal = AbortSignal.any([stopped, this.#ended.signal]);
    this.#onLateUse = onLateUse;
  }

  /** Does something for the code. */
  run<Value>(work: () => Promise<Value>): Promise<Value> {
    if (this.#over) {
      this.#onLateUse();
      return new Promise(() => {});
    }
    const running = this.#guarded(work);
    const begun: Promise<unknown> = running.catch(() => {}).finally(() => this.#begun.delete(begun));
    this.#begun.add(begun);
    const told = orStopped(running, this.signal).catch((error: unknown) => {
      return this.#over ? new Promise<Value>(() => {}) : Promise.reject(error);
    });
    told.catch(() => {});
    return told;
  }

  /** The task ends so, whatever the code does. The first cause stands. Returns what the code is told. */
  end(end: TaskEnd): Error {
    return this.#end({ end });
  }

  /** The code has ended, or is not waited for any longer. Resolves when what it began has ended. */
  async close(): Promise<void> {
    this.#over = true;
    while (this.#begun.size > 0) await Promise.all(this.#begun);
    // What still listens, listens to nothing; and Node keeps a signal that is made of others for as long as somebody does.
    this.#ended.abort(TASK_ENDED);
  }

  /** What ended the task, if anything did but its code. @throws what the server or the lease said, if that was it */
  cause(): TaskEnd | undefined {
    if (this.#cause !== undefined && "error" in this.#cause) throw this.#cause.error;
    return this.#cause?.end;
  }

  async #guarded<Value>(work: () => Promise<Value>): Promise<Value> {
    this.signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      throw error instanceof DomainError || error instanceof TaskStopped ? this.#end({ error }) : error;
    }
  }

  #end(cause: Cause): Error {
    this.#cause ??= cause;
    this.#ended.abort(TASK_ENDED);
    return this.signal.reason as Error;
  }
}
