// Invokes workflows: a batch of invocations, one transaction, a result or an error an item.
// Called through the invoke coalescer by rpc/workflow_service (Invoke and InvokeBatch).
// The bundle is built from the catalog revision that this transaction reads; a denial leaves a record and no run.
// Lock order: groups of runs, counters of limits, then what is new; nothing that others hold is waited for after it but their keys and bundles.
// Same key, requester and body: the first run. Another body: IDEMPOTENCY_CONFLICT.

import { assert, DomainError } from "../../kit/errors.ts";
import { canonicalJson, sha256 } from "../../kit/json.ts";
import type { AuditDetails, StoredRecord } from "../audit/events.ts";
import { auditRecord, decisionDetail, targetDetail } from "../audit/record.ts";
import { startsAtOnce } from "../queue/concurrency.ts";
import type { BundleRow } from "../storage/bundle_queries.ts";
import type { NewGroup } from "../storage/group_queries.ts";
import { Lastly } from "../storage/lastly.ts";
import type { NewLease } from "../storage/lease_queries.ts";
import type { NewRun, NodeRecord } from "../storage/run_queries.ts";
import type { RouteRequirements } from "../storage/schema.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { NewTaskRow, ReadyRow } from "../storage/task_queries.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";
import type { CommandContext } from "./context.ts";
import type { InvokeInput, InvokeResult } from "./control_plane.ts";
import { decideLive, type Moment } from "./decide_live.ts";
import { noted } from "./decisions.ts";
import { deniedError, noRoomError } from "./invocation_errors.ts";
import { type InvokeItem, type JudgedInvocation, judgeInvocation } from "./judge_invocation.ts";
import type { LimitCounts } from "./limit_counts.ts";
import { NewLeases, type NewTask } from "./new_leases.ts";
import { type NewRunRows, type PreparedInvocation, queueRun, startRun } from "./prepare_invocation.ts";
import { readRun } from "./read_runs.ts";
import { invokerOf, requesterView } from "./requester.ts";
import { edgeViews, nodeViews, runView } from "./run_views.ts";
import { Slots } from "./slots.ts";

/** Times that a batch is planned anew because others used its idempotency keys first. */
const KEY_TRIES_MAX = 5;

interface Writes {
  readonly bundles: Map<string, BundleRow>;
  readonly routes: Map<string, RouteRequirements>;
  /** Groups that their runs are counted in. */
  readonly slots: Slots;
  readonly runs: NewRun[];
  readonly nodes: NodeRecord[];
  readonly tasks: NewTaskRow[];
  /** Of these tasks, those to be queued or leased. */
  readonly fresh: NewTask[];
  readonly audit: StoredRecord[];
}

type Outcome = InvokeResult | { readonly firstRunId: string } | DomainError;

/** Digest of everything by which two invocations with one key must be alike. */
export function requestDigest(input: InvokeInput): string {
  const { workflow, parametersJson, tags, metadata, onBehalfOf } = input;
  const person = onBehalfOf && {
    onBehalfOf: { id: onBehalfOf.id, groups: [...onBehalfOf.groups], claims: { ...onBehalfOf.claims } },
  };
  return sha256(canonicalJson({ workflow, parametersJson, tags: { ...tags }, metadata: { ...metadata }, ...person }));
}

/** See the file header. @throws DomainError for database trouble: nothing of the batch happened */
export async function invoke(context: CommandContext, items: readonly InvokeItem[]): Promise<(InvokeResult | Error)[]> {
  const { outcomes, writes, open, leased } = await planAndStore(context, items);
  context.caches.markStored([...writes.bundles.keys()]);
  if (writes.ready.length > 0) context.hints.workReady();
  if (leased.length > 0) context.hints.runsChanged(leased);
  if (open.length > 0) context.hints.slotsFree(open);
  return await Promise.all(
    outcomes.map(async (outcome) => {
      // What was just inserted needs no reading back; a first run has moved on since.
      return "firstRunId" in outcome ? { run: await readRun(context, outcome.firstRunId), duplicate: true } : outcome;
    }),
  );
}

// Another replica may commit a run of the same key between the look and the insert; the second look finds it. Retention may
// have removed a bundle that no run used; the second time it is stored again.
async function planAndStore(context: CommandContext, items: readonly InvokeItem[]) {
  for (let tries = 1; ; tries += 1) {
    const leases = new NewLeases(context);
    try {
      const stored = await context.store.transaction(async (tx) => {
        const planned = await plan(tx, context, items, leases);
        const { open, statements } = await flush(tx, planned.writes);
        return new Lastly({ ...planned, open }, statements);
      });
      return { ...stored, leased: leases.send() };
    } catch (error) {
      leases.giveBack();
      const constraint = error instanceof DomainError ? error.metadata["constraint"] : undefined;
      const removed = constraint === "run_bundle_digest_fkey";
      if (removed) context.caches.forgetStored();
      const raced = removed || constraint === "run_idempotency_idx";
      if (!raced || tries === KEY_TRIES_MAX) throw error;
    }
  }
}

async function plan(tx: StoreQueries, context: CommandContext, items: readonly InvokeItem[], leases: NewLeases) {
  const gate = leases.mayLease ? tx.bundles.shareGate() : undefined;
  const [first, revisions] = await Promise.all([
    findFirstRuns(tx, items),
    tx.bundles.revisions(),
    tx.identify(true),
    gate,
  ]);
  const slots = new Slots();
  const { judged, limits, moment } = await decideLive(
    tx,
    context,
    (now) => judgeAll(tx, context, items, { first, moment: now }),
    (all) => all.flatMap((one) => (one?.ok === true && one.decided.decision.allowed ? [one.decided.decision] : [])),
    (all) => slots.make(tx, groupsOf(all)),
    revisions,
  );
  const writes: Writes = {
    bundles: new Map(),
    routes: new Map(),
    slots,
    runs: [],
    nodes: [],
    tasks: [],
    fresh: [],
    audit: [],
  };
  const planning = { first, limits, now: moment.now, writes };
  const outcomes = items.map((item, index) => planOne(context, item, judged[index], planning));
  await limits.giveBack(tx);
  const { ready, leases: leased, audit } = await leases.lease(tx, writes.fresh, moment);
  return { outcomes, writes: { ...writes, ready, leased, audit: [...writes.audit, ...audit] } };
}

function groupsOf(judged: readonly (JudgedInvocation | undefined)[]): NewGroup[] {
  return judged.flatMap((one) => (one?.ok === true && one.decided.decision.allowed ? (one.prepared.group ?? []) : []));
}

// Of an invocation whose key has a run already nothing is judged any more.
async function judgeAll(
  tx: StoreQueries,
  context: CommandContext,
  items: readonly InvokeItem[],
  of: { first: FirstRuns; moment: Moment },
): Promise<(JudgedInvocation | undefined)[]> {
  const judged: (JudgedInvocation | undefined)[] = [];
  for (const item of items) {
    const isKnown = of.first.has(keyOf(item) ?? "");
    judged.push(isKnown ? undefined : await judgeInvocation(tx, context, item, of.moment));
  }
  return judged;
}

/** The run of each idempotency key, with the digest of its request. */
type FirstRuns = Map<string, { readonly id: string; readonly digest: string }>;

interface Planning {
  /** Grows by the runs of this batch. */
  readonly first: FirstRuns;
  readonly limits: LimitCounts;
  readonly now: Date;
  readonly writes: Writes;
}

function planOne(
  context: CommandContext,
  item: InvokeItem,
  judged: JudgedInvocation | undefined,
  { first, limits, now, writes }: Planning,
): Outcome {
  const { principal, input } = item;
  const key = keyOf(item);
  const digest = requestDigest(input);
  const known = key === undefined ? undefined : first.get(key);
  if (known !== undefined) {
    if (known.digest === digest) return { firstRunId: known.id };
    return new DomainError(
      "IDEMPOTENCY_CONFLICT",
      `idempotency key "${input.idempotencyKey}" was used for another invocation; use a new key`,
      { run: known.id },
    );
  }
  assert(judged !== undefined, "an invocation without a first run was judged");
  if (!judged.ok) return judged.error;
  const { runId, prepared, decided: allowed } = judged;
  const { bundle, tags } = prepared;
  const decided = { ...allowed, decision: limits.consume(allowed.decision) };
  const name = `${input.namespace}/${input.workflow}`;
  const requester = requesterView(principal);
  const target = targetDetail(bundle.bundle.workflow);
  const actor = invokerOf(principal);
  const refuse = (why: Pick<AuditDetails["run.refused"], "decision" | "concurrency">, error: DomainError) => {
    const detail = { workflow: input.workflow, target, requester, ...why };
    const trace = { ...(input.trace && { traceId: input.trace.traceId }) };
    writes.audit.push(auditRecord({ kind: "run.refused", namespace: input.namespace, actor, ...trace, detail }));
    return error;
  };
  if (!decided.decision.allowed) {
    const { decision, input: on } = decided;
    return refuse({ decision: decisionDetail(decision, on) }, deniedError(`workflow ${name}`, decision));
  }
  const waits = prepared.group !== undefined && !startsAtOnce(writes.slots.group(prepared.group.id));
  const concurrency = waits ? writes.slots.detail(prepared.group.id) : undefined;
  if (concurrency !== undefined && bundle.bundle.workflow.spec.concurrency?.onLimit === "reject") {
    limits.restore(decided.decision);
    return refuse({ concurrency }, noRoomError(name, concurrency));
  }
  const origin = { runId, principal, input, digest, now, ids: context.ids };
  const started = waits ? queueRun(bundle, prepared, origin) : startRun(bundle, prepared, origin);
  if (prepared.group !== undefined) writes.slots.move(prepared.group.id, null, started.run.slot);
  store(context, writes, bundle.row, prepared);
  writes.runs.push(started.run);
  writes.nodes.push(...started.nodes);
  writes.tasks.push(...started.tasks);
  writes.fresh.push(...newTasks(started, bundle));
  writes.audit.push(
    auditRecord({
      kind: "run.created",
      namespace: input.namespace,
      runId,
      actor,
      detail: {
        workflow: input.workflow,
        target,
        bundleDigest: bundle.row.digest,
        parametersDigest: sha256(prepared.parameters),
        requester,
        ...(Object.keys(tags).length > 0 && { tags }),
        ...(input.idempotencyKey !== "" && { idempotencyKey: input.idempotencyKey }),
        ...noted(decided),
        ...(concurrency && { queued: concurrency }),
        transitions: started.transitions,
      },
    }),
  );
  if (key !== undefined) first.set(key, { id: runId, digest });
  const run = {
    ...runView({ ...started.run, conditions: [...started.run.conditions] }),
    nodes: nodeViews(bundle, started.nodes, true),
  };
  return { run: { ...run, edges: edgeViews(bundle, started.nodes) }, duplicate: false };
}

function newTasks({ run, tasks, ready }: NewRunRows, bundle: CompiledBundle): NewTask[] {
  const rows = new Map(tasks.map((task) => [task.id, task]));
  return ready.flatMap((one) => {
    const task = rows.get(one.task_id);
    return task === undefined ? [] : [{ ready: one, task, run, bundle }];
  });
}

function store(context: CommandContext, writes: Writes, row: BundleRow, prepared: PreparedInvocation): void {
  if (!context.caches.needsStoring(row.digest)) return;
  writes.bundles.set(row.digest, row);
  for (const agent of prepared.bundle.agents.values()) writes.routes.set(agent.route, agent.requirements);
}

function keyOf({ principal, input }: InvokeItem): string | undefined {
  return input.idempotencyKey === ""
    ? undefined
    : JSON.stringify([input.namespace, principal.id, input.idempotencyKey]);
}

async function findFirstRuns(tx: StoreQueries, items: readonly InvokeItem[]): Promise<FirstRuns> {
  const keyed = items.filter((item) => item.input.idempotencyKey !== "");
  const rows = await tx.runs.byIdempotencyKeys(
    keyed.map(({ principal, input }) => ({
      namespace: input.namespace,
      requester_id: principal.id,
      idempotency_key: input.idempotencyKey,
    })),
  );
  return new Map(
    rows.map((row) => [
      JSON.stringify([row.namespace, row.requester_id, row.idempotency_key]),
      { id: row.id, digest: row.request_digest ?? "" },
    ]),
  );
}

// Gives groups in which somebody waits although a slot is free, and what is on its way.
async function flush(tx: StoreQueries, writes: Writes & { ready: readonly ReadyRow[]; leased: readonly NewLease[] }) {
  const open = await writes.slots.write(tx);
  const statements = [
    tx.bundles.insert([...writes.bundles.values()]),
    tx.bundles.insertRoutes([...writes.routes].map(([route, requirements]) => ({ route, requirements }))),
    tx.runs.insert(writes.runs),
    tx.runs.insertNodes(writes.nodes),
    tx.tasks.insert(writes.tasks),
    tx.tasks.enqueue(writes.ready),
    tx.leases.insert(writes.leased),
    tx.audit.insert(writes.audit),
  ];
  return { open, statements };
}
