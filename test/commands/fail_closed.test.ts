// P6 and fail closed: whatever breaks, and between whichever two statements, nothing leaves the server without a committed record that
// allows it: no grant, no recorded result, no assignment, no run.

import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import { Caches, type LiveState } from "../../server/commands/caches.ts";
import { claim } from "../../server/commands/claim.ts";
import type { CommandContext } from "../../server/commands/context.ts";
import { invoke } from "../../server/commands/invoke.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { recordToolResults } from "../../server/commands/record_tool_results.ts";
import type { ToolAnswer } from "../../server/commands/tool_facts.ts";
import type { StoreQueries } from "../../server/storage/store.ts";
import { agent, document, flow, tool } from "./command_manifests.ts";
import { ana, commandStage, stopOf } from "./command_stage.ts";
import { faultyReplica } from "./faulty_replica.ts";

const stage = await commandStage();
const { pool } = stage.database;
const { context, faults, cuts } = faultyReplica(stage);
const lasting = faultyReplica(stage, { readBack: true });

const OPEN = { match: { "requester.groups": ["engineering"] } };
const CLOSED = { match: { "requester.groups": ["nobody"] } };
const LIMITS = [{ name: "many", key: ["requester.id"], max: 1_000_000, window: "31d" }];

/** Policies on the workflow, its agent, and its tool; the last one limited, so that its counter is one of the writes. */
function policies(allow: object = OPEN) {
  const on = (name: string, kind: string, checkpoint: string, more: object = {}) =>
    document("Policy", name, { attachTo: [{ kind, name: "risky" }], checkpoints: [checkpoint], allow, ...more });
  return [
    on("risky-run", "WorkflowTemplate", "workflow.run", { limits: LIMITS }),
    on("risky-agent", "Agent", "agent.run"),
    on("risky-tool", "Tool", "tool.call", { limits: LIMITS }),
  ];
}

await stage.applyAll([
  tool("risky", "write", { guarded: true }),
  agent("risky", { tools: ["risky"] }),
  ...flow("risky", { nodes: [{ name: "only", agent: "risky" }] }),
  ...policies(),
]);
const routes = await stage.start("risky").then(async (runId) => {
  await stage.settle(stopOf(runId));
  return await stage.routes();
});

/** A task that was leased, whose journal asks for three calls. */
async function begin(): Promise<Assigned> {
  const runId = await stage.start("risky");
  const { assigned } = await stage.claimAs("ses_a");
  const held = assigned.find(({ task }) => task.run_id === runId) as Assigned;
  for (const callIndex of [0, 1, 2]) await stage.journalCall(callOf(held, callIndex));
  return held;
}

function callOf({ task, token, sessionId }: Assigned, callIndex: number) {
  const call = { turnSequence: 1, callIndex, tool: "risky", argumentsJson: '{"n":1}', attempt: 1, worker: "w" };
  return { taskId: task.id, token, sessionId, ...call };
}

async function ask(held: Assigned, on: CommandContext, callIndex = 0): Promise<ToolAnswer | undefined> {
  return (await authorizeToolCalls(on, [callOf(held, callIndex)]))[0]?.answer;
}

/** All that the database holds, counters and the length of the trail among it. */
async function everything(): Promise<string> {
  const { rows } = await pool.query(
    `select (select count(*) from audit_event) as records, (select json_agg(p order by p::text) from policy_limit p)::text as counters`,
  );
  return `${await stage.everything()} ${JSON.stringify(rows, (_, value) => (typeof value === "bigint" ? `${value}` : value))}`;
}

async function recordsOf(
  kind: string,
): Promise<{ detail: Record<string, unknown> & { decision: Record<string, unknown> } }[]> {
  const { rows } = await pool.query("select record from audit_event where kind = $1 order by id", [kind]);
  return rows.map(({ record }) => JSON.parse(record));
}

const item = {
  principal: ana,
  input: { namespace: "default", workflow: "risky", parametersJson: "{}", tags: {}, metadata: {}, idempotencyKey: "" },
};
const freshly = (on: CommandContext): CommandContext => ({ ...on, caches: new Caches() });

/** The three commands that let something out, each with what must be there for it. */
const COMMANDS: Record<
  string,
  { prepare(): Promise<(on: CommandContext) => Promise<unknown>>; proves(): Promise<unknown> }
> = {
  "a tool call": {
    async prepare() {
      const held = await begin();
      return (on) => ask(held, on);
    },
    proves: async () => (await recordsOf("tool.granted")).at(-1)?.detail.decision,
  },
  "a claim": {
    async prepare() {
      await stage.start("risky");
      return (on) => claim(on, routes, [{ sessionId: "ses_a", worker: "w", free: 1 }]);
    },
    proves: async () => (await recordsOf("task.leased")).at(-1)?.detail.decision,
  },
  "an invocation": {
    prepare: async () => (on) => invoke(on, [item]),
    proves: async () => (await recordsOf("run.created")).at(-1)?.detail.decision,
  },
};

beforeEach(() => {
  faults.rest();
  cuts.before(0);
});

describe.each(Object.entries(COMMANDS))("%s", (_name, { prepare, proves }) => {
  test.each(["is lost", "loses its connection"])(
    "that %s before any statement leaves nothing and changes nothing",
    async (how) => {
      for (const warm of [false, true]) {
        const act = await prepare();
        let met = 0;
        for (let statement = 1; ; statement += 1) {
          const before = await everything();
          const on = warm ? context : freshly(context);
          const broken = how === "is lost" ? faults : cuts;
          if (how === "is lost") faults.set({ type: "die_before", statement });
          else cuts.before(statement);
          const outcome = await act(on).then(
            (left) => ({ left }),
            (error: { reason: string }) => ({ reason: error.reason }),
          );
          if (!broken.fired) {
            expect(outcome).toHaveProperty("left");
            break;
          }
          met = statement;
          expect(outcome).toEqual({ reason: "STORAGE_UNAVAILABLE" });
          faults.rest();
          expect(await everything()).toBe(before);
        }
        expect(met).toBeGreaterThanOrEqual(warm ? 4 : 6);
        expect(await proves()).toMatchObject({ allowed: true });
      }
    },
  );

  test("whose commit is not answered leaves nothing, though the record is there; looked up, it leaves with it", async () => {
    const act = await prepare();
    const before = (await recordsOf("tool.granted")).length;
    faults.set({ type: "die_after_commit" });
    await expect(act(context)).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
    faults.rest();
    expect(await proves()).toMatchObject({ allowed: true });
    const again = await prepare();
    lasting.faults.set({ type: "lose_ack" });
    expect(await again(lasting.context)).toBeDefined();
    expect(lasting.faults.fired).toBe(true);
    lasting.faults.rest();
    expect(await proves()).toMatchObject({ allowed: true });
    expect((await recordsOf("tool.granted")).length).toBeGreaterThanOrEqual(before);
  });

  test.each([
    ["policies cannot be read", "alter table resource rename to away", "alter table away rename to resource"],
    [
      "the policy revision cannot be read",
      "alter table revision rename to away",
      "alter table away rename to revision",
    ],
    [
      "the trail takes no record",
      `create function no_record() returns trigger language plpgsql as $$ begin raise exception 'full'; end $$;
       create trigger no_record before insert on audit_event for each row execute function no_record()`,
      "drop trigger no_record on audit_event; drop function no_record()",
    ],
    [
      "counters cannot be counted",
      "alter table policy_limit rename to away",
      "alter table away rename to policy_limit",
    ],
  ])("while %s leaves nothing and changes nothing", async (what, breaks, mends) => {
    if (what.startsWith("counters") && _name === "a claim") return await expect(prepare()).resolves.toBeDefined();
    const act = await prepare();
    const before = await everything();
    await pool.query(breaks);
    const outcome = await act(freshly(context)).then(
      (left) => ({ left }),
      (error: Error) => ({ error }),
    );
    await pool.query(mends);
    const refused =
      "left" in outcome && Array.isArray(outcome.left) && outcome.left.every((one) => one instanceof Error);
    expect("error" in outcome || refused).toBe(true);
    expect(await everything()).toBe(before);
    expect(await act(freshly(context))).toBeDefined();
  });
});

describe("an engine that fails", () => {
  const breaking = (break_: (live: LiveState) => LiveState): CommandContext => {
    class Breaking extends Caches {
      override async live(tx: StoreQueries, revision: string): Promise<LiveState> {
        return break_(await super.live(tx, revision));
      }
    }
    return { ...context, caches: new Breaking() };
  };
  const fails = (): never => {
    throw new Error("the engine failed");
  };

  test("in a condition, or in looking policies up, is a denial by policy_error", async () => {
    const throwing = { how: "leaf", policy: "", at: [], reads: [], nodes: [], evaluate: fails } as const;
    const inCondition = breaking((live) => {
      const attached = new Map(
        [...live.policies.attached].map(([key, list]) => [key, list.map((one) => ({ ...one, allow: throwing }))]),
      );
      return { ...live, policies: { ...live.policies, attached } };
    });
    const inIndex = breaking((live) => {
      const attached = new Map(live.policies.attached);
      attached.get = fails;
      return { ...live, policies: { ...live.policies, attached } };
    });
    const held = await begin();
    for (const on of [inCondition, inIndex]) {
      expect(await ask(held, on)).toEqual({ type: "denied", code: "policy_error" });
      await stage.start("risky");
      const claimed = await claim(on, routes, [{ sessionId: "ses_a", worker: "w", free: 1 }]);
      expect([claimed.assigned, claimed.denied.length]).toEqual([[], 1]);
      await stage.settle(...claimed.denied);
      expect(await invoke(on, [item])).toMatchObject([
        { reason: "POLICY_DENIED", metadata: { reason: "policy_error" } },
      ]);
    }
  });

  test("in reading what it decides on fails the command, which changes nothing", async () => {
    const held = await begin();
    await stage.start("risky");
    const before = await everything();
    const on = breaking((live) => ({ ...live, labels: fails }));
    await expect(ask(held, on)).rejects.toThrow();
    await expect(claim(on, routes, [{ sessionId: "ses_a", worker: "w", free: 1 }])).rejects.toThrow();
    await expect(invoke(on, [item])).rejects.toThrow();
    expect(await everything()).toBe(before);
  });
});

test("a stored policy that cannot be read denies whatever it reaches, as policy_error", async () => {
  const held = await begin();
  const { rows } = await pool.query("select document from resource where name = 'risky-agent'");
  const store = async (text: string) => {
    await pool.query("update resource set document = $1 where name = 'risky-agent'", [text]);
    await pool.query("update revision set value = value + 1");
  };
  for (const text of [
    "{",
    "null",
    '{"kind":"Policy"}',
    '{"kind":"Policy","metadata":{"name":"p"},"spec":{"attachTo":4}}',
  ]) {
    await store(text);
    expect(await ask(held, context)).toEqual({ type: "denied", code: "policy_error" });
    expect(await invoke(context, [item])).toMatchObject([{ metadata: { reason: "policy_error" } }]);
  }
  await store(rows[0].document);
  expect(await ask(held, context)).toMatchObject({ type: "granted" });
});

describe("P6", () => {
  afterEach(async () => {
    for (const broken of [{ faults, cuts }, lasting]) {
      broken.faults.rest();
      broken.cuts.before(0);
    }
    await turn(OPEN);
  });

  const step = fc.record({
    closed: fc.boolean(),
    call: fc.nat(2),
    tell: fc.boolean(),
    cold: fc.boolean(),
    fault: fc.constantFrom("none", "die_before", "cut", "die_after_commit", "lose_ack"),
    statement: fc.integer({ min: 1, max: 14 }),
  });

  async function turn(allow: object): Promise<void> {
    const [text] = await pool.query("select document from resource where name = 'risky-tool'").then(({ rows }) => rows);
    const manifest = JSON.parse(text.document);
    const changed = JSON.stringify({ ...manifest, spec: { ...manifest.spec, allow } });
    await pool.query("update resource set document = $1 where name = 'risky-tool'", [changed]);
    await pool.query("update revision set value = value + 1");
  }

  test("no means leave without a committed record that allows them, whatever breaks in whatever order", async () => {
    let left = 0;
    let broken = 0;
    const property = fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 7 }), async (steps) => {
      await turn(OPEN);
      const held = await begin();
      for (const { closed, call, tell, cold, fault, statement } of steps) {
        await turn(closed ? CLOSED : OPEN);
        // One that looks lost commits up would go on asking a database that is away.
        const replica = fault === "lose_ack" ? lasting : { context, faults, cuts };
        if (fault === "cut") replica.cuts.before(statement);
        else replica.faults.set(fault === "die_before" ? { type: fault, statement } : { type: fault });
        const on = cold ? freshly(replica.context) : replica.context;
        const answer = await ask(held, on, call).catch(() => undefined);
        if (replica.faults.fired || replica.cuts.fired) broken += 1;
        replica.faults.rest();
        replica.cuts.before(0);
        if (answer?.type !== "granted" && answer?.type !== "cached") continue;
        left += 1;
        expect(closed).toBe(false);
        const kind = answer.type === "granted" ? "tool.granted" : "tool.cached";
        const records = (await recordsOf(kind)).map(({ detail }) => detail);
        const own = answer.type === "granted" ? answer.grant.grantId : undefined;
        const record = records.findLast(({ grantId }) => grantId === own);
        expect(record?.decision).toMatchObject({ allowed: true, checkpoint: "tool.call", tool: "risky" });
        if (answer.type !== "granted" || !tell) continue;
        const { task, token, sessionId } = held;
        const result = { ok: true, resultJson: "1" } as const;
        const fact = {
          taskId: task.id,
          token,
          sessionId,
          grantId: answer.grant.grantId,
          result,
          durationMs: 1,
          journalSequence: 0,
          worker: "w",
        };
        await recordToolResults(stage.context, [fact]);
      }
      // And the other way round: every grant in the ledger has its record.
      const granted = new Set((await recordsOf("tool.granted")).map(({ detail }) => detail["grantId"]));
      const { rows } = await pool.query("select grant_id from tool_call where task_id = $1", [held.task.id]);
      for (const { grant_id } of rows) expect(granted).toContain(grant_id);
      await stage.settle(stopOf(held.task.run_id));
    });
    await fc.assert(property, { numRuns: 30 });
    expect([left > 15, broken > 30]).toEqual([true, true]);
  }, 120_000);
});
