// A real database with manifests applied, and the commands over it without a server: tests play the workers themselves.
// Called by test/commands and test/dispatch. Hints are kept for inspection; nothing runs in the background.

import { sql } from "kysely";
import type pg from "pg";
import { systemClock } from "../../kit/clock.ts";
import { createIds } from "../../kit/ids.ts";
import { canonicalJson, type Json } from "../../kit/json.ts";
import { systemRandom } from "../../kit/random.ts";
import { apply } from "../../server/commands/apply.ts";
import { Caches } from "../../server/commands/caches.ts";
import { claim } from "../../server/commands/claim.ts";
import type { CancelOrder, CommandContext } from "../../server/commands/context.ts";
import type { InvokeInput } from "../../server/commands/control_plane.ts";
import { invoke } from "../../server/commands/invoke.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { settle } from "../../server/commands/settle.ts";
import type { SettleItem, SettleVerdict, WorkerOutcome } from "../../server/commands/settle_items.ts";
import type { ToolCallFact } from "../../server/commands/tool_facts.ts";
import type { Principal } from "../../server/commands/views.ts";
import { ManifestPool } from "../../server/manifests/pool.ts";
import { createStore } from "../../server/storage/store.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { testDatabase } from "../harness/database.ts";
import { documents } from "./command_manifests.ts";
import { stageSecrets } from "./stage_secrets.ts";

/** A call, and where its task's journal is to ask for it. */
type JournaledCall = Pick<ToolCallFact, "taskId" | "turnSequence" | "callIndex" | "tool" | "argumentsJson">;

/** Who invokes unless a test says otherwise. */
export const ana: Principal = {
  ...{ id: "ana", kind: "user", groups: ["engineering"], claims: { team: "blue" }, method: "test", roles: ["admin"] },
};

/** A failure that agents of the stage do not retry. */
export const BROKEN: WorkerOutcome = { type: "failed", failure: { class: "Broken", message: "it broke" } };
/** A failure that agents of the stage retry. */
export const TIMEOUT: WorkerOutcome = { type: "failed", failure: { class: "Timeout", message: "too slow" } };
/** A success. */
export const DONE: WorkerOutcome = { type: "succeeded", output: { ok: true } };

const silent = () => undefined;

/** Opens the stage; every test file has its own. */
export async function commandStage() {
  const database = await testDatabase({ poolMax: 8 });
  const store = createStore(database.db);
  const pool = new ManifestPool(systemClock());
  pool.start();
  atEndOfFile(() => pool.stop());
  const cancels: CancelOrder[] = [];
  const freed: string[] = [];
  const secrets = new Map([
    ["sink/url", "http://127.0.0.1:9"],
    ["sink/token", "canary-7c1f"],
  ]);
  const given = stageSecrets(secrets);
  const replica = (): CommandContext => ({
    store,
    caches: new Caches(),
    ids: createIds(systemClock(), systemRandom()),
    log: { info: silent, warn: silent, error: silent } as unknown as CommandContext["log"],
    ...given,
    hints: {
      ...{ workReady: silent, runsChanged: silent, cancel: (orders) => void cancels.push(...orders) },
      slotsFree: (groups) => void freed.push(...groups),
    },
  });
  const context = replica();

  const applyAll = async (manifests: readonly object[]) => {
    const content = manifests.map((manifest) => JSON.stringify(manifest)).join("\n---\n");
    return await apply({ store, pool, secrets: given.secrets }, ana, {
      files: [{ name: "a.yaml", content }],
      defaultNamespace: "",
      strict: false,
    });
  };
  await applyAll(documents());

  const invokeOne = async (workflow: string, more: Partial<InvokeInput> = {}, principal = ana, on = context) => {
    const input = {
      namespace: "default",
      workflow,
      parametersJson: "{}",
      tags: {},
      metadata: {},
      idempotencyKey: "",
      ...more,
    };
    const [result] = await invoke(on, [{ principal, input }]);
    if (result === undefined || result instanceof Error) throw result;
    return result;
  };
  const routes = async () => (await store.read((tx) => tx.bundles.routes())).map((row) => row.route);

  return {
    database,
    store,
    pool,
    context,
    replica,
    cancels,
    freed,
    secrets,
    applyAll,
    invokeOne,
    routes,
    /** Invokes and returns the run's id. */
    start: async (workflow: string, more: Partial<InvokeInput> = {}) => (await invokeOne(workflow, more)).run.id,
    /** Claims as one session. */
    claimAs: async (sessionId: string, free = 100, on = context) =>
      await claim(on, await routes(), [{ sessionId, worker: `worker-${sessionId}`, free }]),
    /** Makes the recorded turn of a task ask for a call, beside those that it asks for already. */
    async journalCall({ taskId, turnSequence, callIndex, tool, argumentsJson }: JournaledCall): Promise<void> {
      const [before] = (await store.read((tx) => tx.ledger.journal([taskId], turnSequence - 1))).slice(0, 1);
      const turn = before?.payload ?? '{"text":"","toolCalls":[]}';
      const { toolCalls } = JSON.parse(turn) as { toolCalls: Json[] };
      while (toolCalls.length <= callIndex) toolCalls.push({ name: "", arguments: {} });
      toolCalls[callIndex] = { name: tool, arguments: JSON.parse(argumentsJson) as Json };
      await database.pool.query(
        `insert into journal (task_id, sequence, kind, payload) values ($1, $2, 'turn', $3)
         on conflict (task_id, sequence) do update set payload = excluded.payload where journal.kind = 'turn'`,
        [taskId, turnSequence, canonicalJson({ text: "", toolCalls })],
      );
    },
    /** Settles a batch in one transaction. */
    settle: (...items: SettleItem[]): Promise<SettleVerdict[]> => settle(context, items),
    /** The wait of a task before its retry is over. */
    async makeDue(taskId: string): Promise<void> {
      await database.pool.query("update task set due_time = clock_timestamp() where id = $1", [taskId]);
    },
    async run(runId: string) {
      return await database.db.selectFrom("run").selectAll().where("id", "=", runId).executeTakeFirstOrThrow();
    },
    async task(taskId: string) {
      return await database.db.selectFrom("task").selectAll().where("id", "=", taskId).executeTakeFirstOrThrow();
    },
    async tasksOf(runId: string) {
      return await database.db.selectFrom("task").selectAll().where("run_id", "=", runId).orderBy("id").execute();
    },
    async nodes(runId: string): Promise<Record<string, string>> {
      const rows = await database.db.selectFrom("node_state").selectAll().where("run_id", "=", runId).execute();
      return Object.fromEntries(rows.map((row) => [row.node, row.state]));
    },
    async leases(runId: string) {
      return await database.db.selectFrom("lease").selectAll().where("run_id", "=", runId).execute();
    },
    async queued(runId: string) {
      return await database.db.selectFrom("ready").selectAll().where("run_id", "=", runId).execute();
    },
    /** Records of a run or task, oldest first. */
    async records(id: string) {
      const rows = await database.db
        .selectFrom("audit_event")
        .select(["id", "kind", "actor", "task_id", "record"])
        .where((eb) => eb.or([eb("run_id", "=", id), eb("task_id", "=", id)]))
        .orderBy("id")
        .execute();
      return rows.map((row) => ({ ...row, detail: JSON.parse(row.record).detail as Record<string, Json> }));
    },
    /** Everything that a refused fact must leave as it was. */
    async everything(): Promise<string> {
      const tables = ["run", "node_state", "task", "ready", "lease", "journal", "tool_call"];
      const texts = [];
      for (const table of tables) {
        const { rows } = await sql<{ text: string }>`
          select coalesce(json_agg(t order by t::text), '[]')::text as text from ${sql.table(table)} t`.execute(
          database.db,
        );
        texts.push(rows[0]?.text);
      }
      return texts.join("\n");
    },
    /** A second connection that holds what it locked until released: a barrier. */
    async hold(statement: string, values: unknown[] = []): Promise<() => Promise<void>> {
      const client = await database.pool.connect();
      await client.query("begin");
      await client.query(statement, values);
      return async () => {
        await client.query("commit");
        client.release();
      };
    },
    /** Resolves when so many backends of this database wait for a lock. */
    async waiting(count: number): Promise<void> {
      for (;;) {
        const { rows }: pg.QueryResult<{ waiting: bigint }> = await database.pool.query(
          `select count(*) as waiting from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
        );
        if (Number(rows[0]?.waiting) >= count) return;
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  };
}

/** The stage. */
export type CommandStage = Awaited<ReturnType<typeof commandStage>>;

/** What settles an assignment with an outcome. */
export function outcomeOf({ task, token, sessionId }: Assigned, outcome: WorkerOutcome): SettleItem {
  return { type: "outcome", taskId: task.id, token, sessionId, outcome, actor: `worker:worker-${sessionId}` };
}

/** What settles an assignment as lost. */
export function lostOf(
  { task, token }: Pick<Assigned, "task" | "token">,
  reason: Extract<SettleItem, { type: "lost" }>["reason"],
): SettleItem {
  return { type: "lost", taskId: task.id, token, reason, actor: "server", note: "the test says so" };
}

/** What asks a run to stop. */
export function stopOf(runId: string, cause: "cancelled" | "timed_out" = "cancelled"): SettleItem {
  return { type: "stop", runId, cause, failure: { class: "Cancelled", message: "stop it" }, actor: "ana" };
}
