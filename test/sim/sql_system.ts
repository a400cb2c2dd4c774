// The real commands over a real Postgres, driven by the same operations as the world in memory.
// Two replicas with caches and clocks of their own, wrong ones; the database's time moves when an operation says so.

import { sql } from "kysely";
import { systemClock } from "../../kit/clock.ts";
import { DomainError } from "../../kit/errors.ts";
import { createIds } from "../../kit/ids.ts";
import { systemRandom } from "../../kit/random.ts";
import { apply } from "../../server/commands/apply.ts";
import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import { Caches } from "../../server/commands/caches.ts";
import { claim } from "../../server/commands/claim.ts";
import type { CommandContext } from "../../server/commands/context.ts";
import { invoke } from "../../server/commands/invoke.ts";
import { recordToolResults } from "../../server/commands/record_tool_results.ts";
import { recordTurns } from "../../server/commands/record_turns.ts";
import { settle } from "../../server/commands/settle.ts";
import type { SettleItem } from "../../server/commands/settle_items.ts";
import type { Principal } from "../../server/commands/views.ts";
import { ManifestPool } from "../../server/manifests/pool.ts";
import { type OpenDatabase, openDatabase } from "../../server/storage/database.ts";
import { createStore, type Store } from "../../server/storage/store.ts";
import { stageSecrets } from "../commands/stage_secrets.ts";
import { ACCEPT_MS, documents, FLOWS, GAP_MS, policies, TTL_MS } from "./flows.ts";
import { failureOf } from "./plane.ts";
import type { Answer, Findings, Item, Op, Presented, Result, Seated } from "./rows.ts";
import { Faults } from "./sql_faults.ts";
import { settleItemOf } from "./sql_items.ts";
import { Names } from "./sql_state.ts";
import { turnText } from "./turn_text.ts";

const ana: Principal = {
  ...{ id: "ana", kind: "user", groups: ["engineering"], claims: {}, method: "test", roles: ["admin"] },
};
const silent = () => undefined;
/** How wrong the clocks of the two replicas are, in ms. */
const SKEWS_MS = [-3_600_000, 5_400_000] as const;
const realNow = Date.now;

export class SqlSystem {
  readonly database: OpenDatabase;
  readonly faults = new Faults();
  readonly #store: Store;
  readonly #pool = new ManifestPool(systemClock());
  readonly #secrets = stageSecrets();
  readonly #replicas: readonly CommandContext[];
  names = new Names();
  #routes: readonly string[] = [];
  #history = 0;
  #denied: "" | "agent" | "tool" = "";

  private constructor(url: string) {
    this.database = openDatabase({ url, poolMax: 2 });
    this.faults.install(this.database.pool);
    this.#store = createStore(this.database.db);
    this.#replicas = SKEWS_MS.map(() => ({
      ...{ store: this.#store, caches: new Caches(), ids: createIds(systemClock(), systemRandom()) },
      log: { info: silent, warn: silent, error: silent } as unknown as CommandContext["log"],
      ...this.#secrets,
      hints: { workReady: silent, slotsFree: silent, runsChanged: silent, cancel: silent },
    }));
  }

  static async open(url: string): Promise<SqlSystem> {
    const system = new SqlSystem(url);
    system.#pool.start();
    await system.#apply(documents());
    // Routes are stored with the first bundle that needs them.
    await system.perform({ op: "invoke", flow: 0, key: "" }, 0);
    system.#routes = (await system.#store.read((tx) => tx.bundles.routes())).map((row) => row.route);
    return system;
  }

  async close(): Promise<void> {
    await this.#pool.stop();
    await this.database.close();
  }

  /** What the commands of a replica are given. */
  replica(index: number): CommandContext {
    return this.#replicas[index] as CommandContext;
  }

  /** Forgets what the last history left, but the trail. */
  async startHistory(): Promise<void> {
    await sql`
      with a as (delete from tool_call), b as (delete from journal), c as (delete from lease), d as (delete from ready),
        e as (delete from worker_session), h as (delete from dead_letter), f as (delete from node_state), g as (delete from task)
      select 1`.execute(this.database.db);
    await sql`update sweep set seen_time = '-infinity', sweep_from = '-infinity'`.execute(this.database.db);
    await sql`delete from run`.execute(this.database.db);
    if (this.#denied !== "") await this.#turnPolicies("");
    this.names = new Names();
    this.#history += 1;
  }

  async #moveTime(ms: number): Promise<void> {
    await sql`update simulated_time set at = at + ${ms} * interval '1 ms'`.execute(this.database.db);
  }

  /** Before each operation: what it makes is later than what was there, by less than any deadline notices. */
  async passMoment(): Promise<void> {
    await this.#moveTime(1);
  }

  async #apply(manifests: readonly object[]): Promise<void> {
    const content = manifests.map((manifest) => JSON.stringify(manifest)).join("\n---\n");
    const files = [{ name: "flows.yaml", content }];
    const applied = await apply({ store: this.#store, pool: this.#pool, secrets: this.#secrets.secrets }, ana, {
      files,
      defaultNamespace: "",
      strict: false,
    });
    const problem = applied.diagnostics.find((finding) => finding.severity === "error");
    if (problem !== undefined) throw new Error(`the flows do not apply: ${JSON.stringify(problem)}`);
  }

  async #turnPolicies(denied: "" | "agent" | "tool"): Promise<void> {
    this.#denied = denied;
    await this.#apply(policies(denied));
  }

  /** The operation on one replica, with its wrong clock. @throws DomainError as the command does */
  async perform(op: Op, replica: number): Promise<Result> {
    const context = this.#replicas[replica] as CommandContext;
    if (op.op === "time") {
      await this.#moveTime(op.ms);
      return {};
    }
    Date.now = () => realNow() + (SKEWS_MS[replica] ?? 0);
    try {
      return await this.#run(op, context, replica);
    } finally {
      Date.now = realNow;
    }
  }

  session(name: string): string {
    return name === "" ? "" : `ses_${this.#history}_${name}`;
  }

  #presented({ task, token, session }: Presented) {
    return { taskId: this.names.real(task), token: this.names.real(token), sessionId: this.session(session) };
  }

  // Slots without end, of one session.
  #seated(context: CommandContext, { seat: worker }: Seated): CommandContext {
    if (worker === undefined) return context;
    const seat = { sessionId: this.session(worker), worker };
    return { ...context, seats: { take: (routes) => routes.map(() => seat), giveBack: silent, send: silent } };
  }

  async #run(op: Op, context: CommandContext, replica: number): Promise<Result> {
    const { store } = context;
    const { names } = this;
    switch (op.op) {
      case "invoke": {
        const more = {
          parametersJson: "{}",
          tags: {},
          metadata: {},
          idempotencyKey: op.key && `${op.key}/${this.#history}`,
        };
        const input = { namespace: "default", workflow: FLOWS[op.flow]?.name ?? "", ...more };
        const [made] = await invoke(this.#seated(context, op), [{ principal: ana, input }]);
        if (made instanceof DomainError) return { verdicts: [made.reason] };
        return { run: names.of((made as Exclude<typeof made, Error | undefined>).run.id) };
      }
      case "open": {
        const row = {
          ...{ id: this.session(op.session), instance_id: this.session(op.instance), name: op.session, identity: "w" },
          ...{ labels: {}, slots: 4, runtimes: ["model"], handlers: [], version: "1", replica_id: `rep_${replica}` },
        };
        const opened = await store.read((tx) => tx.sessions.open(row, this.session(op.resume), TTL_MS));
        return { session: opened.resumed ? op.resume : op.session, epoch: Number(opened.epoch) };
      }
      case "renew": {
        const row = { id: this.session(op.session), epoch: String(op.epoch) };
        const alive = (await store.read((tx) => tx.sessions.renew([row], TTL_MS))).length > 0;
        const held = op.held.map(({ task, token }) => ({
          ...{ task_id: names.real(task), token: names.real(token), session_id: row.id },
        }));
        const still = await store.read((tx) => tx.leases.stillHeld(held));
        return {
          alive,
          still: still.map((row) => ({ token: names.of(row.token), stopping: row.run_state === "CANCELLING" })),
        };
      }
      case "accept":
        await store.read((tx) => tx.leases.accept([{ task_id: names.real(op.task), token: names.real(op.token) }]));
        return {};
      case "claim": {
        await claim(context, this.#routes, [
          { sessionId: this.session(op.session), worker: op.session, free: op.free },
        ]);
        return {};
      }
      case "turns":
        return {
          verdicts: (
            await recordTurns(
              context,
              op.facts.map((fact) => ({
                ...{ ...this.#presented(fact), worker: fact.session, sequence: fact.sequence },
                turnJson: turnText(fact.body),
              })),
            )
          ).map(({ verdict }) => verdict),
        };
      case "calls": {
        const facts = op.facts.map((fact) => ({
          ...{ ...this.#presented(fact), worker: fact.session, turnSequence: fact.turnSequence, callIndex: 0 },
          ...{ tool: fact.tool, argumentsJson: JSON.stringify({ n: fact.arg }), attempt: 1 },
        }));
        const decided = await authorizeToolCalls(context, facts);
        return {
          answers: decided.map(({ answer }) => answerOf(answer)),
          settle: decided.flatMap(({ settle }) => kindOf(settle)),
        };
      }
      case "results": {
        const facts = op.facts.map((fact) => ({
          ...{ ...this.#presented(fact), worker: fact.session, grantId: names.real(fact.grant), durationMs: 1 },
          journalSequence: fact.sequence,
          result: fact.ok
            ? ({ ok: true, resultJson: JSON.stringify(fact.value) } as const)
            : ({ ok: false, class: failureOf(fact), message: "", ambiguous: fact.ambiguous } as const),
        }));
        const recorded = await recordToolResults(context, facts);
        return {
          verdicts: recorded.map(({ verdict }) => verdict.verdict),
          settle: recorded.flatMap(({ settle }) => kindOf(settle)),
        };
      }
      case "settle":
        return {
          verdicts: (
            await settle(
              this.#seated(context, op),
              op.items.map((item) =>
                settleItemOf(
                  item,
                  names,
                  (one) => this.#presented(one),
                  () => context.ids.next("task"),
                ),
              ),
            )
          ).map(({ verdict }) => verdict),
        };
      case "find":
        return { found: await this.#find(store, replica) };
      case "mark_lost": {
        const ids = op.sessions.map((session) => this.session(session));
        await store.transaction((tx) => tx.sessions.markLost(ids));
        return {};
      }
      case "drain":
      case "close":
        await store.read((tx) =>
          tx.sessions.setState(this.session(op.session), op.op === "drain" ? "draining" : "closed"),
        );
        return {};
      case "policy":
        await this.#turnPolicies(op.denied);
        return {};
      case "time":
        return {};
    }
  }

  async #find(store: Store, replica: number): Promise<Findings> {
    const { names } = this;
    const found = await store.read((tx) =>
      tx.sessions.tick(`rep_${replica}`, { limit: 500, acceptMs: ACCEPT_MS, ttlMs: TTL_MS, gapMs: GAP_MS }),
    );
    // As the tick reads it: what was never accepted is that, whatever became of its session.
    const unaccepted = new Set(
      found.lost_leases.filter(({ reason }) => reason === "unaccepted").map(({ token }) => token),
    );
    const lost = new Map(found.lost_leases.map((lease) => [lease.token, lease]));
    return {
      lost: [...lost.values()].map(({ task_id, token }) => {
        const reason = unaccepted.has(token) ? ("unaccepted" as const) : ("expired" as const);
        return { task: names.of(task_id), token: names.of(token), reason };
      }),
      due: found.due_tasks.map((id) => names.of(id)),
      dueRuns: found.due_runs.map(({ id }) => names.of(id)),
      expired: found.expired_sessions.map((id) => id.split("_")[2] ?? ""),
    };
  }
}

function answerOf({ type }: { readonly type: string }): Answer {
  return { type } as Answer;
}

function kindOf(item: SettleItem | undefined): Item[] {
  return item === undefined ? [] : [{ type: item.type } as Item];
}
