// What /metrics says of one replica. Counters move with the audit events that its transactions committed, batches are measured as they
// are written; everything else is read when somebody scrapes, the database at most every READ_MS and with one statement.
// Made by main.ts; fed by the store and the services, asked by the ops listener.
// orloj_cluster_… is the same on every replica; everything else is of this one. A scrape never waits longer than ANSWER_MS_MAX for
// the database, and never fails: without it the replica still tells of itself.

import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Clock } from "../../kit/clock.ts";
import { Counter, exposition, type Family, gauge, Histogram, type Labels, type Sample } from "../../kit/metrics.ts";
import { SECOND } from "../../kit/units.ts";
import { countEvent, EVENT_COUNTERS, type EventCounter, OPEN_LABELS } from "../audit/counted.ts";
import { AUDIT_KINDS, type AuditEvent } from "../audit/events.ts";

/** Least time between two reads of the database, and between two looks at the event loop, in ms. */
export const READ_MS = 5 * SECOND;
const ANSWER_MS_MAX = 3 * SECOND;
// Each look at the event loop wakes the process: 50 a second were four tenths of a percent of a processor, a third of what an idle replica took.
const LOOP_RESOLUTION_MS = 100;
const NANOSECONDS = 1e9;

const BATCH_BOUNDS = [1, 2, 5, 10, 25, 50, 100, 200];
const COMMIT_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const CALL_BOUNDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** What the database counts, by name: the meaning of each. */
export const CLUSTER_GAUGES: Readonly<Record<string, string>> = {
  runs: "Runs that are not finished, by state; parked ones are RUNNING.",
  runs_waiting_for_slot: "Runs that wait for their turn in a concurrency group.",
  tasks: "Tasks that are not finished, by state: WAITING for a retry or their turn in a map, READY, LEASED.",
  queue_tasks: "Tasks that are ready for a worker, by what they need of one.",
  queue_first_age_seconds: "How long the first in line of a route has been ready.",
  dead_letters: "Parked tasks that nobody has decided about, by cause.",
  sessions: "Sessions of workers, by state.",
  slots: "Slots of all active workers; the taken ones are the tasks in state LEASED.",
  audit_unsealed_age_seconds: "Age of the oldest audit record that no segment seals; 0: all are sealed.",
};

/** A number that the database counts. */
export interface ClusterNumber {
  readonly gauge: string;
  readonly labels: Labels;
  readonly value: number;
}

/** What a replica tells when it is asked. */
export interface MetricSources {
  /** Streams of workers on this replica: how many, their free slots, and the assignments that they hold. */
  sessions(): { readonly open: number; readonly credit: number; readonly held: number };
  /** Items that wait for a batch, by kind. */
  waiting(): Readonly<Record<string, number>>;
  /** @throws when the database does not answer */
  cluster(): Promise<readonly ClusterNumber[]>;
}

/** See the file header. */
export class Metrics {
  readonly #clock: Clock;
  readonly #counters: Readonly<Record<EventCounter, Counter>>;
  readonly #batchItems = new Histogram("orloj_batch_items", "Items of the batches of hot writes.", BATCH_BOUNDS);
  readonly #batchSeconds = new Histogram(
    "orloj_batch_seconds",
    "Time of a batch from its begin until it committed.",
    COMMIT_BOUNDS,
  );
  readonly #batchFailures = new Counter("orloj_batch_failures_total", "Batches that did not commit.", ["kind"]);
  readonly #callSeconds = new Histogram(
    "orloj_tool_call_seconds",
    "Time of attempts of tool calls, as workers measured it.",
    CALL_BOUNDS,
  );
  readonly #loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  readonly #startedMs: number;
  #loopRead: { readonly atMs: number; readonly family: Family } | undefined;
  #cluster: { readonly atMs: number; readonly families: Promise<readonly Family[]> } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedMs = clock.now();
    this.#counters = Object.fromEntries(
      Object.entries(EVENT_COUNTERS).map(([key, { name, help, labels }]) => [
        key,
        new Counter(name, help, labels, OPEN_LABELS),
      ]),
    ) as Record<EventCounter, Counter>;
    for (const kind of AUDIT_KINDS) this.#counters.events.add([kind], 0);
  }

  /** Ends measuring the event loop, which began with the first look at it. */
  stop(): void {
    this.#loop.disable();
  }

  /** Counts what has committed. */
  recorded(events: readonly AuditEvent[]): void {
    for (const event of events) {
      countEvent(event, (counter, labels, by) => this.#counters[counter].add(labels, by));
      if (event.kind === "tool.result") this.#callSeconds.observe(event.detail.durationMs / SECOND);
    }
  }

  /** Measures a batch. @returns what is to be called when it ended */
  batch(kind: string, items: number): (committed: boolean) => void {
    const beganMs = this.#clock.monotonic();
    return (committed) => {
      this.#batchItems.observe(items, { kind });
      this.#batchSeconds.observe((this.#clock.monotonic() - beganMs) / SECOND, { kind });
      if (!committed) this.#batchFailures.add([kind]);
    };
  }

  /** The text of a scrape. Never rejects. */
  async scrape(sources: MetricSources): Promise<string> {
    const cluster = await this.#clusterFamilies(sources);
    return exposition([
      ...this.#process(),
      ...this.#ofReplica(sources),
      ...Object.values(this.#counters).map((counter) => counter.family()),
      ...[this.#batchItems, this.#batchSeconds, this.#callSeconds].map((histogram) => histogram.family()),
      this.#batchFailures.family(),
      gauge("orloj_database_up", "1: the database answered this replica in time.", cluster === undefined ? 0 : 1),
      ...(cluster ?? []),
    ]);
  }

  /** What the replica says of itself without the database, as a scrape has it. */
  ofReplica(sources: Pick<MetricSources, "sessions" | "waiting">): readonly Family[] {
    return [this.#loopLag(), ...this.#ofReplica(sources)];
  }

  #process(): Family[] {
    const { rss, heapUsed } = process.memoryUsage();
    const { user, system } = process.cpuUsage();
    const cpu = { name: "process_cpu_seconds_total", type: "counter", help: "CPU time of the process." } as const;
    return [
      gauge("process_start_time_seconds", "When the process started.", this.#startedMs / SECOND),
      gauge("process_resident_memory_bytes", "Memory of the process.", rss),
      gauge("orloj_heap_used_bytes", "Memory of the objects in the process.", heapUsed),
      { ...cpu, samples: [{ labels: {}, value: (user + system) / 1e6 }] },
      this.#loopLag(),
    ];
  }

  #ofReplica(sources: Pick<MetricSources, "sessions" | "waiting">): Family[] {
    const { open, credit, held } = sources.sessions();
    const waiting = Object.entries(sources.waiting()).map(([kind, value]): Sample => ({ labels: { kind }, value }));
    return [
      gauge("orloj_worker_streams", "Streams of workers on this replica.", open),
      gauge("orloj_worker_credit", "Free slots of those workers.", credit),
      gauge("orloj_worker_assignments", "Tasks that those workers hold.", held),
      gauge("orloj_batch_waiting_items", "Writes that wait for a batch.", waiting),
    ];
  }

  // Looked at and begun anew at most every READ_MS, so that two who scrape see the same. Nothing is measured before somebody looks.
  #loopLag(): Family {
    const nowMs = this.#clock.monotonic();
    if (this.#loopRead === undefined) this.#loop.enable();
    if (this.#loopRead === undefined || nowMs - this.#loopRead.atMs >= READ_MS) {
      // A timer that is due on time reads as its resolution.
      const lag = (nanoseconds: number) => Math.max(0, nanoseconds / NANOSECONDS - LOOP_RESOLUTION_MS / SECOND);
      const at = (quantile: string, nanoseconds: number): Sample => ({
        labels: { quantile },
        value: Number.isFinite(nanoseconds) ? lag(nanoseconds) : 0,
      });
      const samples = [
        at("0.5", this.#loop.percentile(50)),
        at("0.99", this.#loop.percentile(99)),
        at("1", this.#loop.max),
      ];
      this.#loop.reset();
      const help = "How late the event loop was since the look before this one, at least 5 s.";
      this.#loopRead = { atMs: nowMs, family: gauge("orloj_event_loop_lag_seconds", help, samples) };
    }
    return this.#loopRead.family;
  }

  // Undefined: the database did not answer in time.
  async #clusterFamilies({ cluster }: MetricSources): Promise<readonly Family[] | undefined> {
    const nowMs = this.#clock.monotonic();
    if (this.#cluster === undefined || nowMs - this.#cluster.atMs >= READ_MS) {
      this.#cluster = { atMs: nowMs, families: cluster().then(clusterFamilies) };
    }
    const { families } = this.#cluster;
    return await new Promise((resolve) => {
      const cancel = this.#clock.after(ANSWER_MS_MAX, () => resolve(undefined));
      families.then(resolve, () => resolve(undefined)).finally(cancel);
    });
  }
}

function clusterFamilies(numbers: readonly ClusterNumber[]): Family[] {
  const byName = Map.groupBy(numbers, (each) => each.gauge);
  return Object.entries(CLUSTER_GAUGES).map(([name, help]) =>
    gauge(`orloj_cluster_${name}`, help, byName.get(name) ?? []),
  );
}
