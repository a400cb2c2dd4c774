// Every kind of audit record, made by the commands that make it: each says who, on whose behalf, in which trace, and what it is about.
// A kind that is added needs a row here, and something below that makes one.

import { expect, test } from "vitest";
import type { Json } from "../../kit/json.ts";
import { seededRandom } from "../../kit/random.ts";
import { AUDIT_KINDS } from "../../server/audit/events.ts";
import { apply } from "../../server/commands/apply.ts";
import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import { deleteResource } from "../../server/commands/delete_resource.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { createToken, revokeToken } from "../../server/commands/manage_tokens.ts";
import { listAudit } from "../../server/commands/read_audit.ts";
import { Refusals } from "../../server/commands/record_refusal.ts";
import { recordToolResults } from "../../server/commands/record_tool_results.ts";
import { recordTurns } from "../../server/commands/record_turns.ts";
import { removeExpiredRuns } from "../../server/commands/remove_expired.ts";
import { discardDeadLetter, replayDeadLetter } from "../../server/commands/replay_dead_letters.ts";
import { drainWorker } from "../../server/commands/steer_fleet.ts";
import { Tokens } from "../../server/commands/tokens.ts";
import { ana, BROKEN, DONE, lostOf, outcomeOf, stopOf, TIMEOUT } from "../commands/command_stage.ts";
import { counted, groupStage } from "../commands/group_stage.ts";
import { dispatchStage } from "./dispatch_stage.ts";

const stage = await dispatchStage();
const { context, services, store } = stage;
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const caller = { ...ana, traceId: TRACE };
const traced = { trace: { traceId: TRACE, spanId: "00f067aa0ba902b7", sampled: true } };

const TARGET = ["target.generation", "target.digest"];
const TOOL = ["tool", "generation", "digest", "requestId", "attempt"];
const TASK = ["node", "iteration", "attempt"];

/** Members that each kind has; of: whether it belongs to a run, to a call in a trace, or to neither. */
const KINDS: Readonly<
  Record<string, { readonly of: "run" | "call" | "plane"; readonly has: readonly string[] } | "reserved">
> = {
  "run.created": {
    of: "run",
    has: ["workflow", ...TARGET, "bundleDigest", "parametersDigest", "requester.id", "transitions"],
  },
  "run.refused": {
    of: "call",
    has: ["workflow", ...TARGET, "requester.id", "decision.verdicts.0.digest", "decision.inputDigest"],
  },
  "run.started": { of: "run", has: ["concurrency.max", "concurrency.running", "transitions"] },
  "run.stopping": { of: "run", has: ["cause", "reason"] },
  "run.finished": { of: "run", has: ["state", "transitions"] },
  "task.leased": { of: "run", has: [...TASK, "agent", ...TARGET, "worker", "sessionId", "delivery"] },
  "task.requeued": { of: "run", has: [...TASK, "cause"] },
  "task.retrying": { of: "run", has: [...TASK, "failure.class", "delayMs", "nextAttempt"] },
  "task.succeeded": { of: "run", has: [...TASK, "outputDigest", "transitions"] },
  "task.failed": { of: "run", has: [...TASK, "failure.class", "transitions"] },
  "task.cancelled": { of: "run", has: [...TASK, "transitions"] },
  "task.timed_out": { of: "run", has: [...TASK, "failure.class"] },
  "task.denied": { of: "run", has: [...TASK, "decision.verdicts.0.digest", "decision.reason", "decision.inputDigest"] },
  "task.dead_lettered": { of: "run", has: [...TASK, "failure.class", "cause"] },
  "dead_letter.replayed": { of: "run", has: [...TASK, "how", "replayTaskId", "inputDigest", "bundleDigest"] },
  "dead_letter.discarded": { of: "run", has: [...TASK, "reason"] },
  "turn.recorded": { of: "run", has: ["sequence", "turnDigest"] },
  decision: "reserved",
  "tool.granted": { of: "run", has: [...TOOL, "argumentsDigest", "grantId", "effect", "decision.verdicts.0.digest"] },
  "tool.cached": { of: "run", has: [...TOOL, "argumentsDigest", "resultDigest"] },
  "tool.refused": { of: "run", has: [...TOOL, "reason"] },
  "tool.result": { of: "run", has: ["tool", "requestId", "argumentsDigest", "grantId", "resultDigest"] },
  "tool.late_result": { of: "run", has: ["tool", "requestId", "argumentsDigest", "grantId", "resultDigest"] },
  "fact.refused": { of: "plane", has: ["fact", "tokenHash", "worker"] },
  "resource.applied": {
    of: "call",
    has: ["kind", "name", "action", "generation", "digest", "previousDigest", "previousGeneration"],
  },
  "resource.deleted": { of: "call", has: ["kind", "name", "generation", "digest"] },
  "worker.connected": { of: "plane", has: ["sessionId", "worker", "identity", "instanceId"] },
  "worker.lost": { of: "plane", has: ["sessionId", "worker"] },
  "worker.drained": { of: "call", has: ["sessionId", "worker", "windowMs"] },
  "worker.disconnected": { of: "plane", has: ["sessionId", "worker"] },
  "lease.revoked": { of: "run", has: [...TASK, "worker", "tokenHash", "reason"] },
  "lease.expired": { of: "run", has: [...TASK, "worker", "tokenHash", "deliveries"] },
  "security.refused": { of: "plane", has: ["method", "reason", "peer", "count"] },
  "retention.removed": { of: "plane", has: ["of", "counts.runs", "bounds"] },
  "audit.read": { of: "call", has: ["how", "filter.kinds"] },
  "token.created": { of: "plane", has: ["tokenId", "principal", "roles"] },
  "token.revoked": { of: "plane", has: ["tokenId", "principal"] },
};

const begin = async (workflow: string): Promise<Assigned> => {
  const runId = await stage.start(workflow, traced);
  const { assigned } = await stage.claimAs("ses_a");
  return assigned.find((one) => one.task.run_id === runId) as Assigned;
};
const fenced = ({ task, token, sessionId }: Assigned) => ({ taskId: task.id, token, sessionId, worker: "w" });

async function makeRuns(): Promise<void> {
  await expect(stage.invokeOne("closed", traced)).rejects.toMatchObject({ reason: "POLICY_DENIED" });
  for (const outcome of [DONE, BROKEN, TIMEOUT]) await stage.settle(outcomeOf(await begin("one"), outcome));
  for (const reason of ["yielded", "revoked", "expired"] as const)
    await stage.settle(lostOf(await begin("one"), reason));
  for (const cause of ["cancelled", "timed_out"] as const) {
    await stage.settle(stopOf(await stage.start("one", traced), cause));
  }
  await stage.start("denied", traced);
  await stage.settle(...(await stage.claimAs("ses_a")).denied);
  const [one, two] = [await begin("parked"), await begin("parked")];
  await stage.settle(outcomeOf(one, BROKEN), outcomeOf(two, BROKEN));
  const plain = { currentManifests: false, repeatEffects: false, results: new Map() };
  await replayDeadLetter(context, services, ana, one.task.id, plain);
  await discardDeadLetter(services, ana, two.task.id, "not needed");
}

// What the turn asks for, in order; nothing else is granted.
const CALLS = [
  { name: "guarded", arguments: { n: 1 } },
  { name: "look", arguments: { n: "x" } },
  { name: "write", arguments: { n: 1 } },
];

async function callTools(): Promise<void> {
  const held = await begin("calls");
  await recordTurns(context, [
    { ...fenced(held), sequence: 1, turnJson: JSON.stringify({ text: "", toolCalls: CALLS }) },
  ]);
  const ask = async (tool: string, callIndex: number, argumentsJson = '{"n":1}') => {
    const fact = { ...fenced(held), turnSequence: 1, callIndex, tool, argumentsJson, attempt: 1 };
    const [authorized] = await authorizeToolCalls(context, [fact]);
    return authorized?.answer.type === "granted" ? authorized.answer.grant.grantId : "";
  };
  const tell = (grantId: string) => {
    const result = { ok: true, resultJson: '{"id":1}' } as const;
    return recordToolResults(context, [{ ...fenced(held), grantId, result, durationMs: 1, journalSequence: 2 }]);
  };
  await tell(await ask("guarded", 0));
  expect(await ask("guarded", 0)).toBe("");
  await ask("look", 1, '{"n":"x"}');
  const late = await ask("write", 2);
  await stage.settle(lostOf(held, "revoked"));
  await tell(late);
  await recordTurns(context, [{ ...fenced(held), sequence: 3, turnJson: "{}" }]);
}

async function takeTurns(): Promise<void> {
  await stage.applyAll(counted("single", { max: 1 }));
  const first = await begin("single");
  await stage.start("single", traced);
  await stage.settle(outcomeOf(first, DONE));
  await groupStage(stage).startAll();
}

async function connectWorkers(): Promise<void> {
  const polite = await stage.connected({ workerName: "polite" });
  await drainWorker(context, caller, "polite", 1_000);
  await polite.send({ case: "goodbye", value: { reason: "done" } });
  const silent = await stage.connected({ workerName: "silent" });
  silent.session.closed();
  await stage.watched();
  await stage.database.pool.query("update worker_session set expire_time = clock_timestamp() - interval '1 hour'");
  await stage.tick.once();
}

async function administer(): Promise<void> {
  const content = JSON.stringify({
    ...{ apiVersion: "orloj.dev/v1", kind: "WorkflowTemplate", metadata: { name: "patient" } },
    spec: { system: "patient", parameters: { type: "object" }, timeout: "2m" },
  });
  await apply({ ...context, pool: stage.pool }, caller, {
    files: [{ name: "b.yaml", content }],
    defaultNamespace: "",
    strict: false,
  });
  await deleteResource({ store }, caller, "WorkflowTemplate", "default", "patient", false);
  const clock = stage.standing.clock;
  const tokens = new Tokens(context, seededRandom(1));
  const asked = {
    name: "ci",
    kind: "service",
    groups: [],
    claims: {},
    roles: ["invoker"],
    rights: [],
    namespaces: [],
  } as const;
  const { view } = await createToken(context, tokens, caller, asked);
  await revokeToken(context, caller, view.id);
  const refusal = {
    listener: "api",
    method: "orloj.v1.WorkflowService/Invoke",
    reason: "CREDENTIALS_INVALID",
    peer: "10.0.0.1",
  };
  await new Refusals(context, clock).record(refusal);
  const filter = { namespace: "", runId: "", taskId: "", kinds: ["task."] };
  await listAudit({ ...context } as never, caller, filter, { pageSize: 1, pageToken: "" });
  await removeExpiredRuns(store, { runsMs: 0, deadLettersMs: 0 });
}

function memberOf(detail: Json, path: string): Json | undefined {
  const step = (value: Json | undefined, name: string) => (value as Record<string, Json> | undefined)?.[name];
  return path.split(".").reduce<Json | undefined>(step, detail);
}

test("every kind has a row, and a record of it says who, on whose behalf, in which trace, and all that its row asks for", async () => {
  expect(Object.keys(KINDS).sort()).toEqual([...AUDIT_KINDS].sort());
  await makeRuns();
  await callTools();
  await connectWorkers();
  const records = await store.read(({ segments }) => segments.records("0", "9".repeat(18), 10_000));
  await administer();
  await takeTurns();
  records.push(
    ...(await store.read(({ segments }) => segments.records(records.at(-1)?.id ?? "0", "9".repeat(18), 10_000))),
  );
  const seen = new Set(records.map(({ kind }) => kind));
  // The end of a run is told by the record of its last task, or by that of what stopped it, in everything that is done here.
  const made = AUDIT_KINDS.filter((kind) => KINDS[kind] !== "reserved" && kind !== "run.finished");
  expect(made.filter((kind) => !seen.has(kind))).toEqual([]);
  for (const kind of made) {
    const row = KINDS[kind] as { of: string; has: readonly string[] };
    // The fullest of its kind: some of them begin with the first version of a manifest, or carry no decision.
    const lacking = records
      .filter((record) => record.kind === kind)
      .map((record) => row.has.filter((path) => memberOf(JSON.parse(record.record).detail, path) === undefined));
    expect(lacking.sort((a, b) => a.length - b.length)[0], kind).toEqual([]);
  }
  for (const { kind, actor, runId, onBehalfOf, traceId, time } of records) {
    expect(actor, kind).not.toBe("");
    expect(time, kind).toMatch(/^20\d\d-.*\d{6}Z$/);
    const of = (KINDS[kind] as { of: string }).of;
    if (of === "run")
      expect([kind, onBehalfOf, /^[0-9a-f]{32}$/.test(traceId), runId !== ""]).toEqual([kind, "ana", true, true]);
    if (runId !== "") expect([kind, traceId]).toEqual([kind, TRACE]);
  }
  const traced = records.filter(
    ({ kind, traceId }) => (KINDS[kind] as { of: string }).of === "call" && traceId === TRACE,
  );
  expect(new Set(traced.map(({ kind }) => kind)).size).toBe(
    Object.values(KINDS).filter((row) => row !== "reserved" && row.of === "call").length,
  );
});
