// Puts a bundle, runs, tasks and records into a test database the way commands would, for tests of what is read.
// Called by test/commands/read_*.test.ts and watch_*.test.ts.

import { canonicalJson, type Json, sha256 } from "../../kit/json.ts";
import type { AuditEvent } from "../../server/audit/events.ts";
import { auditRecord } from "../../server/audit/record.ts";
import type { Bundle } from "../../server/manifests/bundle.ts";
import { type NewRun, NO_PLACE } from "../../server/storage/run_queries.ts";
import type { Store } from "../../server/storage/store.ts";
import type { NewTaskRow } from "../../server/storage/task_queries.ts";

const RETRY = { on: [], maxAttempts: 1, backoff: { initialMs: 1, maxMs: 1, factor: 1, jitter: "none" } } as const;
const AGENT = {
  description: "",
  runtime: "model",
  systemPrompt: "",
  tools: [],
  repairAttempts: 0,
  limits: { maxTurns: 1, maxToolCalls: 1, timeoutMs: 1_000, maxOutputBytes: 1_000 },
  errorHandling: { onExhausted: "fail" },
  requirements: { labels: {} },
} as const;

/** What a node row has that took no edge and is in no loop. */
export const NO_EDGES = { routes: null, loop_taken: null, loop_last: null, items_total: null, items_next: null };

/** A bundle with nodes write → check, both run by agent writer. */
export function smallBundle(): Bundle {
  const identity = { namespace: "default", generation: 1, digest: "sha256:00" };
  const node = (name: string) => ({ name, agent: "writer", join: "all", route: "all" }) as const;
  return {
    workflow: {
      ...identity,
      name: "flow",
      spec: {
        description: "",
        system: "small",
        parameters: { type: "object" },
        output: {},
        tags: {},
        timeoutMs: 60_000,
        cancellation: { graceMs: 3_000 },
        retry: RETRY,
        priority: "normal",
      },
    },
    system: {
      ...identity,
      name: "small",
      spec: {
        description: "",
        nodes: [node("write"), node("check")],
        edges: [
          { from: "write", to: "check", when: 'output.text != ""', otherwise: false, outcome: "succeeded", set: 0 },
        ],
        output: { value: "done" },
      },
    },
    agents: { writer: { ...identity, name: "writer", spec: AGENT } },
    tools: {},
  };
}

/** Stores smallBundle; returns its digest. */
export async function storeBundle(store: Store): Promise<string> {
  const document = canonicalJson(smallBundle() as unknown as Json);
  const digest = sha256(document);
  await store.transaction((tx) => tx.bundles.insert([{ digest, document, view_digest: digest, view_document: "{}" }]));
  return digest;
}

/** Stores a RUNNING run with node write ACTIVE and node check PENDING; the given columns replace the usual ones. */
export async function storeRun(store: Store, digest: string, changes: Partial<NewRun> & { id: string }): Promise<void> {
  const now = new Date();
  const run: NewRun = {
    namespace: "default",
    workflow: "flow",
    bundle_digest: digest,
    state: "RUNNING",
    cause: null,
    conditions: [],
    requester_id: "ana",
    requester: canonicalJson({ id: "ana", kind: "user", groups: ["engineering"], claims: {}, method: "test" }),
    tags: { team: "a" },
    metadata: {},
    parameters: "{}",
    input: "{}",
    output: null,
    failure_class: null,
    failure_message: null,
    idempotency_key: null,
    request_digest: null,
    priority: 1,
    timeout_ms: 60_000,
    grace_ms: 3_000,
    create_time: now,
    start_time: now,
    end_time: null,
    due_time: new Date(now.getTime() + 60_000),
    remaining_ms: null,
    replay_of: null,
    trace_id: "",
    trace_sampled: true,
    ...NO_PLACE,
    ...changes,
  };
  const node = { run_id: run.id, iteration: 0, output: null, failure_class: null, failure_message: null, ...NO_EDGES };
  await store.transaction(async (tx) => {
    await tx.runs.insert([run]);
    await tx.runs.insertNodes([
      { ...node, node: "check", state: "PENDING", unresolved: 1, taken: 0, open_tasks: 0 },
      { ...node, node: "write", state: "ACTIVE", unresolved: 0, taken: 0, open_tasks: 1 },
    ]);
  });
}

/** Stores READY tasks of node write, queued. */
export async function storeTasks(store: Store, runId: string, ids: readonly string[]): Promise<void> {
  const rows = ids.map(
    (id): NewTaskRow => ({
      id,
      run_id: runId,
      namespace: "default",
      node: "write",
      iteration: 0,
      item: -1,
      agent: "writer",
      route: "route",
      state: "READY",
      attempt: 1,
      deliveries: 0,
      claim_order: 0,
      origin_task_id: id,
      input: '{"topic":"x"}',
      end_time: null,
      create_time: new Date(),
      replay_of: null,
      bundle_digest: null,
    }),
  );
  await store.transaction((tx) => tx.tasks.insert(rows));
}

/** Records events in one transaction. */
export async function storeEvents(store: Store, events: readonly AuditEvent[]): Promise<void> {
  await store.transaction((tx) => tx.audit.insert(events.map(auditRecord)));
}

/** A turn.recorded event; the sequence tells events apart. */
export function turnEvent(runId: string, sequence: number, namespace = "default"): AuditEvent {
  const detail = { sequence, turnDigest: "sha256:00", toolCalls: 0 };
  return { kind: "turn.recorded", namespace, runId, taskId: `task_of_${runId}`, actor: "worker:w", detail };
}
