// One item of a batch that the database refuses: it fails alone, all others commit, each once. For every coalescer.
// The guilty one is refused by a trigger on its audit record, so that the whole transaction of its batch fails.

import { beforeAll, expect, test } from "vitest";
import type { Coalescer } from "../../kit/coalescer.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { createServices } from "../../server/commands/services.ts";
import { ana, commandStage } from "./command_stage.ts";

const stage = await commandStage();
const services = createServices(stage.context);
const COUNT = 9;
const GUILTY = 5;

beforeAll(async () => {
  await stage.database.pool.query("create table guilty (sign text)");
  await stage.database.pool.query(`create function refuse_guilty() returns trigger language plpgsql as $$ begin
    if exists (select from guilty where new.task_id = sign or new.record like '%' || sign || '%') then
      raise exception 'guilty'; end if; return new; end $$`);
  await stage.database.pool.query(
    "create trigger guilty before insert on audit_event for each row execute function refuse_guilty()",
  );
});

/** Adds all at once with the one marked; what became of each, and that the batch was split. */
async function together<Item, Result>(coalescer: Coalescer<Item, Result>, sign: string, items: readonly Item[]) {
  await stage.database.pool.query("insert into guilty values ($1)", [sign]);
  const splits = coalescer.stats.splits;
  const results = await Promise.allSettled(items.map((item) => coalescer.add(item)));
  await stage.database.pool.query("truncate guilty");
  expect(coalescer.stats.splits).toBeGreaterThan(splits);
  expect(results.flatMap(({ status }, index) => (status === "rejected" ? [index] : []))).toEqual([GUILTY]);
  return results;
}

async function held(): Promise<Assigned[]> {
  for (let i = 0; i < COUNT; i += 1) await stage.start("calls");
  return (await stage.claimAs("ses_a")).assigned.slice(-COUNT);
}
const of = ({ task, token, sessionId }: Assigned) => ({ taskId: task.id, token, sessionId, worker: "w" });
const recordsOf = async (tasks: readonly Assigned[], kind: string) =>
  await Promise.all(
    tasks.map(async ({ task }) => (await stage.records(task.id)).filter((entry) => entry.kind === kind).length),
  );
const ONE_EACH = Array.from({ length: COUNT }, (_, index) => (index === GUILTY ? 0 : 1));

test("invoke", async () => {
  const items = Array.from({ length: COUNT }, (_, index) => ({
    principal: ana,
    input: {
      ...{ namespace: "default", workflow: "calls", parametersJson: "{}", tags: {}, metadata: {} },
      idempotencyKey: `key-of-guilt-${index}`,
    },
  }));
  await together(services.invoke, `key-of-guilt-${GUILTY}`, items);
  const { rows } = await stage.database.pool.query(
    "select idempotency_key from run where idempotency_key like 'key-of-guilt-%'",
  );
  expect(rows).toHaveLength(COUNT - 1);
});

test("turns, tool calls, tool results, and outcomes", async () => {
  const tasks = await held();
  const sign = (tasks[GUILTY] as Assigned).task.id;
  const turnJson = JSON.stringify({ text: "", toolCalls: [{ name: "look", arguments: { n: 1 } }] });
  await together(
    services.turns,
    sign,
    tasks.map((task) => ({ ...of(task), sequence: 1, turnJson })),
  );
  expect(await recordsOf(tasks, "turn.recorded")).toEqual(ONE_EACH);
  await services.turns.add({ ...of(tasks[GUILTY] as Assigned), sequence: 1, turnJson });

  const calls = tasks.map((task) => ({
    ...of(task),
    ...{ turnSequence: 1, callIndex: 0, tool: "look", argumentsJson: '{"n":1}', attempt: 1 },
  }));
  await together(services.authorize, sign, calls);
  expect(await recordsOf(tasks, "tool.granted")).toEqual(ONE_EACH);
  // The same holder that asks again gets the same grant; the one that failed gets its first.
  const answers = await Promise.all(calls.map((call) => services.authorize.add(call)));
  const grants = answers.map(({ answer }) => (answer.type === "granted" ? answer.grant.grantId : answer.type));
  expect(new Set(grants).size).toBe(COUNT);

  const results = tasks.map((task, index) => ({
    ...of(task),
    ...{ grantId: grants[index] as string, durationMs: 1, journalSequence: 2 },
    result: { ok: true, resultJson: "{}" } as const,
  }));
  await together(services.results, sign, results);
  expect(await recordsOf(tasks, "tool.result")).toEqual(ONE_EACH);

  const outcomes = tasks.map((task) => ({
    ...({
      type: "outcome",
      actor: "worker:w",
      taskId: task.task.id,
      token: task.token,
      sessionId: task.sessionId,
    } as const),
    outcome: { type: "succeeded", output: { text: "done" } } as const,
  }));
  await together(services.settle, sign, outcomes);
  expect(await recordsOf(tasks, "task.succeeded")).toEqual(ONE_EACH);
  expect((await stage.task(sign)).state).toBe("READY");
});
