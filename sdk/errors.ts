// Errors that callers of the SDK see: what the server refused, and a run that ended otherwise than SUCCEEDED.
// Called by every part of the SDK at its edge; the CLI maps the same errors to exit codes.
// A lost connection becomes Unavailable / CONNECTION_LOST, whatever name the transport had for it.

import { Code, ConnectError } from "@connectrpc/connect";
import type { Failure } from "../proto/gen/orloj/v1/common_pb.ts";
import { type Diagnostic, ErrorInfoSchema, ManifestErrorsSchema } from "../proto/gen/orloj/v1/error_pb.ts";
import { type Run, RunState } from "../proto/gen/orloj/v1/workflow_pb.ts";

/** Name of a run state, such as "SUCCEEDED". */
export type RunStateName = Exclude<keyof typeof RunState, "UNSPECIFIED"> | "UNSPECIFIED";

const STATE_NAMES = new Map<number, RunStateName>(
  Object.entries(RunState).map(([name, value]) => [value, name as RunStateName]),
);
const FINAL_STATES: ReadonlySet<number> = new Set([
  RunState.SUCCEEDED,
  RunState.FAILED,
  RunState.CANCELLED,
  RunState.TIMED_OUT,
  RunState.POLICY_DENIED,
]);
// What Node calls a connection that was refused, reset, or ended before the answer did.
const LOST_CONNECTION =
  /^(ECONNREFUSED|ECONNRESET|ECONNABORTED|EPIPE|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ERR_STREAM_PREMATURE_CLOSE|ERR_STREAM_DESTROYED|ERR_HTTP2_\w+)$/;

/** Name of a run state; "UNSPECIFIED" for one that this SDK does not know. */
export function runStateName(state: RunState): RunStateName {
  return STATE_NAMES.get(state) ?? "UNSPECIFIED";
}

/** True for a run state that never changes again. */
export function isFinal(state: RunState): boolean {
  return FINAL_STATES.has(state);
}

/** A call that did not succeed. */
export class OrlojError extends Error {
  override readonly name: string = "OrlojError";
  /** Stable UPPER_SNAKE reason such as "RUN_NOT_FOUND"; for errors that the server did not word: CONNECTION_LOST, or the code's name. */
  readonly reason: string;
  /** Connect code. */
  readonly code: Code;
  /** Facts about the error, such as the run id. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Findings with positions; only for MANIFEST_INVALID. */
  readonly diagnostics: readonly Diagnostic[];

  constructor(
    message: string,
    fields: {
      reason: string;
      code: Code;
      metadata?: Readonly<Record<string, string>>;
      diagnostics?: readonly Diagnostic[];
      cause?: unknown;
    },
  ) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.reason = fields.reason;
    this.code = fields.code;
    this.metadata = fields.metadata ?? {};
    this.diagnostics = fields.diagnostics ?? [];
  }

  /** Turns whatever a client threw into an OrlojError; returns one unchanged. */
  static from(error: unknown): OrlojError {
    if (error instanceof OrlojError) return error;
    const failure = ConnectError.from(error);
    const info = failure.findDetails(ErrorInfoSchema)[0];
    const diagnostics = failure.findDetails(ManifestErrorsSchema).flatMap((detail) => detail.diagnostics);
    if (info === undefined && isConnectionLost(failure)) {
      return new OrlojError(`the connection to the server failed: ${failure.rawMessage}`, {
        reason: "CONNECTION_LOST",
        code: Code.Unavailable,
        cause: error,
      });
    }
    return new OrlojError(failure.rawMessage, {
      reason: info?.reason || upperSnake(Code[failure.code] ?? "Unknown"),
      code: failure.code,
      metadata: info?.metadata ?? {},
      diagnostics,
      cause: error,
    });
  }
}

/** A run that ended otherwise than SUCCEEDED. */
export class RunFailedError extends OrlojError {
  override readonly name = "RunFailedError";
  readonly runId: string;
  /** "FAILED", "CANCELLED", "TIMED_OUT" or "POLICY_DENIED". */
  readonly state: RunStateName;
  /** What went wrong, as the server recorded it. */
  readonly failure: Failure | undefined;

  constructor(run: Run) {
    const state = runStateName(run.state);
    const why = run.failure === undefined ? "" : `: ${run.failure.class}: ${run.failure.message}`;
    super(`run ${run.id} ended ${state}${why}`, {
      reason: `RUN_${state}`,
      code: state === "POLICY_DENIED" ? Code.PermissionDenied : Code.FailedPrecondition,
      metadata: { run: run.id },
    });
    this.runId = run.id;
    this.state = state;
    this.failure = run.failure;
  }
}

/** True when the peer was not reached or went away without an answer. */
export function isConnectionLost(error: ConnectError): boolean {
  if (error.isWireError) return false;
  let cause: unknown = error;
  for (let depth = 0; cause instanceof Error && depth < 8; depth += 1) {
    if ("code" in cause && typeof cause.code === "string" && LOST_CONNECTION.test(cause.code)) return true;
    cause = cause.cause;
  }
  return error.code === Code.Unavailable;
}

function upperSnake(name: string): string {
  return name.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}
