// Breaks things on purpose: workers, replicas, Postgres, acknowledgements of COMMIT. Called by main.ts, which says how often.
// Each method does one fault and mends it; several may run at once. Everything done goes into the history.
// Never breaks what it does not mend: after stop() the whole fleet runs.

import type { ChaosWorker, Fleet, Replica } from "./fleet.ts";
import type { History } from "./history.ts";
import { LEASE_TTL_MS } from "./profiles.ts";
import type { Sink } from "./sink.ts";
import { PHASES, type Phase, tasksOf, victimIn } from "./victims.ts";
import { pass, until } from "./waiting.ts";

/** How long the nemesis looks for a worker in a phase before it takes any. */
const PHASE_WAIT_MS = 400;
/** Longest time that a frozen worker's tasks may take to be taken over. */
const TAKEOVER_MS_MAX = 15_000;

/** What was done so far. */
export interface Deeds {
  workerKills: number;
  zombies: number;
  replicaKills: number;
  postgresKills: number;
  readonly phases: Record<string, number>;
}

/** See the file header. */
export class Nemesis {
  readonly deeds: Deeds = { workerKills: 0, zombies: 0, replicaKills: 0, postgresKills: 0, phases: {} };
  readonly #fleet: Fleet;
  readonly #sink: Sink;
  readonly #history: History;
  readonly #random: () => number;

  constructor(fleet: Fleet, sink: Sink, history: History, random: () => number) {
    this.#fleet = fleet;
    this.#sink = sink;
    this.#history = history;
    this.#random = random;
  }

  #one<T>(items: readonly T[]): T {
    return items[Math.floor(this.#random() * items.length)] as T;
  }

  /** SIGKILL to a worker in a phase; another one takes its place. */
  async killWorker(phase: Phase = this.#one(PHASES)): Promise<void> {
    const fleet = this.#fleet;
    const aimed = await until(() => victimIn(phase, fleet, this.#sink), PHASE_WAIT_MS);
    const victim = aimed ?? this.#one([...fleet.workers.values()].filter((worker) => !worker.frozen));
    if (victim === undefined || victim.frozen) return;
    // Nobody else may choose it while it is on its way out.
    victim.frozen = true;
    const at = Date.now();
    const settled = at - Math.max(fleet.replicaStartedAt, fleet.postgres.backAt) > LEASE_TTL_MS + 500;
    fleet.strike(victim.process);
    const tasks = await tasksOf(victim, fleet);
    const landed = aimed === undefined ? "any" : phase;
    this.#history.add({ type: "worker_killed", at, worker: victim.name, phase: landed, tasks, settled });
    this.deeds.workerKills += 1;
    this.deeds.phases[landed] = (this.deeds.phases[landed] ?? 0) + 1;
    await fleet.killWorker(victim);
    await fleet.startWorker();
  }

  /** SIGSTOP to a worker in the middle of an effect, until others have taken its tasks over; then it wakes. */
  async freezeWorker(): Promise<void> {
    const fleet = this.#fleet;
    const victim = await until(() => victimIn("effect", fleet, this.#sink), 5_000);
    if (victim === undefined) return;
    victim.frozen = true;
    victim.process.signal("SIGSTOP");
    const tasks = await tasksOf(victim, fleet);
    this.#history.add({ type: "worker_frozen", worker: victim.name, tasks });
    const taken = await until(
      async () => ((await tasksOf(victim, fleet)).length === 0 ? true : undefined),
      TAKEOVER_MS_MAX,
      50,
    );
    // What others took over has the time to end as well.
    await pass(this.#random() * 800);
    victim.process.signal("SIGCONT");
    this.#history.add({ type: "worker_woken", worker: victim.name, tasks: taken === true ? tasks : [] });
    if (taken === true) this.deeds.zombies += 1;
    await this.#backAtWork(victim);
    victim.frozen = false;
  }

  // A woken worker counts again once its session is seen anew.
  async #backAtWork({ name }: ChaosWorker): Promise<void> {
    const seen = () =>
      this.#fleet.postgres.query<{ id: string }>(
        `select id from worker_session where name = $1 and state = 'active' and expire_time > clock_timestamp()`,
        [name],
      );
    await until(async () => ((await seen()).length > 0 ? true : undefined), TAKEOVER_MS_MAX, 100);
  }

  /** SIGKILL to a replica, which starts again after a moment. */
  async killReplica(replica: Replica = this.#one(this.#fleet.replicas)): Promise<void> {
    const running = replica.process;
    if (running === undefined) return;
    replica.process = undefined;
    this.#history.add({ type: "fault", fault: "F3", what: `replica ${replica.index} killed` });
    await this.#fleet.kill(running);
    this.deeds.replicaKills += 1;
    await pass(this.#random() * 400);
    await this.#fleet.startReplica(replica);
    this.#history.add({ type: "healed", fault: "F3", what: `replica ${replica.index} serves again` });
  }

  /** SIGKILL to the postmaster, which starts again and replays its log. */
  async killPostgres(): Promise<void> {
    const { postgres } = this.#fleet;
    this.#history.add({ type: "fault", fault: "F4", what: "postmaster killed" });
    postgres.kill();
    this.deeds.postgresKills += 1;
    await pass(this.#random() * 300);
    await postgres.restart();
    this.#history.add({ type: "healed", fault: "F4", what: "Postgres answers again" });
  }

  /** Ends some backends: one of the clients' choosing, or all. */
  async killBackends(all: boolean): Promise<void> {
    this.#history.add({
      type: "fault",
      fault: "F4",
      what: all ? "every backend terminated" : "one backend terminated",
    });
    await this.#fleet.postgres.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where application_name like 'orloj%' order by random() limit $1`,
      [all ? 1_000 : 1],
    );
  }

  /** Loses the answers of the next COMMITs; resolves when they are lost, or after a while. */
  async loseCommits(count: number): Promise<void> {
    const { trap } = this.#fleet;
    const before = trap.hits;
    this.#history.add({ type: "fault", fault: "F5", what: `${count} COMMIT acknowledgements lost` });
    trap.arm(count);
    await until(() => (trap.hits - before >= count ? true : undefined), 5_000);
  }
}
