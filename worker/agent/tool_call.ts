// Drives one tool call to its end: asks for the decision, runs the granted means, reports, tries again as the tool's policy says.
// Called by loop.ts for each call of a turn. The server decides and remembers; this file only obeys and waits.
// Never runs anything without a grant, and runs each grant once.
// A result that the model sees takes the next journal sequence, whoever writes it; a failure that fails the task takes none,
// so that a later attempt of the task asks for the call again.

import { backoffDelay } from "../../kit/backoff.ts";
import type { Clock } from "../../kit/clock.ts";
import { messageOf } from "../../kit/errors.ts";
import { canonicalJson, type Json } from "../../kit/json.ts";
import type { Random } from "../../kit/random.ts";
import type { Redactor } from "../../kit/redactor.ts";
import { SECOND } from "../../kit/units.ts";
import {
  executeTool,
  failedRun,
  retriesClass,
  type ToolExecutors,
  type ToolFailure,
  type ToolRun,
} from "../tool/executor.ts";
import { tracedMeans } from "../tool/traced_means.ts";
import { type Observed, observe, type TaskObserver } from "./observer.ts";
import { schemaErrors } from "./schema.ts";
import { orStopped, stopCause } from "./stop.ts";
import type { RecordedResult, RequestedCall, TaskPort, ToolDecision, ToolGrant } from "./task.ts";
import type { ToolView } from "./view.ts";

/** Waits between questions that the server could not answer, in ms. */
const UNAVAILABLE_BACKOFF = { initialMs: 200, maxMs: 5 * SECOND, factor: 2, jitter: "full" } as const;
/** Shortest wait before asking again, whatever the server says. */
const RETRY_AFTER_MS_MIN = 20;

/** Decisions after which nothing is called. */
const REFUSALS: ReadonlySet<ToolDecision["kind"]> = new Set(["denied", "conflict", "unknownOutcome", "leaseLost"]);

/** Where the facts of a call go. */
export type ToolPort = Pick<TaskPort, "callTool" | "recordToolResult" | "leaseSound">;

/** What driving a call needs. */
export interface ToolCallContext {
  readonly port: ToolPort;
  readonly executors: ToolExecutors;
  readonly clock: Clock;
  readonly random: Random;
  /** Learns the secrets of grants, and leaves them out of results and messages. */
  readonly redactor: Redactor;
  /** Aborts the task. */
  readonly signal: AbortSignal;
  /** Is told what happens; absent: nobody looks. */
  readonly observer?: TaskObserver | undefined;
}

/** Which call, and the journal sequence that its final result takes. */
export interface PlacedCall {
  readonly turnSequence: number;
  readonly callIndex: number;
  readonly call: RequestedCall;
  readonly sequence: number;
  /** Undefined if the model asked for a tool that it does not have; the server says what follows. */
  readonly tool: ToolView | undefined;
}

/** How a call ended. */
export type ToolCallEnd =
  /** In the journal at the call's sequence. */
  | { readonly kind: "recorded"; readonly outcome: RecordedResult }
  /** The tool failed and its onError is fail; retryAfterMs is what the endpoint asked for. */
  | { readonly kind: "failed"; readonly message: string; readonly retryAfterMs?: number }
  /** The server ended or parked the task, or gave it to another. */
  | { readonly kind: "dropped" };

/**
 * Drives one call.
 *
 * @throws TaskStopped when the task is stopped meanwhile.
 */
export function driveToolCall(placed: PlacedCall, context: ToolCallContext): Promise<ToolCallEnd> {
  const { turnSequence: turn, callIndex: index } = placed;
  return observe(
    context.observer,
    { of: "call", tool: toldName(placed), turn, index },
    (observed) => drive(placed, context, observed),
    (end) => ({ error: end.kind === "recorded" ? errorOf(end.outcome) : end.kind }),
  );
}

// A name that a model made up may be any text.
function toldName({ tool }: PlacedCall): string {
  return tool?.name ?? "(undeclared)";
}

function errorOf(outcome: RecordedResult): string | undefined {
  return outcome.ok ? undefined : outcome.errorClass;
}

async function drive(
  placed: PlacedCall,
  context: ToolCallContext,
  observed: Observed | undefined,
): Promise<ToolCallEnd> {
  const { port, random, signal } = context;
  let attempt = 1;
  let unavailable = 0;
  for (;;) {
    await port.leaseSound(signal);
    const { turnSequence, callIndex, call } = placed;
    const request = { turnSequence, callIndex, tool: call.name, arguments: call.arguments, attempt };
    const decision = await observe(
      observed,
      { of: "decision", tool: toldName(placed), attempt },
      () => orStopped(port.callTool(request), signal),
      ({ kind }) => ({ facts: { verdict: kind }, ...(REFUSALS.has(kind) && { error: kind }) }),
    );
    switch (decision.kind) {
      case "granted": {
        const end = await runGrant(placed, decision.grant, attempt, context, observed);
        if (end.kind !== "again") return end;
        await wait(end.delayMs, context);
        attempt += 1;
        break;
      }
      case "cached":
        return { kind: "recorded", outcome: { ok: true, result: decision.result } };
      case "invalidArguments":
        return recordedError("InvalidArguments", decision.message);
      case "denied":
        // Nothing of a denial goes to the model. The server knows nothing of this call only if the journal here is not the recorded one.
        return decision.taskEnded
          ? { kind: "dropped" }
          : { kind: "failed", message: `the server refused the call of ${call.name}: ${decision.code}` };
      case "retryAfter":
        await wait(Math.max(decision.delayMs, RETRY_AFTER_MS_MIN), context);
        break;
      case "unavailable":
        unavailable += 1;
        await wait(Math.max(backoffDelay(UNAVAILABLE_BACKOFF, unavailable, random), RETRY_AFTER_MS_MIN), context);
        break;
      case "unknownOutcome":
      case "conflict":
      case "leaseLost":
        return { kind: "dropped" };
    }
    if (decision.kind !== "unavailable") unavailable = 0;
  }
}

async function wait(delayMs: number, { clock, signal }: ToolCallContext): Promise<void> {
  await clock.sleep(delayMs, signal);
  signal.throwIfAborted();
}

function recordedError(errorClass: string, errorMessage: string): ToolCallEnd {
  return { kind: "recorded", outcome: { ok: false, errorClass, errorMessage } };
}

async function runGrant(
  placed: PlacedCall,
  grant: ToolGrant,
  attempt: number,
  context: ToolCallContext,
  observed: Observed | undefined,
): Promise<ToolCallEnd | { readonly kind: "again"; readonly delayMs: number }> {
  const { port, clock, random, signal } = context;
  // A lost lease lets the call in flight end: its result still counts for the ledger, through the grant.
  const stopTool = new AbortController();
  const onStop = () => {
    if (stopCause(signal) !== "lost") stopTool.abort();
  };
  if (signal.aborted) onStop();
  signal.addEventListener("abort", onStop, { once: true });
  const startMs = clock.monotonic();
  const run = await observe(
    observed,
    { of: "attempt", tool: toldName(placed), means: grant.means.kind, attempt },
    (begun) => execute(grant, context, stopTool.signal, begun?.traceparent),
    (end) => (end.ok ? { facts: { bytes: bytesOf(end.result) } } : { error: end.failure.class }),
  );
  signal.removeEventListener("abort", onStop);
  const report = { callId: grant.callId, grantId: grant.grantId, durationMs: clock.monotonic() - startMs };
  if (signal.aborted) {
    // Nobody waits for this one: the session sends it until it is acknowledged or the worker ends.
    port.recordToolResult({ ...report, outcome: run, journalSequence: 0 }).catch(() => {});
    throw signal.reason;
  }
  if (run.ok) {
    await orStopped(port.recordToolResult({ ...report, outcome: run, journalSequence: placed.sequence }), signal);
    return { kind: "recorded", outcome: run };
  }
  const { failure } = run;
  const retry = placed.tool?.retry;
  const again = retry !== undefined && attempt < retry.maxAttempts && retriesClass(retry.on, failure.class);
  const tell = (placed.tool?.onError ?? "tell") === "tell";
  const journalSequence = again || !tell ? 0 : placed.sequence;
  await orStopped(port.recordToolResult({ ...report, outcome: run, journalSequence }), signal);
  if (again) return { kind: "again", delayMs: backoffDelay(retry.backoff, attempt, random, failure.retryAfterMs) };
  if (tell) return recordedError(failure.class, failure.message);
  return failedCall(placed.call.name, failure);
}

async function execute(
  grant: ToolGrant,
  context: ToolCallContext,
  signal: AbortSignal,
  traceparent: string | undefined,
): Promise<ToolRun> {
  const { redactor } = context;
  for (const secret of grant.secrets) redactor.learn(secret);
  const run = await executeRaw({ ...grant, means: tracedMeans(grant.means, traceparent) }, context, signal);
  // A tool may echo what it was given: neither the journal nor the model is to have it.
  if (!run.ok) return { ok: false, failure: { ...run.failure, message: redactor.text(run.failure.message) } };
  const result = redactor.json(run.result);
  // The cap is on what is recorded: text grows when it is written as JSON, and by what stands for a short secret.
  return bytesOf(result) > grant.resultBytesMax
    ? failedRun("ResponseTooLarge", `the result is larger than ${grant.resultBytesMax} bytes`, true)
    : { ok: true, result };
}

function bytesOf(result: Json): number {
  return Buffer.byteLength(canonicalJson(result), "utf8");
}

async function executeRaw(
  { means, timeoutMs, resultBytesMax, outputSchema }: ToolGrant,
  { executors, redactor, observer }: ToolCallContext,
  signal: AbortSignal,
): Promise<ToolRun> {
  const output = observer && ((line: string) => observer.log("info", `stderr: ${line}`));
  let run: ToolRun;
  try {
    run = await executeTool(executors, {
      ...{ means, timeoutMs, resultBytesMax, redactor, signal },
      ...(output && { output }),
    });
  } catch (error) {
    return failedRun("ResultInvalid", `the tool could not be executed: ${messageOf(error)}`, true);
  }
  if (!run.ok) return run;
  if (outputSchema === undefined) return run;
  const errors = schemaErrors(outputSchema, run.result);
  return errors === undefined
    ? run
    : failedRun("ResultInvalid", `the result does not fit the tool's outputSchema: ${errors}`, true);
}

function failedCall(name: string, failure: ToolFailure): ToolCallEnd {
  return {
    kind: "failed",
    message: `tool ${name} failed with ${failure.class}: ${failure.message}`,
    ...(failure.retryAfterMs === undefined ? {} : { retryAfterMs: failure.retryAfterMs }),
  };
}
