// Invokes workflows: a batch of invocations, one transaction, a result or an error an item.
// Called through the invoke coalescer by rpc/workflow_service (Invoke and InvokeBatch).
// The bundle is built from the catalog revision that this transaction reads; a denial leaves a record and no run.
// Same key, requester and body: the first run. Another body: IDEMPOTENCY_CONFLICT.

import { DomainError } from "../../kit/errors.ts";
import { canonicalJson, sha256 } from "../../kit/json.ts";
import type { StoredRecord } from "../audit/events.ts";
import { auditRecord, decisionDetail, targetDetail } from "../audit/record.ts";
import type { BundleRow } from "../storage/bundle_queries.ts";
import type { NewRun, NodeRecord } from "../storage/run_queries.ts";
import type { RouteRequirements } from "../storage/schema.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { NewTaskRow, ReadyRow } from "../storage/task_queries.ts";
import type { LiveState } from "./caches.ts";
import type { CommandContext } from "./context.ts";
import type { InvokeInput, InvokeResult } from "./control_plane.ts";
import { decideSubject, noted } from "./decisions.ts";
import { type PreparedInvocation, prepareInvocation, startRun } from "./prepare_invocation.ts";
import { readRun } from "./read_runs.ts";
import { invokerOf, requesterView } from "./requester.ts";
import { edgeViews, nodeViews, runView } from "./run_views.ts";
import type { Principal } from "./views.ts";

/** Times that a batch is planned anew because others used its idempotency keys first. */
const KEY_TRIES_MAX = 5;

/** One invocation with its requester. */
export interface InvokeItem {
  readonly principal: Principal;
  readonly input: InvokeInput;
}

interface Writes {
  readonly bundles: Map<string, BundleRow>;
  readonly routes: Map<string, RouteRequirements>;
  readonly runs: NewRun[];
  readonly nodes: NodeRecord[];
  readonly tasks: NewTaskRow[];
  readonly ready: ReadyRow[];
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
  const { outcomes, writes } = await planAndStore(context, items);
  context.caches.markStored([...writes.bundles.keys()]);
  if (writes.ready.length > 0) context.hints.workReady();
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
    try {
      return await context.store.transaction(async (tx) => {
        const planned = await plan(tx, context, items);
        await flush(tx, planned.writes);
        return planned;
      });
    } catch (error) {
      const constraint = error instanceof DomainError ? error.metadata["constraint"] : undefined;
      const removed = constraint === "run_bundle_digest_fkey";
      if (removed) context.caches.forgetStored();
      const raced = removed || constraint === "run_idempotency_idx";
      if (!raced || tries === KEY_TRIES_MAX) throw error;
    }
  }
}

async function plan(tx: StoreQueries, context: CommandContext, items: readonly InvokeItem[]) {
  const revisions = await tx.bundles.revisions();
  const live = await context.caches.live(tx, revisions.policy);
  const first = await findFirstRuns(tx, items);
  const writes: Writes = {
    bundles: new Map(),
    routes: new Map(),
    runs: [],
    nodes: [],
    tasks: [],
    ready: [],
    audit: [],
  };
  const outcomes: Outcome[] = [];
  for (const item of items) {
    try {
      outcomes.push(await planOne(tx, context, { item, revisions, live, first, writes }));
    } catch (error) {
      if (!(error instanceof DomainError) || error.reason === "STORAGE_UNAVAILABLE") throw error;
      outcomes.push(error);
    }
  }
  return { outcomes, writes };
}

interface Planning {
  readonly item: InvokeItem;
  readonly revisions: { readonly catalog: string; readonly now: Date };
  readonly live: LiveState;
  readonly first: Map<string, { id: string; digest: string }>;
  readonly writes: Writes;
}

async function planOne(tx: StoreQueries, context: CommandContext, planning: Planning): Promise<Outcome> {
  const { item, revisions, live, first, writes } = planning;
  const { principal, input } = item;
  const key = keyOf(item);
  const digest = requestDigest(input);
  const known = key === undefined ? undefined : first.get(key);
  if (known !== undefined) {
    if (known.digest === digest) return { firstRunId: known.id };
    throw new DomainError(
      "IDEMPOTENCY_CONFLICT",
      `idempotency key "${input.idempotencyKey}" was used for another invocation; use a new key`,
      { run: known.id },
    );
  }
  const bundle = await context.caches.workflow(tx, revisions.catalog, input.namespace, input.workflow);
  const prepared = prepareInvocation(bundle, principal, input);
  const runId = context.ids.next("run");
  const { tags, metadata } = prepared;
  const decided = decideSubject({
    ...{ checkpoint: "workflow.run", live, bundle, runId, requester: principal, tags, metadata, now: revisions.now },
  });
  const requester = requesterView(principal);
  const target = targetDetail(bundle.bundle.workflow);
  const actor = invokerOf(principal);
  if (!decided.decision.allowed) {
    const { decision, input: on } = decided;
    const detail = { workflow: input.workflow, target, requester, decision: decisionDetail(decision, on) };
    const trace = { ...(input.traceId !== undefined && { traceId: input.traceId }) };
    writes.audit.push(auditRecord({ kind: "run.refused", namespace: input.namespace, actor, ...trace, detail }));
    return refusal(input, decision);
  }
  const started = startRun(bundle, prepared, { runId, principal, input, digest, now: revisions.now, ids: context.ids });
  store(context, writes, bundle.row, prepared);
  writes.runs.push(started.run);
  writes.nodes.push(...started.nodes);
  writes.tasks.push(...started.tasks);
  writes.ready.push(...started.ready);
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
        transitions: started.transitions,
      },
    }),
  );
  if (key !== undefined) first.set(key, { id: runId, digest });
  const run = { ...runView({ ...started.run, conditions: [] }), nodes: nodeViews(bundle, started.nodes, true) };
  return { run: { ...run, edges: edgeViews(bundle) }, duplicate: false };
}

function refusal(input: InvokeInput, decision: { reason: string; decidedBy: string; message: string }): DomainError {
  const words = decision.message === "" ? "" : `: ${decision.message}`;
  return new DomainError(
    "POLICY_DENIED",
    `workflow ${input.namespace}/${input.workflow} was denied (${decision.reason})${words}`,
    {
      reason: decision.reason,
      policy: decision.decidedBy,
    },
  );
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

async function findFirstRuns(tx: StoreQueries, items: readonly InvokeItem[]) {
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

async function flush(tx: StoreQueries, writes: Writes): Promise<void> {
  await tx.bundles.insert([...writes.bundles.values()]);
  await tx.bundles.insertRoutes([...writes.routes].map(([route, requirements]) => ({ route, requirements })));
  await tx.runs.insert(writes.runs);
  await tx.runs.insertNodes(writes.nodes);
  await tx.tasks.insert(writes.tasks);
  await tx.tasks.enqueue(writes.ready);
  await tx.audit.insert(writes.audit);
}
