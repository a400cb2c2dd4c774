// One history: a list of words against the world in memory, judged after each operation, then healed: when faults stop,
// everything must end, or be parked, within a bound.

import { Violation } from "./books.ts";
import type { Driver, FaultCounts } from "./driver.ts";
import { STEP_MS } from "./flows.ts";
import { Oracle } from "./oracle.ts";
import type { Traced } from "./rows.ts";
import { act, startSystem, type Word } from "./schedule.ts";
import { nextRequest } from "./workers.ts";

/** Rounds after the last fault within which everything ends. */
const ROUNDS_MAX = 60;

export interface History {
  readonly commands: number;
  readonly faults: FaultCounts;
  /** Everything that was seen, by name: a search that never saw a thing has not tried it. */
  readonly seen: ReadonlyMap<string, number>;
  readonly trace: readonly Traced[];
  readonly violation: Violation | undefined;
}

/** Runs a history. `heal`: also that everything ends. The trace is kept only when asked for. */
export function runHistory(words: readonly Word[], options: { heal?: boolean; keepTrace?: boolean } = {}): History {
  const oracle = new Oracle();
  const trace: Traced[] = [];
  const seen = new Map<string, number>();
  let commands = 0;
  const keep = options.keepTrace === true;
  const driver = startSystem((traced, at) => {
    if (keep) trace.push(traced);
    oracle.observe(traced, at);
    noteSeen(seen, traced, at);
  });
  try {
    for (const word of words) if (act(driver, word)) commands += 1;
    if (options.heal !== false) heal(driver);
    return { commands, faults: driver.faults, seen, trace, violation: undefined };
  } catch (error) {
    const violation = error instanceof Violation ? error : new Violation("a rule of the product broke", String(error));
    return { commands, faults: driver.faults, seen, trace, violation };
  }
}

// Workers thaw and reconnect, ticks tick, facts arrive: no fault any more.
function heal(driver: Driver): void {
  driver.perform({ op: "policy", denied: "" }, 0);
  for (const worker of driver.workers) {
    worker.frozen = false;
    worker.clockMs = 0;
    driver.connect(worker, worker.replica);
  }
  driver.serve(driver.underway.splice(0), 0, "");
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    if (isQuiet(driver)) return;
    for (const worker of driver.workers) {
      driver.renew(worker);
      if (!worker.connected) driver.connect(worker, worker.replica);
      driver.claim(worker, 2, "clean");
      for (const held of worker.held.values()) {
        const request = nextRequest(worker, held, 0, {
          nowMs: driver.tables.nowMs,
          models: driver.models,
          sink: driver.sink,
        });
        if (request !== undefined) driver.send(request, worker.replica, "clean");
      }
    }
    driver.perform({ op: "time", ms: STEP_MS }, 0);
    driver.find(round % 2);
    driver.settleFindings(round % 2, "");
  }
  const open = [...driver.tables.tasks.values()].filter((task) => task.state === "READY" || task.state === "WAITING");
  throw new Violation("everything ends once faults stop", open.map((task) => `${task.id} ${task.state}`).join(", "));
}

function isQuiet({ tables }: Driver): boolean {
  return [...tables.tasks.values()].every((task) => task.state !== "READY" && task.state !== "WAITING");
}

function noteSeen(seen: Map<string, number>, { op, result }: Traced, { tables }: Driver): void {
  const note = (name: string) => seen.set(name, (seen.get(name) ?? 0) + 1);
  for (const { kind } of tables.records) note(kind);
  for (const answer of result?.answers ?? []) note(`call ${answer.type}`);
  for (const verdict of result?.verdicts ?? []) note(`${op.op} ${verdict}`);
  if (op.op !== "claim" && (result?.assigned?.length ?? 0) > 0) note(`leased by ${op.op}`);
  if ((op.op === "settle" || op.op === "turns" || op.op === "results") && (result?.verdicts?.length ?? 0) > 1)
    note("batch");
}
