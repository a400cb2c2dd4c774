// Errors that an operator or a caller can act on, and the assertion for what must never be.
// DomainError travels through every layer; only rpc/error_map.ts turns it into a wire code.
// Never holds a secret: messages and metadata are sent to callers.

/** Stable reasons of operating errors; docs/errors.md lists what each asks of the caller. */
export type Reason =
  | "MANIFEST_INVALID"
  | "MANIFEST_TOO_SLOW"
  | "PARAMS_INVALID"
  | "REQUEST_INVALID"
  | "PAGE_TOKEN_INVALID"
  | "CREDENTIALS_MISSING"
  | "CREDENTIALS_INVALID"
  | "PERMISSION_DENIED"
  | "POLICY_DENIED"
  | "RESOURCE_NOT_FOUND"
  | "WORKFLOW_NOT_FOUND"
  | "RUN_NOT_FOUND"
  | "TASK_NOT_FOUND"
  | "WORKER_NOT_FOUND"
  | "LEASE_NOT_FOUND"
  | "DEAD_LETTER_NOT_FOUND"
  | "TOKEN_NOT_FOUND"
  | "DEAD_LETTER_RESOLVED"
  | "OUTCOME_UNKNOWN"
  | "EFFECTS_RECORDED"
  | "IDEMPOTENCY_CONFLICT"
  | "RUN_FINISHED"
  | "RESOURCE_IN_USE"
  | "SET_CONFLICT"
  | "LEASE_LOST"
  | "VERSION_CHANGED"
  | "PAYLOAD_TOO_LARGE"
  | "TOO_MANY"
  | "CONCURRENCY_LIMIT"
  | "SHUTTING_DOWN"
  | "STORAGE_UNAVAILABLE"
  | "IDENTITY_UNAVAILABLE"
  | "PROTOCOL_VIOLATION"
  | "CONFIG_INVALID"
  | "INVARIANT_BROKEN";

/** An operating error: says what is wrong, where, and what to do about it. */
export class DomainError extends Error {
  override readonly name = "DomainError";
  readonly reason: Reason;
  readonly metadata: Readonly<Record<string, string>>;

  /** @param cause logged, never sent. */
  constructor(reason: Reason, message: string, metadata: Record<string, string> = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.reason = reason;
    this.metadata = metadata;
  }
}

/** Throws INVARIANT_BROKEN unless the condition holds; for what can only be our own bug. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new DomainError("INVARIANT_BROKEN", `invariant broken: ${message}`);
}

/** For the default branch of an exhaustive switch. */
export function unreachable(value: never): never {
  throw new DomainError("INVARIANT_BROKEN", `invariant broken: unexpected ${JSON.stringify(value)}`);
}

/** Message of anything thrown; never throws itself. */
export function messageOf(error: unknown): string {
  // A connection refused at every address of a host comes as this, without a message of its own.
  if (error instanceof AggregateError && error.message === "") return error.errors.map(messageOf).join("; ");
  if (error instanceof Error) return error.message;
  try {
    return String(error);
  } catch {
    return "something without a text was thrown";
  }
}
