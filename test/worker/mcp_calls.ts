// Calls of MCP servers as a grant makes them, for the tests of the mcp tool.
// Its redactor knows one canary. A clock of its own lets a test say when the time of a call is over.

import { tmpdir } from "node:os";
import { type Clock, systemClock } from "../../kit/clock.ts";
import type { JsonObject } from "../../kit/json.ts";
import { Redactor } from "../../kit/redactor.ts";
import { createAddressGuard } from "../../worker/tool/addresses.ts";
import type { McpMeans, ToolRun } from "../../worker/tool/executor.ts";
import { createMcpExecutor } from "../../worker/tool/mcp.ts";

const redactor = new Redactor();
redactor.learn("canary-4711");

/** A time that only a test lets pass. */
export const HAND_MS = 123_456;

/** A clock whose timers of HAND_MS fire when the test says so. */
export function handClock(): Clock & { fire(): void } {
  const real = systemClock();
  let fire = () => {};
  return {
    ...real,
    after(delayMs, callback) {
      if (delayMs !== HAND_MS) return real.after(delayMs, callback);
      fire = callback;
      return () => {};
    },
    fire: () => fire(),
  };
}

/** What a call may do; what is absent is generous. */
export interface CallBounds {
  readonly clock?: Clock;
  readonly timeoutMs?: number;
  readonly resultBytesMax?: number;
  readonly signal?: AbortSignal;
  readonly networks?: string[];
  readonly workDir?: string;
}

/** Calls a tool of a server. */
export function callMcp(
  server: McpMeans["server"],
  tool: string,
  args: JsonObject = {},
  bounds: CallBounds = {},
): Promise<ToolRun> {
  const guard = createAddressGuard(bounds.networks ?? ["127.0.0.0/8"]);
  const places = { commandPath: "/usr/local/bin:/usr/bin:/bin", workDir: bounds.workDir ?? tmpdir() };
  return createMcpExecutor({ guard, clock: bounds.clock ?? systemClock(), ...places }).run({
    means: { kind: "mcp", server, tool, arguments: args, requestId: "auto:task_1/2/0" },
    timeoutMs: bounds.timeoutMs ?? 30_000,
    resultBytesMax: bounds.resultBytesMax ?? 100_000,
    signal: bounds.signal ?? new AbortController().signal,
    redactor,
  });
}

/** A server at an address. */
export function remote(url: string, headers: Readonly<Record<string, string>> = {}): McpMeans["server"] {
  return { kind: "remote", url, headers, allowPrivateNetwork: true };
}

/** What a failed call looks like. */
export function failure(failureClass: string, ambiguous: boolean): object {
  return { ok: false, failure: { class: failureClass, ambiguous } };
}
