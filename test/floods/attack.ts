// What an attack is: its budget of connections and time, and the tally of what came of it. Run by attacker.ts in a process of its own.
// Nothing runs without a bound: a budget ends by itself, and closes what it opened.

import { setTimeout as sleep } from "node:timers/promises";
import { type Target, Wire } from "./wire.ts";

/** Time that the server has to be through with an offender before it counts as still there. */
export const GONE_MS_MAX = 5_000;

/** What came of an attack. */
export interface Tally {
  connections: number;
  /** Connections that the server closed, or did not take in. */
  closed: number;
  /** Offenders whose connection was open GONE_MS_MAX after the attack ended. */
  still_open: number;
  /** Longest time from a first offence to the end of its connection. */
  gone_ms_max: number;
  /** Frames, requests, or messages that were written: what the attack is made of. */
  sent: number;
  /** Most connections open at a time. */
  open_max: number;
}

/** How long and how much. */
export interface Limits {
  readonly seconds: number;
  /** Connections in all, and at a time. */
  readonly connections: number;
  readonly together: number;
}

/** See the file header. */
export class Budget {
  readonly target: Target;
  readonly limits: Limits;
  readonly tally: Tally = { connections: 0, closed: 0, still_open: 0, gone_ms_max: 0, sent: 0, open_max: 0 };
  readonly #wires = new Set<Wire>();
  readonly #endMs: number;

  constructor(target: Target, limits: Limits) {
    this.target = target;
    this.limits = limits;
    this.#endMs = performance.now() + limits.seconds * 1_000;
  }

  get over(): boolean {
    return performance.now() >= this.#endMs;
  }

  get open(): readonly Wire[] {
    return [...this.#wires];
  }

  /** A new connection; undefined when there are no more to be had, or it was not taken in. */
  async wire(protocol?: ConstructorParameters<typeof Wire>[1]): Promise<Wire | undefined> {
    if (this.over || this.tally.connections >= this.limits.connections) return undefined;
    this.tally.connections += 1;
    const wire = new Wire(this.target, protocol);
    this.#wires.add(wire);
    this.tally.open_max = Math.max(this.tally.open_max, this.#wires.size);
    void wire.closed.then(() => {
      this.#wires.delete(wire);
      this.tally.closed += 1;
      this.tally.gone_ms_max = Math.max(this.tally.gone_ms_max, wire.goneMs ?? 0);
    });
    await Promise.race([wire.opened, this.pause(this.#endMs - performance.now())]);
    return wire.isOpen && !wire.isClosed ? wire : undefined;
  }

  /** Runs a lane again and again, as many side by side as the limits say, until the budget is used up. */
  async lanes(lane: () => Promise<void>, together = this.limits.together): Promise<void> {
    const run = async () => {
      while (!this.over && this.tally.connections < this.limits.connections) await lane();
    };
    await Promise.all(Array.from({ length: together }, run));
  }

  async pause(ms: number): Promise<void> {
    await sleep(Math.max(0, Math.min(ms, this.#endMs - performance.now())));
  }

  /** Waits for the end of the budget with everything held open. */
  async hold(): Promise<void> {
    await this.pause(Number.POSITIVE_INFINITY);
  }

  /** Waits for the server to be through with offenders, if it has to be; closes the rest. */
  async end(offenders: boolean): Promise<Tally> {
    const patience = performance.now() + GONE_MS_MAX;
    // A connection that was opened as the time ran out has done nothing wrong yet.
    const offending = () => this.open.filter(({ hasOffended }) => hasOffended).length;
    while (offenders && offending() > 0 && performance.now() < patience) await sleep(50);
    if (offenders) this.tally.still_open = offending();
    const closedByServer = this.tally.closed;
    for (const wire of this.#wires) wire.destroy();
    await sleep(50);
    this.tally.closed = closedByServer;
    return { ...this.tally, gone_ms_max: Math.round(this.tally.gone_ms_max) };
  }
}

/** An attack. */
export interface Attack {
  /** Listeners that it applies to. */
  readonly on: (target: Target) => boolean;
  /** The server can know every connection for an offender's, and must end it. */
  readonly offends: boolean;
  readonly limits: Omit<Limits, "seconds">;
  run(budget: Budget): Promise<void>;
}
