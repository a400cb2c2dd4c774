// One chaos run from start to evidence: the fleet comes up, the driver invokes, the nemesis strikes, everything is mended and drained.
// Made by main.ts. Rounds of kinds of fault follow each other, so that each is seen among healthy and among broken neighbours.

import { join } from "node:path";
import { decideDeadLetters } from "./dead_letters.ts";
import { Driver } from "./driver.ts";
import { writeEvidence } from "./evidence.ts";
import { Fleet } from "./fleet.ts";
import { History } from "./history.ts";
import { DOCUMENTS } from "./manifests.ts";
import { Nemesis } from "./nemesis.ts";
import { exhaustPool, massExpiry, networkRound } from "./network.ts";
import { LEASE_TTL_MS, type Profile } from "./profiles.ts";
import { Sink } from "./sink.ts";
import { pass, reach, until } from "./waiting.ts";

const REPLICAS = 3;
const WORKERS = 6;
const IN_FLIGHT = 24;
const DRAIN_MS_MAX = 90_000;
/** Rounds that the counts of a profile are spread over. */
const ROUNDS: Readonly<Record<string, number>> = { ci: 2, full: 20, try: 1 };

/** What was done. */
export interface CampaignDeeds {
  readonly workerKills: number;
  readonly zombies: number;
  readonly replicaKills: number;
  readonly postgresKills: number;
  readonly lostCommitAcks: number;
  readonly phases: Readonly<Record<string, number>>;
  readonly faults: Readonly<Record<string, number>>;
}

/** See the file header. */
export class Campaign {
  readonly #folder: string;
  readonly #profile: Profile;
  readonly #random: () => number;
  readonly #say: (line: string) => void;
  readonly #sink: Sink;
  readonly #history: History;
  #fleet: Fleet | undefined;
  #nemesis: Nemesis | undefined;
  #driver: Driver | undefined;
  readonly #faults: Record<string, number> = {};
  #endAt = 0;

  constructor(folder: string, profile: Profile, random: () => number, say: (line: string) => void) {
    this.#folder = folder;
    this.#profile = profile;
    this.#random = random;
    this.#say = say;
    this.#sink = new Sink(random);
    this.#history = new History(join(folder, "history.jsonl"));
  }

  get deeds(): CampaignDeeds {
    const done = this.#nemesis?.deeds ?? { workerKills: 0, zombies: 0, replicaKills: 0, postgresKills: 0, phases: {} };
    return { ...done, lostCommitAcks: this.#fleet?.trap.hits ?? 0, faults: this.#faults };
  }

  /** Starts, breaks, mends, drains, and writes the evidence down. */
  async run(): Promise<void> {
    this.#endAt = performance.now() + this.#profile.timeMsMax;
    const sinkUrl = await this.#sink.listen();
    const fleet = await Fleet.start(this.#folder, sinkUrl, this.#random, { replicas: REPLICAS, workers: WORKERS });
    this.#fleet = fleet;
    const client = fleet.client();
    const content = DOCUMENTS.map((document) => JSON.stringify(document)).join("\n---\n");
    await client.manifests.apply({ files: [{ name: "chaos.yaml", content }] });
    this.#sink.failShare = 0.02;
    this.#driver = new Driver(client, fleet.postgres, this.#history, this.#random);
    this.#nemesis = new Nemesis(fleet, this.#sink, this.#history, this.#random);
    this.#driver.start(IN_FLIGHT);
    await pass(2 * LEASE_TTL_MS);
    const rounds = ROUNDS[this.#profile.name] ?? 1;
    for (let round = 1; round <= rounds; round += 1) await this.#round(round, rounds);
    await this.#finish(fleet);
  }

  async stop(): Promise<void> {
    await this.#history.close();
    await this.#fleet?.stop();
    await this.#sink.close();
  }

  async #round(round: number, rounds: number): Promise<void> {
    const { deeds, profile } = this.#state();
    const share = (count: number) => Math.ceil((count * round) / rounds);
    const left = (done: number, count: number) => Math.max(0, share(count) - done);
    await this.#workers(share(profile.workerKills), share(profile.zombies), share(profile.lostCommitAcks));
    await this.#repeat("F3", left(deeds.replicaKills, profile.replicaKills), (nemesis) => nemesis.killReplica());
    await this.#repeat("F4", left(deeds.postgresKills, profile.postgresKills), async (nemesis) => {
      await nemesis.killPostgres();
      await nemesis.killBackends(this.#random() < 0.5);
    });
    if (round <= profile.networkRounds) await this.#network();
    this.#say(`round ${round} of ${rounds}: ${JSON.stringify(this.deeds)}`);
  }

  #state() {
    return { deeds: this.#nemesis?.deeds ?? this.deeds, profile: this.#profile };
  }

  get #late(): boolean {
    return performance.now() > this.#endAt - DRAIN_MS_MAX;
  }

  // Two workers are killed and two frozen at the same time, while acknowledgements get lost. The numbers are those that must have been
  // reached by the end of the round.
  async #workers(kills: number, zombies: number, lostCommits: number): Promise<void> {
    const fleet = this.#fleet as Fleet;
    const kinds = [
      { fault: "F1", target: kills, done: "workerKills", strike: (nemesis: Nemesis) => nemesis.killWorker() },
      { fault: "F2", target: zombies, done: "zombies", strike: (nemesis: Nemesis) => nemesis.freezeWorker() },
    ] as const;
    const missing = ({ target, done }: (typeof kinds)[number]) => Math.max(0, target - this.#state().deeds[done]);
    const lanes = kinds.flatMap((kind) => {
      const count = missing(kind);
      return [Math.ceil(count / 2), Math.floor(count / 2)].map((times) => this.#repeat(kind.fault, times, kind.strike));
    });
    const commits = async () => {
      while (fleet.trap.hits < lostCommits && !this.#late) {
        await this.#nemesis?.loseCommits(Math.min(3, lostCommits - fleet.trap.hits));
        this.#faults["F5"] = fleet.trap.hits;
        await pass(100);
      }
    };
    await Promise.all([...lanes, commits()]);
    // What found no victim, and what was not taken over in time, does not count: more, one by one.
    for (const kind of kinds) {
      const again = () => this.#repeat(kind.fault, 1, kind.strike);
      await reach(kind.target, () => this.#state().deeds[kind.done], again, missing(kind) * 5);
    }
  }

  async #repeat(fault: string, times: number, strike: (nemesis: Nemesis) => Promise<void>): Promise<void> {
    for (let time = 0; time < times && !this.#late; time += 1) {
      await strike(this.#nemesis as Nemesis);
      this.#faults[fault] = (this.#faults[fault] ?? 0) + 1;
    }
  }

  async #network(): Promise<void> {
    const fleet = this.#fleet as Fleet;
    await networkRound(fleet, this.#history, this.#random);
    await massExpiry(fleet, this.#history);
    await exhaustPool(fleet, this.#history);
    for (const fault of ["F7", "F8", "F11", "F12", "F15"]) this.#faults[fault] = (this.#faults[fault] ?? 0) + 1;
  }

  async #finish(fleet: Fleet): Promise<void> {
    const enough = async () => {
      const [row] = await fleet.postgres.query<{ count: string }>(
        "select count(*) as count from task where end_time is not null and agent <> 'sum'",
      );
      return Number(row?.count) >= this.#profile.tasks || this.#late ? true : undefined;
    };
    await until(enough, this.#profile.timeMsMax, 500);
    this.#sink.failShare = 0;
    await this.#driver?.stop();
    const idle = async () => {
      const [row] = await fleet.postgres.query<{ open: string }>(
        `select count(*) as open from run where end_time is null and not ('Parked' = any(conditions))`,
      );
      const [busy] = await fleet.postgres.query<{ busy: string }>("select count(*) as busy from lease");
      return Number(row?.open) === 0 && Number(busy?.busy) === 0 ? true : undefined;
    };
    await until(idle, DRAIN_MS_MAX, 200);
    await decideDeadLetters({
      client: fleet.client(),
      postgres: fleet.postgres,
      sink: this.#sink,
      history: this.#history,
    });
    await until(idle, DRAIN_MS_MAX, 200);
    await writeEvidence(this.#folder, fleet, this.#sink);
  }
}
