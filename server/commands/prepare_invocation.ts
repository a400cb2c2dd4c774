// From an invocation to a run: parameters checked and filled, tags taken from their declared sources, input mapped, graph started.
// Called by invoke.ts. Pure but for ids: no query, no clock.

import { DomainError } from "../../kit/errors.ts";
import type { Ids } from "../../kit/ids.ts";
import { canonicalJson, isJsonObject, type Json, type JsonObject, parseJson } from "../../kit/json.ts";
import { traceIdOf } from "../../kit/trace.ts";
import type { TransitionDetail } from "../audit/events.ts";
import { advance, initialState } from "../graph/advance.ts";
import { takeTags } from "../manifests/tags.ts";
import { claimOrder } from "../queue/claim_order.ts";
import { isTerminal, RUN_TRANSITIONS } from "../queue/states.ts";
import type { NewGroup } from "../storage/group_queries.ts";
import { type NewRun, NO_PLACE, type NodeRecord } from "../storage/run_queries.ts";
import type { NewTaskRow, ReadyRow } from "../storage/task_queries.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";
import type { InvokeInput } from "./control_plane.ts";
import { nodeRecord } from "./node_rows.ts";
import { requesterView } from "./requester.ts";
import { groupOf } from "./run_group.ts";
import { QUEUED } from "./run_work.ts";
import { madeTransitions, priorityNumber, taskRows } from "./task_rows.ts";
import type { Principal } from "./views.ts";

/** An invocation whose parameters, tags and input are settled. */
export interface PreparedInvocation {
  readonly bundle: CompiledBundle;
  /** Canonical JSON, defaults filled in. */
  readonly parameters: string;
  readonly input: Json;
  readonly tags: Readonly<Record<string, string>>;
  /** The group that its run is counted in; absent: none. */
  readonly group?: NewGroup;
  /** As the invocation gave it; unverified. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** Checks and maps. @throws PARAMS_INVALID saying which parameter, tag or input does not fit */
export function prepareInvocation(
  bundle: CompiledBundle,
  principal: Principal,
  input: InvokeInput,
): PreparedInvocation {
  const parameters = bundle.parameters.fill(parseObject(input.parametersJson));
  const problem = bundle.parameters.check(parameters);
  if (problem !== undefined) throw invalid(`parameters of ${input.workflow}: ${problem}`);
  const tags = tagsOf(bundle, principal, input);
  const mapped =
    bundle.input === undefined
      ? ({ ok: true, value: parameters } as const)
      : bundle.input.evaluate({ params: parameters, tags });
  if (!mapped.ok) throw invalid(`input of ${input.workflow}: ${mapped.error}`);
  const filled = bundle.systemInput === undefined ? mapped.value : bundle.systemInput.fill(mapped.value);
  const misfit = bundle.systemInput?.check(filled);
  if (misfit !== undefined) throw invalid(`input of system ${bundle.bundle.system.name}: ${misfit}`);
  const group = groupOf(bundle, { params: parameters, tags });
  const settled = { bundle, parameters: canonicalJson(parameters), input: filled, tags, metadata: input.metadata };
  return { ...settled, ...(group && { group }) };
}

function parseObject(text: string): JsonObject {
  let value: unknown;
  try {
    value = parseJson(text === "" ? "{}" : text);
  } catch (error) {
    throw invalid(`parameters are not JSON: ${(error as Error).message}`);
  }
  if (!isJsonObject(value)) throw invalid("parameters must be a JSON object");
  return value;
}

/** Tags from their declared sources. @throws PARAMS_INVALID for one that the caller may not set, or that is required and missing */
export function tagsOf(
  bundle: CompiledBundle,
  principal: Pick<Principal, "id" | "claims">,
  input: Pick<InvokeInput, "workflow" | "tags">,
): Readonly<Record<string, string>> {
  const { tags, refused, missing } = takeTags(bundle.bundle.workflow.spec.tags, principal.claims, input.tags);
  const [wrong] = refused;
  if (wrong !== undefined) {
    const rule = `${input.workflow} does not declare it "from: request"`;
    throw invalid(`tag "${wrong.tag}" cannot be set by the caller; ${rule}`);
  }
  const [absent] = missing;
  if (absent !== undefined) {
    const { tag, source } = absent;
    const where = source.from === "claim" ? `claim "${source.claim}" of ${principal.id}` : "the invocation";
    throw invalid(`tag "${tag}" is required and missing from ${where}`);
  }
  return tags;
}

function invalid(message: string): DomainError {
  return new DomainError("PARAMS_INVALID", message);
}

/** What a new run is made of beside what was invoked. */
export interface RunOrigin {
  readonly runId: string;
  readonly principal: Principal;
  readonly input: InvokeInput;
  readonly digest: string;
  readonly now: Date;
  readonly ids: Ids;
}

/** Rows of a new run. */
export interface NewRunRows {
  readonly run: NewRun;
  readonly nodes: readonly NodeRecord[];
  readonly tasks: readonly NewTaskRow[];
  readonly ready: readonly ReadyRow[];
  readonly transitions: readonly TransitionDetail[];
}

/** Rows of a run that begins now: it is PENDING and started in one go, for nothing holds it back. */
export function startRun(bundle: CompiledBundle, prepared: PreparedInvocation, of: RunOrigin): NewRunRows {
  const { runId, input, now, ids } = of;
  const workflow = bundle.bundle.workflow.spec;
  const effects = advance(bundle.plan, initialState(bundle.plan, prepared.input), { type: "started" });
  const { state } = effects;
  const over = isTerminal(RUN_TRANSITIONS, state.run);
  const rows = taskRows(effects.tasks, {
    ...{ runId, namespace: input.namespace, priority: workflow.priority, bundle, now, ids },
  });
  const run: NewRun = {
    ...newRun(bundle, prepared, of),
    state: state.run,
    cause: state.cause ?? null,
    output: effects.output === undefined ? null : canonicalJson(effects.output),
    failure_class: state.failure?.class ?? null,
    failure_message: state.failure?.message ?? null,
    start_time: now,
    end_time: over ? now : null,
    due_time: over ? null : new Date(now.getTime() + workflow.timeoutMs),
    slot: over || prepared.group === undefined ? null : "held",
  };
  const transitions: TransitionDetail[] = [
    { of: "run", from: "PENDING", to: state.run, ...(state.cause && { cause: state.cause }) },
    ...[...state.nodes.values()]
      .filter((row) => row.state !== "PENDING")
      .map((row) => ({ of: "node", node: row.node, iteration: row.iteration, to: row.state }) as const),
    ...madeTransitions(rows.tasks),
  ];
  return { run, nodes: [...state.nodes.values()].map((row) => nodeRecord(runId, row)), ...rows, transitions };
}

/** Rows of a run that waits for its turn: PENDING, with nothing of its graph. */
export function queueRun(bundle: CompiledBundle, prepared: PreparedInvocation, of: RunOrigin): NewRunRows {
  const { timeoutMs, concurrency, priority } = bundle.bundle.workflow.spec;
  const nowMs = of.now.getTime();
  const timeout = concurrency?.queueTimeoutMs;
  const run: NewRun = {
    ...newRun(bundle, prepared, of),
    conditions: [QUEUED],
    due_time: timeout === undefined ? null : new Date(nowMs + timeout),
    remaining_ms: timeoutMs,
    slot: "waiting",
    queue_order: claimOrder(nowMs, priority),
  };
  return { run, nodes: [], tasks: [], ready: [], transitions: [{ of: "run", to: "PENDING" }] };
}

function newRun(bundle: CompiledBundle, prepared: PreparedInvocation, of: RunOrigin): NewRun {
  const { runId, principal, input, now, digest } = of;
  const workflow = bundle.bundle.workflow.spec;
  const hasKey = input.idempotencyKey !== "";
  return {
    ...{ id: runId, namespace: input.namespace, workflow: input.workflow, bundle_digest: bundle.row.digest },
    ...{ state: "PENDING", cause: null, conditions: [], output: null, failure_class: null, failure_message: null },
    requester_id: principal.id,
    requester: canonicalJson(requesterView(principal) as object as JsonObject),
    tags: prepared.tags,
    metadata: prepared.metadata,
    parameters: prepared.parameters,
    input: canonicalJson(prepared.input),
    idempotency_key: hasKey ? input.idempotencyKey : null,
    request_digest: hasKey ? digest : null,
    priority: priorityNumber(workflow.priority),
    timeout_ms: workflow.timeoutMs,
    grace_ms: workflow.cancellation.graceMs,
    ...{ create_time: now, start_time: null, end_time: null, due_time: null, remaining_ms: null },
    replay_of: null,
    trace_id: input.trace?.traceId ?? traceIdOf(runId),
    trace_sampled: input.sampled ?? input.trace?.sampled ?? true,
    ...{ ...NO_PLACE, concurrency_group: prepared.group?.id ?? null },
  };
}
