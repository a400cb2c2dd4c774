// Reads the numbers of the fleet for people: what monitoring reads of the database, replicas and rates, and how the answering replica is.
// Called by rpc/fleet_service through replica.ts. However many ask, the database is read at most once a READ_MS.

import type { Clock } from "../../kit/clock.ts";
import { SECOND } from "../../kit/units.ts";
import { readStatus } from "../storage/read_status.ts";
import type { CommandContext } from "./context.ts";
import { readGauges } from "./read_gauges.ts";

/** Least time between two reads, in ms. */
const READ_MS = 1 * SECOND;

/** One number, named as its metric is without prefix. */
export interface StatusNumber {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The numbers of one moment. */
export interface StatusView {
  readonly readTime: Date;
  readonly replicaId: string;
  readonly version: string;
  readonly numbers: readonly StatusNumber[];
}

/** Which replica answers, and what it says of itself. */
export interface StatusSource {
  readonly replicaId: string;
  readonly version: string;
  own(): readonly StatusNumber[];
}

/** See the file header. */
export class StatusReader {
  readonly #context: Pick<CommandContext, "store">;
  readonly #clock: Clock;
  readonly #source: StatusSource;
  #last: { readonly atMs: number; readonly view: Promise<StatusView> } | undefined;

  constructor(context: Pick<CommandContext, "store">, clock: Clock, source: StatusSource) {
    this.#context = context;
    this.#clock = clock;
    this.#source = source;
  }

  /** The numbers, at most READ_MS old. @throws STORAGE_UNAVAILABLE */
  async read(): Promise<StatusView> {
    const nowMs = this.#clock.monotonic();
    if (this.#last !== undefined && nowMs - this.#last.atMs < READ_MS) return await this.#last.view;
    const view = this.#read();
    this.#last = { atMs: nowMs, view };
    // A failure is not kept: the next one who asks looks again.
    view.catch(() => {
      if (this.#last?.view === view) this.#last = undefined;
    });
    return await view;
  }

  async #read(): Promise<StatusView> {
    const beganMs = this.#clock.monotonic();
    const gauges = await readGauges(this.#context);
    const { time, rows } = await this.#context.store.read(({ db }) => readStatus(db));
    const took = { name: "status_read_seconds", labels: {}, value: (this.#clock.monotonic() - beganMs) / SECOND };
    const { replicaId, version } = this.#source;
    const numbers = [
      ...gauges.map(({ gauge, labels, value }) => ({ name: gauge, labels, value })),
      ...rows,
      ...this.#source.own(),
      took,
    ];
    return { readTime: time, replicaId, version, numbers };
  }
}
