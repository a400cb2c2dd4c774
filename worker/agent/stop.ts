// Why a task stops before its end, and how waiting obeys that.
// The session aborts a task's signal with a TaskStopped; loop.ts turns it into the task's end.
// Holds no timer of its own.

/** Cause of an early stop: cancel asked by the server, lease lost, given back at drain, own time limit. */
export type StopCause = "cancelled" | "lost" | "interrupted" | "timeout";

/** Reason of an aborted task signal. */
export class TaskStopped extends Error {
  override readonly name = "TaskStopped";
  readonly stop: StopCause;

  constructor(stop: StopCause) {
    super(`the task was stopped: ${stop}`);
    this.stop = stop;
  }
}

/** Cause of an aborted signal; undefined while it is not aborted. */
export function stopCause(signal: AbortSignal): StopCause | undefined {
  if (!signal.aborted) return undefined;
  return signal.reason instanceof TaskStopped ? signal.reason.stop : "interrupted";
}

/** Settles as the promise does, or rejects with the signal's reason as soon as it aborts. */
export function orStopped<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}
