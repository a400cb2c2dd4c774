// Exit codes, and errors as people and scripts read them: error[E-RUN-NOT-FOUND] message. Next: what to do.
// Called by main.ts for whatever a verb throws. Pure.
// docs/cli.md lists the codes; keep both in step.

import { Code, type Diagnostic, OrlojError, RunFailedError } from "../sdk/index.ts";
import { safeLine } from "./sanitize.ts";

/** Exit codes of the client verbs. */
export const EXIT = {
  ok: 0,
  /** The work itself failed: a run did not succeed, a manifest is invalid. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  notFound: 3,
  /** No valid token, a right is missing, or a policy denied. */
  denied: 4,
  unavailable: 5,
  /** The server refused the input: parameters, sizes, a page token. */
  refused: 6,
  /** The state forbids it: finished, in use, changed meanwhile, another body under this idempotency key. */
  conflict: 7,
  /** A bug of the server or of this command. */
  internal: 8,
  /** The time of --timeout is over, as timeout(1) says it. */
  timedOut: 124,
  interrupted: 130,
} as const;

/** A command line that cannot be carried out as written. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  /** What to do about it. */
  readonly next: string;

  constructor(message: string, next = "") {
    super(message);
    this.next = next;
  }
}

/** A command that failed in this process, with its code; the message ends with what to do. */
export class CommandFailure extends Error {
  override readonly name = "CommandFailure";
  /** "E-CONFIG-INVALID". */
  readonly code: string;
  readonly exitCode: number;

  constructor(code: string, message: string, exitCode: number) {
    super(message);
    this.code = code;
    this.exitCode = exitCode;
  }
}

const FILE_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EISDIR: "it is a folder",
  ENOTDIR: "it is, or lies below, a file",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "the file system is read-only",
  ENOSPC: "no space is left",
};

/** Words for why a file or folder cannot be read or written. */
export function fileErrorWords(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return FILE_ERRORS[code ?? ""] ?? message;
}

/** An error ready to print. */
export interface Shown {
  /** "E-RUN-NOT-FOUND". */
  readonly code: string;
  readonly message: string;
  readonly next: string;
  readonly exitCode: number;
  readonly diagnostics: readonly Diagnostic[];
}

const EXIT_BY_CODE: Readonly<Record<Code, number>> = {
  [Code.Canceled]: EXIT.interrupted,
  [Code.Unknown]: EXIT.internal,
  [Code.InvalidArgument]: EXIT.refused,
  [Code.DeadlineExceeded]: EXIT.unavailable,
  [Code.NotFound]: EXIT.notFound,
  [Code.AlreadyExists]: EXIT.conflict,
  [Code.PermissionDenied]: EXIT.denied,
  [Code.ResourceExhausted]: EXIT.refused,
  [Code.FailedPrecondition]: EXIT.conflict,
  [Code.Aborted]: EXIT.conflict,
  [Code.OutOfRange]: EXIT.refused,
  [Code.Unimplemented]: EXIT.internal,
  [Code.Internal]: EXIT.internal,
  [Code.Unavailable]: EXIT.unavailable,
  [Code.DataLoss]: EXIT.internal,
  [Code.Unauthenticated]: EXIT.denied,
};

/** What to do about a command line that is wrong, when nothing better is known. */
export const HELP = "orloj --help, or orloj VERB --help";
const UNKNOWN = "look at the server's log, and try again";

const NEXT: Readonly<Record<string, string>> = {
  REQUEST_INVALID: "correct what the message names; --help lists the options",
  PAGE_TOKEN_INVALID: "leave the page token away, and begin at the first page",
  DEAD_LETTER_NOT_FOUND: "orloj dead-letters list --all",
  DEAD_LETTER_RESOLVED: "orloj dead-letters show TASK shows what was decided",
  OUTCOME_UNKNOWN:
    "find out, then --result REQUEST_ID=JSON if it had its effect, --repeat-effects if it may be sent again",
  EFFECTS_RECORDED: "pass --repeat-effects if the calls may be made again",
  TOO_MANY: "send fewer at a time, or wait a moment",
  CONCURRENCY_LIMIT: "invoke again once a run has ended; orloj runs -s RUNNING lists them",
  CONFIG_INVALID: "correct the setting that the message names, on the server",
  INVARIANT_BROKEN: "report it with what the server's log says; trying again may help",
  MANIFEST_INVALID: "correct the lines above and try again",
  MANIFEST_TOO_SLOW: "split the file or make its expressions smaller",
  PARAMS_INVALID: "orloj describe workflow NAME shows the parameters",
  CREDENTIALS_MISSING: "pass --token or set ORLOJ_TOKEN; a local server writes one to .orloj/config.json",
  CREDENTIALS_INVALID: "pass a current --token; a local server writes one to .orloj/config.json when it starts",
  PERMISSION_DENIED: "ask an administrator for the role that this call needs",
  POLICY_DENIED: "orloj audit list --kind run.refused shows the decision",
  RESOURCE_NOT_FOUND: "orloj get all -A",
  WORKFLOW_NOT_FOUND: "orloj get workflows -A",
  RUN_NOT_FOUND: "orloj runs",
  TASK_NOT_FOUND: "orloj tasks RUN",
  WORKER_NOT_FOUND: "orloj workers",
  LEASE_NOT_FOUND: "orloj leases",
  TOKEN_NOT_FOUND: "orloj token list --all",
  IDEMPOTENCY_CONFLICT: "use another --idempotency-key, or the same parameters as the first time",
  RUN_FINISHED: "orloj describe run RUN shows how it ended",
  RESOURCE_IN_USE: "delete what refers to it first, or pass --force",
  SET_CONFLICT: "orloj get all -A -o json shows the set of each resource; --adopt takes it over",
  VERSION_CHANGED: "try again",
  PAYLOAD_TOO_LARGE: "send less at a time",
  RESOURCE_EXHAUSTED: "send less at a time; a whole request has at most 4 MiB",
  PROCESS_ENDED: "correct what the lines above say, and start it again",
  SHUTTING_DOWN: "try again in a moment",
  IDENTITY_UNAVAILABLE: "try again in a moment; the server's log says why the keys of the issuer cannot be read",
  STORAGE_UNAVAILABLE: "try again in a moment; the server's log says what its database answers",
};

/** How an error is shown and what the process exits with. @param help where to read more about the verb */
export function showError(thrown: unknown, endpoint: string, help = HELP): Shown {
  const error = ownErrorIn(thrown) ?? thrown;
  if (error instanceof UsageError) {
    const next = error.next || help;
    return { code: "E-USAGE", message: error.message, next, exitCode: EXIT.usage, diagnostics: [] };
  }
  if (error instanceof CommandFailure) {
    const { code, message, exitCode } = error;
    return { code, message, next: "", exitCode, diagnostics: [] };
  }
  if (!(error instanceof Error)) return bug(String(error));
  if (!(error instanceof OrlojError) && error.name !== "ConnectError") return bug(error.message);
  const failure = OrlojError.from(error);
  if (failure.reason === "CONNECTION_LOST") {
    const message = `no server answers at ${endpoint}: ${rootMessage(failure)}`;
    const next =
      "start one with: orloj server (or name another with --server, ORLOJ_SERVER, or orloj config use-context)";
    return { code: "E-SERVER-UNREACHABLE", message, next, exitCode: EXIT.unavailable, diagnostics: [] };
  }
  return {
    code: `E-${failure.reason.replaceAll("_", "-")}`,
    message: failure.message,
    next: nextStep(failure),
    exitCode: exitCodeOf(failure),
    diagnostics: failure.diagnostics,
  };
}

// The transport wraps what its parts throw, such as a token that cannot be had.
function ownErrorIn(thrown: unknown): UsageError | undefined {
  let error: unknown = thrown;
  for (let depth = 0; error instanceof Error && depth < 8; depth += 1) {
    if (error instanceof UsageError) return error;
    error = error.cause;
  }
  return undefined;
}

/** error[CODE] message. Next: step */
export function errorLine(shown: Shown): string {
  const message = safeLine(shown.message).replace(/\.$/, "");
  return `error[${shown.code}] ${message}${shown.next === "" ? "" : `. Next: ${safeLine(shown.next)}`}`;
}

/** file:line:col: error[CODE] path: message (hint) */
export function diagnosticLine(finding: Diagnostic): string {
  const position = finding.line > 0 ? `:${finding.line}:${finding.column}` : "";
  const path = finding.path === "" ? "" : ` ${finding.path}:`;
  const hint = finding.hint === "" ? "" : ` (${finding.hint})`;
  return safeLine(`${finding.file}${position}: ${finding.severity}[${finding.code}]${path} ${finding.message}${hint}`);
}

function exitCodeOf(failure: OrlojError): number {
  if (failure.reason === "MANIFEST_INVALID" || failure.reason === "MANIFEST_TOO_SLOW") return EXIT.failed;
  if (failure instanceof RunFailedError) return failure.state === "POLICY_DENIED" ? EXIT.denied : EXIT.failed;
  return EXIT_BY_CODE[failure.code] ?? EXIT.internal;
}

function nextStep(failure: OrlojError): string {
  const run = failure.metadata["run"] ?? failure.metadata["runId"] ?? failure.metadata["run_id"];
  if (failure instanceof RunFailedError) return `orloj describe run ${failure.runId}`;
  const next = NEXT[failure.reason] ?? UNKNOWN;
  return run === undefined ? next : next.replace("RUN", run);
}

function bug(message: string): Shown {
  const next = "report it, with what orloj version says";
  return { code: "E-INTERNAL", message, next, exitCode: EXIT.internal, diagnostics: [] };
}

function rootMessage(error: Error): string {
  let root: unknown = error;
  for (let depth = 0; root instanceof Error && root.cause instanceof Error && depth < 8; depth += 1) root = root.cause;
  const code = (root as NodeJS.ErrnoException).code;
  if (code === "ECONNREFUSED") return "connection refused";
  if (code === "ENOTFOUND") return "the host name is not known";
  return root instanceof Error ? root.message : error.message;
}
