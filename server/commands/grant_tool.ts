// Grants one attempt of a tool call: renders the means with the secrets of this moment, and gathers the ledger row and the record.
// Called by authorize_tool_call.ts after structure, policy and ledger allowed it. The means leave only with the answer.

import { MIB, SECOND } from "../../kit/units.ts";
import { type RenderedMeans, renderMeans, secretsOf } from "../grant/render.ts";
import type { SecretRef } from "../manifests/specs.ts";
import type { ToolCallRow } from "../storage/ledger_queries.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { CommandContext } from "./context.ts";
import { type Decided, noted } from "./decisions.ts";
import { secretForbidden } from "./secret_refusal.ts";
import { callDetail, recordCall, refuseArguments, type SoundCall, type ToolBatch } from "./tool_batch.ts";
import type { Authorized, Grant } from "./tool_facts.ts";

/** Time that a grant outlives its tool's timeout, so that a result on its way still counts. */
const GRANT_MARGIN_MS = 10 * SECOND;
/** Largest result that a grant allows, in bytes. */
const RESULT_BYTES_MAX = MIB;

/** See the file header. Arguments that cannot be rendered safely go back to the model; a missing secret fails the task. */
export async function grantTool(
  tx: StoreQueries,
  batch: ToolBatch,
  call: SoundCall,
  decided: Decided,
  of: { attempt: number; grantId?: string; expireTime?: Date; ledger: Map<string, ToolCallRow> },
): Promise<Authorized> {
  const spec = call.tool.tool.spec;
  const refused = refusedSecrets(batch.context, call);
  if (refused.length > 0) {
    return failTask(call, "SecretForbidden", secretForbidden(refused, call.tool.tool.namespace));
  }
  const rendered = render(batch, call);
  if (!rendered.ok) {
    if (rendered.class === "InvalidArguments") return await refuseArguments(tx, batch, call, rendered.message);
    return failTask(call, rendered.class, rendered.message);
  }
  const grantId = of.grantId ?? batch.context.ids.next("gra");
  const row: ToolCallRow = {
    request_id: call.requestId,
    namespace: call.task.namespace,
    run_id: call.task.run_id,
    task_id: call.task.id,
    tool: call.tool.tool.name,
    tool_generation: call.tool.tool.generation,
    effect: spec.effect,
    arguments_digest: call.argumentsDigest,
    state: "granted",
    attempt: of.attempt,
    grant_id: grantId,
    grant_token: call.fact.token,
    grant_expire_time: of.expireTime ?? new Date(batch.now.getTime() + spec.timeoutMs + GRANT_MARGIN_MS),
    result: null,
    failure_class: null,
    failure_message: null,
    turn_sequence: call.fact.turnSequence,
    call_index: call.fact.callIndex,
    ...sharing(batch, call),
    limited_tool:
      (of.expireTime === undefined ? call.limited?.tool : of.ledger.get(call.requestId)?.limited_tool) ?? null,
  };
  of.ledger.set(call.requestId, row);
  batch.calls.push(row);
  const detail = { ...callDetail(call, of.attempt), grantId, effect: spec.effect };
  recordCall(batch, call, { kind: "tool.granted", detail: { ...detail, ...noted(decided) } });
  const made: Grant = {
    grantId,
    requestId: call.requestId,
    timeoutMs: spec.timeoutMs,
    resultBytesMax: Math.min(RESULT_BYTES_MAX, spec.command?.maxOutputBytes ?? RESULT_BYTES_MAX),
    means: rendered.means,
    secrets: rendered.secrets,
    ...(spec.outputSchema !== undefined && { outputSchemaJson: JSON.stringify(spec.outputSchema) }),
  };
  return { answer: { type: "granted", grant: made } };
}

// Also of secrets that are read only where there are any: whether there are is not told.
function refusedSecrets({ secrets }: CommandContext, { tool }: SoundCall): SecretRef[] {
  return secretsOf(tool.tool.spec).filter((name) => !secrets.allows(tool.tool.namespace, name));
}

function render({ context: { secrets }, now }: ToolBatch, { tool, args, requestId }: SoundCall): RenderedMeans {
  const { namespace, spec } = tool.tool;
  const read = (name: string, key: string) => {
    const given = secrets.give(namespace, { name, key });
    return given.ok ? given.secret.reveal() : undefined;
  };
  return renderMeans(spec, args, read, { requestId, nowMs: now.getTime() });
}

function failTask({ fact, tool }: SoundCall, failureClass: string, message: string): Authorized {
  const { taskId, token, sessionId } = fact;
  const failure = { class: failureClass, message: `tool ${tool.tool.name}: ${message}` };
  return { answer: { type: "failed" }, settle: { type: "fail", taskId, token, sessionId, failure } };
}

// A declared key is shared: its row says whose it is, and how long others may take its result.
function sharing(batch: ToolBatch, call: SoundCall): Pick<ToolCallRow, "origin_task_id" | "expire_time"> {
  const { ttlMs } = call.tool.tool.spec.idempotency;
  if (ttlMs === undefined) return { origin_task_id: null, expire_time: null };
  return { origin_task_id: call.task.origin_task_id, expire_time: new Date(batch.now.getTime() + ttlMs) };
}
