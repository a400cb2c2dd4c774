// Invokes workflows through the SDK and keeps a number of runs going; every invocation has an idempotency key and an operation.
// Called by main.ts. A call whose outcome nobody knows is made again with the same key until it is known.
// The states of runs are read from the database, not watched: thousands of streams would measure themselves.

import type { OrlojClient } from "../../sdk/index.ts";
import type { History } from "./history.ts";
import type { ChaosPostgres } from "./postgres.ts";
import { pass } from "./waiting.ts";

/** Workflow and share of the invocations; delayMs is how long its tools take, from and to. */
const MIX: readonly { workflow: string; share: number; delayMs: readonly [number, number]; cancelShare?: number }[] = [
  { workflow: "chain", share: 0.4, delayMs: [0, 60] },
  { workflow: "fork", share: 0.35, delayMs: [0, 60], cancelShare: 0.03 },
  // Slow effects, so that workers die in the middle of one.
  { workflow: "chain", share: 0.1, delayMs: [300, 900] },
  // Slow as well: what is cut off there has an outcome that nobody knows.
  { workflow: "wire", share: 0.08, delayMs: [100, 700] },
  { workflow: "refuse", share: 0.03, delayMs: [0, 0] },
  { workflow: "late", share: 0.04, delayMs: [200, 2_500] },
];

const POLL_MS = 100;
const AGAIN_MS = 300;
/** How long an invocation is repeated after stop(). */
const GIVE_UP_MS = 60_000;

/** See the file header. */
export class Driver {
  /** Acknowledged invocations, by key. */
  readonly acknowledged = new Map<string, string>();
  readonly #client: OrlojClient;
  readonly #postgres: ChaosPostgres;
  readonly #history: History;
  readonly #random: () => number;
  readonly #open = new Set<string>();
  #invoking = 0;
  #count = 0;
  #target = 0;
  #stopped = false;
  #giveUpAt = Number.POSITIVE_INFINITY;
  #loop: Promise<void> = Promise.resolve();
  readonly #background = new Set<Promise<void>>();

  constructor(client: OrlojClient, postgres: ChaosPostgres, history: History, random: () => number) {
    this.#client = client;
    this.#postgres = postgres;
    this.#history = history;
    this.#random = random;
  }

  /** Keeps so many runs going from now on. */
  start(inFlight: number): void {
    this.#target = inFlight;
    this.#loop = this.#run();
  }

  /** Invokes nothing more; resolves when every invocation is known, or given up. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#giveUpAt = performance.now() + GIVE_UP_MS;
    await this.#loop;
    while (this.#background.size > 0) await Promise.all(this.#background);
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      while (this.#open.size + this.#invoking < this.#target) this.#spawn(() => this.#invoke());
      await pass(POLL_MS);
      await this.#forgetEnded();
    }
  }

  async #forgetEnded(): Promise<void> {
    const rows = await this.#postgres.query<{ id: string }>(
      "select id from run where id = any($1) and (end_time is not null or 'Parked' = any(conditions))",
      [[...this.#open]],
    );
    for (const { id } of rows) this.#open.delete(id);
  }

  #spawn(work: () => Promise<void>): void {
    const running = work().finally(() => this.#background.delete(running));
    this.#background.add(running);
  }

  async #invoke(): Promise<void> {
    this.#invoking += 1;
    this.#count += 1;
    const key = `k${this.#count}`;
    const { workflow, delayMs, cancelShare = 0 } = this.#pick();
    const [least, most] = delayMs;
    const params = { op: key, delayMs: Math.round(least + this.#random() * (most - least)) };
    this.#history.add({ type: "invoke", key, workflow, op: key });
    for (;;) {
      try {
        const run = await this.#client.workflow(workflow).invoke(params, { idempotencyKey: key });
        this.#history.add({ type: "ok", key, run: run.id, duplicate: run.duplicate });
        this.acknowledged.set(key, run.id);
        this.#open.add(run.id);
        if (this.#random() < cancelShare) await this.#cancel(run.id);
        break;
      } catch (error) {
        this.#history.add({ type: "info", key, error: String(error).slice(0, 200) });
        if (performance.now() > this.#giveUpAt) {
          this.#history.add({ type: "given_up", key });
          break;
        }
        await pass(AGAIN_MS);
      }
    }
    this.#invoking -= 1;
  }

  async #cancel(run: string): Promise<void> {
    await pass(this.#random() * 60);
    try {
      await this.#client.run(run).cancel("chaos");
      this.#history.add({ type: "cancel", run, ok: true });
    } catch (error) {
      this.#history.add({ type: "cancel", run, ok: false, error: String(error).slice(0, 200) });
    }
  }

  #pick(): (typeof MIX)[number] {
    let left = this.#random();
    for (const entry of MIX) {
      left -= entry.share;
      if (left < 0) return entry;
    }
    return MIX[0] as (typeof MIX)[number];
  }
}
