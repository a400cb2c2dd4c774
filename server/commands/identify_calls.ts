// Finds out which call a worker asks for: its tool, its arguments, the request id that names it, and the ledger rows of a batch, locked.
// Called by authorize_tool_call.ts after the leases are locked. Decides nothing.
// Lock order: declared keys (advisory), then ledger rows, both ascending.

import { isJsonObject, type Json, parseJson } from "../../kit/json.ts";
import { argumentsAsked, isAskedFor, isOfNode } from "../queue/asked_call.ts";
import { declaredRequestId, placedRequestId } from "../queue/request_id.ts";
import type { Revisions } from "../storage/bundle_queries.ts";
import type { ToolCallRow } from "../storage/ledger_queries.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { CallingTask } from "../storage/task_queries.ts";
import type { CompiledBundle, CompiledTool } from "./compiled_bundle.ts";
import type { CommandContext } from "./context.ts";
import type { ToolCallFact } from "./tool_facts.ts";

/**
 * The fact as its task's journal asks for it; undefined if it does not. A turn that was recorded before this replica knew a secret in it
 * stands as it was, and so does a node's input, while the fact comes without it. The call is compared without the secret, and made as
 * recorded: so its digest is the same whenever it is asked again.
 */
export function askedFact(
  { redactor }: CommandContext,
  task: CallingTask,
  fact: ToolCallFact,
): ToolCallFact | undefined {
  const { turn, tool_input: input } = task;
  if (isAskedFor(turn, fact) && isOfNode(input, fact)) return fact;
  if (!isAskedFor(turn && redactor.jsonText(turn), fact)) return undefined;
  if (!isOfNode(input && redactor.jsonText(input), fact)) return undefined;
  return { ...fact, argumentsJson: input ?? argumentsAsked(turn, fact.callIndex) ?? fact.argumentsJson };
}

/** A call of a held task with its identity, or why it has none. */
export interface IdentifiedCall {
  readonly fact: ToolCallFact;
  readonly task: CallingTask;
  readonly bundle: CompiledBundle;
  readonly tool: CompiledTool | undefined;
  readonly args: Json | undefined;
  readonly requestId: string;
  /** What is wrong with the arguments, if anything. */
  readonly problem: string | undefined;
}

/** The rows of a batch's calls, locked, and the tokens that hold their tasks; the revisions and the time are of after that. */
export interface LockedLedger {
  readonly rows: Map<string, ToolCallRow>;
  readonly living: ReadonlySet<string>;
  readonly revisions: Revisions;
}

/** The identity of a call. */
export async function identify(
  tx: StoreQueries,
  context: CommandContext,
  fact: ToolCallFact,
  { task, withheld }: { readonly task: CallingTask; readonly withheld: readonly string[] },
): Promise<IdentifiedCall> {
  const bundle = await context.caches.bundle(tx, task.bundle_digest);
  // What the model was not told of is not there.
  const tool = withheld.includes(fact.tool) ? undefined : bundle.agents.get(task.agent)?.tools.get(fact.tool);
  const requestId = placedRequestId(task.origin_task_id, fact.turnSequence, fact.callIndex);
  const args = parseArguments(fact.argumentsJson);
  const problem = args === undefined ? "the arguments are not a JSON object" : tool?.input.check(args);
  const call = { fact, task, bundle, tool, args, requestId, problem };
  if (tool?.key === undefined || args === undefined || problem !== undefined) return call;
  const key = tool.key.evaluate({ args });
  const { namespace, name } = tool.tool;
  const declared = key.ok
    ? declaredRequestId(namespace, name, key.value)
    : ({ ok: false, error: `idempotency.key: ${key.error}` } as const);
  return declared.ok ? { ...call, requestId: declared.value } : { ...call, problem: declared.error };
}

/** Locks the ledger rows of a batch. */
export async function lockLedger(
  tx: StoreQueries,
  calls: readonly (IdentifiedCall | undefined)[],
  held: readonly { readonly token: string }[],
): Promise<LockedLedger> {
  const ids = [...new Set(calls.flatMap((call) => (call === undefined ? [] : [call.requestId])))].sort();
  await tx.ledger.lockKeys(ids.filter((id) => id.startsWith("key:")));
  const [rows, revisions] = await Promise.all([tx.ledger.lockCalls(ids), tx.bundles.revisions()]);
  const own = new Set(held.map((lease) => lease.token));
  const others = rows.filter((row) => row.state === "granted" && !own.has(row.grant_token));
  const living = await tx.ledger.livingTokens(others.map((row) => ({ task_id: row.task_id, token: row.grant_token })));
  return { rows: new Map(rows.map((row) => [row.request_id, row])), living: new Set([...living, ...own]), revisions };
}

function parseArguments(text: string): Json | undefined {
  try {
    const value = parseJson(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
