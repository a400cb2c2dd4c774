// Shows the runs of `orloj dev` as they go on, whoever started them: a line a transition, with the end of the run's id in front.
// Called by dev.ts. Learns of runs from the audit trail, and follows so many at a time at most.
// Never touches a run.

import { SECOND } from "../kit/units.ts";
import type { Context } from "./context.ts";
import { safeLine } from "./sanitize.ts";
import { palette } from "./style.ts";
import { isStuck, untilStuck, watchRun } from "./watch_run.ts";

const RUNS_MAX = 20;
/** Of a run's id, the end that tells it from others. */
const ID_CHARACTERS = 6;
const RESUME_MS = SECOND;

/** See the file header. */
export class DevRuns {
  readonly #context: Context;
  readonly #stop = new AbortController();
  readonly #shown = new Map<string, Promise<void>>();
  #following: Promise<void> = Promise.resolve();

  constructor(context: Context) {
    this.#context = context;
  }

  /** Begins to follow. */
  start(): void {
    this.#following = this.#follow();
  }

  /** Ends. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#following, ...this.#shown.values()]);
  }

  async #follow(): Promise<void> {
    const { client, host } = this.#context;
    const { signal } = this.#stop;
    let afterId = 0n;
    while (!signal.aborted) {
      try {
        const stream = client.audit.watchAuditRecords({ filter: { kinds: ["run.created"] }, afterId }, { signal });
        for await (const { records } of stream) {
          for (const { id, runId } of records) {
            afterId = id > afterId ? id : afterId;
            this.#show(runId);
          }
        }
      } catch {
        // The server is ending, or the connection was lost: it is tried again until it is told to stop.
      }
      await host.clock.sleep(RESUME_MS, signal);
    }
  }

  #show(runId: string): void {
    if (this.#shown.has(runId)) return;
    if (this.#shown.size >= RUNS_MAX) {
      this.#context.print(
        safeLine(`run  ${runId}  started; ${RUNS_MAX} others are being shown: orloj describe run ${runId}`),
      );
      return;
    }
    this.#shown.set(
      runId,
      this.#watch(runId).finally(() => this.#shown.delete(runId)),
    );
  }

  async #watch(runId: string): Promise<void> {
    const { client, host } = this.#context;
    try {
      const view = await watchRun(untilStuck(client.run(runId).watch({ signal: this.#stop.signal })), {
        clock: host.clock,
        paint: palette(false),
        screen: undefined,
        print: (line) => this.#context.print(`${safeLine(runId.slice(-ID_CHARACTERS))}  ${line}`),
      });
      if (view !== undefined && isStuck(view.run)) {
        this.#context.note(
          safeLine(`${runId} is parked: orloj dead-letters list --run ${runId} says why and how to go on`),
        );
      }
    } catch {
      // Whoever stopped watching knows; the run goes on, or the server is ending.
    }
  }
}
