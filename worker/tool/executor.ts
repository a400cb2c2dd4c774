// What every tool executor is: means in, a result or a classed failure out, within a time, a size and an abort signal.
// agent/tool_call.ts calls it with the means of one grant; registry.ts lists the executors by kind.
// An executor never throws for what the endpoint or the command did; it never logs means, which hold secrets.

import type { Json, JsonObject } from "../../kit/json.ts";
import type { Redactor } from "../../kit/redactor.ts";

/** A rendered HTTP request. */
export interface HttpMeans {
  readonly kind: "http";
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly allowPrivateNetwork: boolean;
}

/** A rendered command. */
export interface CommandMeans {
  readonly kind: "command";
  readonly argv: readonly string[];
  readonly stdin?: Uint8Array;
  readonly env: Readonly<Record<string, string>>;
  /** Inside the worker's work directory; empty: that directory itself. */
  readonly workDir: string;
}

/** A signed delivery. */
export interface WebhookMeans {
  readonly kind: "webhook";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly allowPrivateNetwork: boolean;
}

/** One statement with the values of its parameters. */
export interface DatabaseMeans {
  readonly kind: "database";
  readonly driver: "postgres" | "sqlite";
  /** Address of a Postgres, or path of a SQLite file inside the worker's work directory. */
  readonly place: string;
  readonly statement: string;
  readonly parameters: readonly Json[];
  readonly readOnly: boolean;
  readonly rowsMax: number;
  readonly allowPrivateNetwork: boolean;
  readonly requestId: string;
}

/** One call of a tool of an MCP server. */
export interface McpMeans {
  readonly kind: "mcp";
  readonly server:
    | {
        readonly kind: "local";
        readonly argv: readonly string[];
        readonly env: Readonly<Record<string, string>>;
        /** Inside the worker's work directory; empty: that directory itself. */
        readonly workDir: string;
      }
    | {
        readonly kind: "remote";
        readonly url: string;
        readonly headers: Readonly<Record<string, string>>;
        readonly allowPrivateNetwork: boolean;
      };
  /** Name of the server's tool. */
  readonly tool: string;
  readonly arguments: JsonObject;
  readonly requestId: string;
}

/** Concrete means of one tool attempt. */
export type ToolMeans = HttpMeans | CommandMeans | WebhookMeans | DatabaseMeans | McpMeans;

/** Classes of tool failure; those of retry policies. */
export type ToolFailureClass =
  | "Http4xx"
  | "Http5xx"
  | "Http503"
  | "RateLimited"
  | "Timeout"
  | "ConnectionRefused"
  | "ConnectionReset"
  | "DnsError"
  | "AddressForbidden"
  | "RequestInvalid"
  | "ResponseTooLarge"
  | "ResponseInvalid"
  | "ResultInvalid"
  | "ExitStatus"
  | "CommandNotFound"
  | "WorkDirForbidden"
  | "OutputTooLarge"
  | "MemoryExceeded"
  | "Signal"
  | "SqlError"
  | "SqlConflict"
  | "DatabaseForbidden"
  | "McpError"
  | "Cancelled";

/** Why a tool attempt failed. */
export interface ToolFailure {
  readonly class: ToolFailureClass;
  /** For a person and for the model; never quotes the means. */
  readonly message: string;
  /** Whether the call may have had its effect. */
  readonly ambiguous: boolean;
  /** What the endpoint asked for, in ms. */
  readonly retryAfterMs?: number;
}

/** End of one attempt. */
export type ToolRun =
  | { readonly ok: true; readonly result: Json }
  | { readonly ok: false; readonly failure: ToolFailure };

/** One attempt: means and bounds. */
export interface ToolExecution<Means extends ToolMeans = ToolMeans> {
  readonly means: Means;
  /** In ms, from the start of the call to the last byte of its answer. */
  readonly timeoutMs: number;
  /** Largest answer in bytes. */
  readonly resultBytesMax: number;
  /** Knows the secrets of the means, for what is cut before the caller can look at it. */
  readonly redactor: Redactor;
  /** Aborts the call; the failure is Cancelled. */
  readonly signal: AbortSignal;
  /** Takes lines that a process of the call writes to standard error, without secrets; absent: nobody reads them. */
  readonly output?: (line: string) => void;
}

/** Executes tools of one kind. */
export interface ToolExecutor<Means extends ToolMeans> {
  run(execution: ToolExecution<Means>): Promise<ToolRun>;
}

/** One executor a kind; the compiler lists a missing one. */
export type ToolExecutors = { readonly [Kind in ToolMeans["kind"]]: ToolExecutor<Extract<ToolMeans, { kind: Kind }>> };

/** Runs means with the executor of their kind. */
export function executeTool(executors: ToolExecutors, execution: ToolExecution): Promise<ToolRun> {
  const { means } = execution;
  switch (means.kind) {
    case "http":
      return executors.http.run({ ...execution, means });
    case "command":
      return executors.command.run({ ...execution, means });
    case "database":
      return executors.database.run({ ...execution, means });
    case "mcp":
      return executors.mcp.run({ ...execution, means });
    case "webhook":
      return executors.webhook.run({ ...execution, means });
  }
}

/** A failed run. */
export function failedRun(
  failureClass: ToolFailureClass,
  message: string,
  ambiguous: boolean,
  retryAfterMs?: number,
): ToolRun {
  return {
    ok: false,
    failure: { class: failureClass, message, ambiguous, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) },
  };
}

/** Whether a retry policy's classes include this one; Http5xx includes Http503. */
export function retriesClass(on: readonly string[], failureClass: ToolFailureClass): boolean {
  return on.includes(failureClass) || (failureClass === "Http503" && on.includes("Http5xx"));
}
