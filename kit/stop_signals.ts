// What a long-running process does about its terminal: two stop signals, and outputs that may close before it does.
// Called by main files, and by nothing else.
// npx forwards a signal that the terminal sent to the whole group already: what repeats within a second is one signal.

import type { Clock } from "./clock.ts";
import { SECOND } from "./units.ts";

/** A repetition within this time is the same signal, in ms. */
const SAME_SIGNAL_MS = SECOND;

/** Calls first at the first SIGTERM or SIGINT, again at each later one. @returns stops listening */
export function onStopSignals(clock: Clock, first: () => void, again: () => void): () => void {
  let since: number | undefined;
  const onSignal = () => {
    const nowMs = clock.monotonic();
    if (since !== undefined && nowMs - since < SAME_SIGNAL_MS) return;
    const call = since === undefined ? first : again;
    since = nowMs;
    call();
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  return () => {
    process.off("SIGTERM", onSignal);
    process.off("SIGINT", onSignal);
  };
}

/** A pipe that closed (`| head`) must not end a process that has a database to stop: what is written then is dropped. */
export function outliveClosedOutput(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
}
