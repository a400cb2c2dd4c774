// Turns what a handler threw into what the wire carries: the only file that knows Connect codes.
// Called by failures.ts and authentication.ts for every call, and by workflow_service.ts for the items of a batch.
// Never sends a cause, a stack or the text of an unexpected error.

import { Code, ConnectError } from "@connectrpc/connect";
import { DomainError, type Reason } from "../../kit/errors.ts";
import { type ErrorInfo, ErrorInfoSchema, ManifestErrorsSchema } from "../../proto/gen/orloj/v1/error_pb.ts";
import { ManifestInvalidError } from "../commands/manifest_invalid_error.ts";

/** Domain of every reason, as AIP-193 asks. */
export const ERROR_DOMAIN = "orloj.dev";

/** The code of each reason. */
export const CODES: Readonly<Record<Reason, Code>> = Object.freeze({
  MANIFEST_INVALID: Code.InvalidArgument,
  MANIFEST_TOO_SLOW: Code.InvalidArgument,
  PARAMS_INVALID: Code.InvalidArgument,
  REQUEST_INVALID: Code.InvalidArgument,
  PAGE_TOKEN_INVALID: Code.InvalidArgument,
  CREDENTIALS_MISSING: Code.Unauthenticated,
  CREDENTIALS_INVALID: Code.Unauthenticated,
  PERMISSION_DENIED: Code.PermissionDenied,
  POLICY_DENIED: Code.PermissionDenied,
  RESOURCE_NOT_FOUND: Code.NotFound,
  WORKFLOW_NOT_FOUND: Code.NotFound,
  RUN_NOT_FOUND: Code.NotFound,
  TASK_NOT_FOUND: Code.NotFound,
  WORKER_NOT_FOUND: Code.NotFound,
  LEASE_NOT_FOUND: Code.NotFound,
  DEAD_LETTER_NOT_FOUND: Code.NotFound,
  TOKEN_NOT_FOUND: Code.NotFound,
  IDEMPOTENCY_CONFLICT: Code.AlreadyExists,
  RUN_FINISHED: Code.FailedPrecondition,
  DEAD_LETTER_RESOLVED: Code.FailedPrecondition,
  OUTCOME_UNKNOWN: Code.FailedPrecondition,
  EFFECTS_RECORDED: Code.FailedPrecondition,
  RESOURCE_IN_USE: Code.FailedPrecondition,
  SET_CONFLICT: Code.FailedPrecondition,
  PROTOCOL_VIOLATION: Code.FailedPrecondition,
  CONFIG_INVALID: Code.FailedPrecondition,
  LEASE_LOST: Code.Aborted,
  VERSION_CHANGED: Code.Aborted,
  PAYLOAD_TOO_LARGE: Code.ResourceExhausted,
  TOO_MANY: Code.ResourceExhausted,
  CONCURRENCY_LIMIT: Code.ResourceExhausted,
  SHUTTING_DOWN: Code.Unavailable,
  STORAGE_UNAVAILABLE: Code.Unavailable,
  IDENTITY_UNAVAILABLE: Code.Unavailable,
  INVARIANT_BROKEN: Code.Internal,
});

// What Node says when the other end of a connection is gone.
const PEER_GONE = new Set(["ECONNRESET", "EPIPE", "ECANCELED", "ERR_STREAM_PREMATURE_CLOSE", "ERR_HTTP2_STREAM_ERROR"]);

// Reasons for the failures that the framework finds itself, before a handler sees the message.
const FRAMEWORK_REASONS: Readonly<Partial<Record<Code, Reason>>> = Object.freeze({
  [Code.ResourceExhausted]: "PAYLOAD_TOO_LARGE",
  [Code.InvalidArgument]: "REQUEST_INVALID",
});

/**
 * The wire form of anything thrown.
 *
 * A DomainError keeps its message and metadata; a ManifestInvalidError adds its findings; errors of the framework keep their
 * code; a connection that broke is Canceled; anything else is Internal with INVARIANT_BROKEN and a fixed text.
 */
export function toConnectError(error: unknown): ConnectError {
  if (error instanceof DomainError && error.reason !== "INVARIANT_BROKEN") return fromDomainError(error);
  if (error instanceof ConnectError) return withReason(error);
  if (isPeerGone(error)) return new ConnectError("the connection to the caller broke", Code.Canceled);
  return fromDomainError(
    new DomainError(
      "INVARIANT_BROKEN",
      "the server met a condition it does not expect; its log has the cause (event rpc.failed)",
    ),
  );
}

/** What is wrong with a frame that its peer wrote: too large, no frame, or out of phase; undefined for any other error. */
export function brokenFrame(error: unknown): string | undefined {
  if (error instanceof DomainError) return error.reason === "PROTOCOL_VIOLATION" ? error.message : undefined;
  if (!(error instanceof ConnectError)) return undefined;
  const isUnreadable = error.code === Code.ResourceExhausted || error.rawMessage.startsWith("parse binary");
  return isUnreadable ? error.rawMessage : undefined;
}

/** The ErrorInfo of a mapped error; undefined if the framework made it and no reason fits. */
export function errorInfoOf(error: ConnectError): ErrorInfo | undefined {
  return error.findDetails(ErrorInfoSchema)[0];
}

function fromDomainError(error: DomainError): ConnectError {
  const { reason, metadata } = error;
  const mapped = new ConnectError(error.message, CODES[reason], undefined, [
    { desc: ErrorInfoSchema, value: { reason, domain: ERROR_DOMAIN, metadata: { ...metadata } } },
  ]);
  if (error instanceof ManifestInvalidError) {
    mapped.details.push({ desc: ManifestErrorsSchema, value: { diagnostics: [...error.diagnostics] } });
  }
  return mapped;
}

function withReason(error: ConnectError): ConnectError {
  const reason = FRAMEWORK_REASONS[error.code];
  if (reason === undefined || error.details.length > 0) return error;
  return fromDomainError(new DomainError(reason, error.rawMessage));
}

function isPeerGone(error: unknown): boolean {
  return error instanceof Error && "code" in error && PEER_GONE.has(String(error.code));
}
