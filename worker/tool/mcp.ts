// Executes mcp tools: starts or reaches an MCP server, asks one of its tools, and ends the conversation with the call.
// One client a call: nothing of one call, its server's state and environment included, is left for the next. Called through the
// executor registry; the client library is loaded with the first call. Answers no request of a server: no sampling, no
// elicitation, no roots. A server's own schemas are not compiled: they come from outside. A session that a server gave is ended
// with its call, so that none is left behind there.

import { statSync } from "node:fs";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import type { Clock } from "../../kit/clock.ts";
import { isJsonObject, type Json, parseJson } from "../../kit/json.ts";
import type { Redactor } from "../../kit/redactor.ts";
import { MIB, SECOND } from "../../kit/units.ts";
import { findCommand } from "./command.ts";
import { failedRun, type McpMeans, type ToolExecution, type ToolExecutor, type ToolRun } from "./executor.ts";
import { createGuardedFetch, type GuardedFetch } from "./guarded_fetch.ts";
import { classify } from "./http_exchange.ts";
import { McpProcess } from "./mcp_process.ts";
import type { MemoryWatch } from "./memory_watch.ts";
import { type Network, Refused } from "./network.ts";
import { printed, stderrBytesKept } from "./process.ts";
import { StderrLines } from "./stderr_lines.ts";
import { insideWorkDir } from "./work_dir.ts";

/** What a conversation needs beside the result. */
const ENVELOPE_BYTES = 1 * MIB;
/** How long a server may take to end its session; its call has ended by then. */
const FAREWELL_MS = 1 * SECOND;
const MESSAGE_CHARACTERS_MAX = 300;
/** Member of a call's _meta in which a server finds the request id. */
export const REQUEST_ID_META = "orloj.dev/request-id";
/** Errors of JSON-RPC 2.0 by which a server says that it did not run anything. */
const NOT_RUN = new Set([-32600, -32601, -32602]);

/** What the executor needs. */
export interface McpToolOptions extends Network {
  /** Directories searched for a server's program; also the PATH of the server. */
  readonly commandPath: string;
  /** Directory that work directories must lie in. */
  readonly workDir: string;
  /** Bounds the memory of a server that is started; absent: nothing does. */
  readonly memory?: MemoryWatch;
}

/** One conversation: its way to the server, and what is known about its end. */
interface Conversation {
  readonly transport: Transport;
  /** Ends it now. */
  kill(): void;
  /** Tells the server that nothing more comes. */
  farewell(): Promise<void>;
  /** The failure that an error was. `asked`: the call was sent. */
  failure(error: unknown, asked: boolean): ToolRun;
}

/** See the file header. */
export function createMcpExecutor(options: McpToolOptions): ToolExecutor<McpMeans> {
  return {
    async run(execution) {
      const { signal, timeoutMs } = execution;
      if (signal.aborted) return failedRun("Cancelled", "the call was stopped", false);
      const timeout = new AbortController();
      const both = AbortSignal.any([signal, timeout.signal]);
      const over = new AbortController();
      const opened = await open(execution, options, over.signal);
      if ("ok" in opened) return opened;
      const cancelTimer = options.clock.after(timeoutMs, () => timeout.abort());
      const progress = { asked: false };
      try {
        return await converse(execution, opened, both, progress, options.clock);
      } catch (error) {
        if (signal.aborted) return failedRun("Cancelled", "the call was stopped", progress.asked);
        if (timeout.signal.aborted)
          return failedRun("Timeout", `the server did not answer within ${timeoutMs} ms`, progress.asked);
        return opened.failure(error, progress.asked);
      } finally {
        cancelTimer();
        if (both.aborted) opened.kill();
        over.abort();
      }
    },
  };
}

async function open(
  execution: ToolExecution<McpMeans>,
  options: McpToolOptions,
  signal: AbortSignal,
): Promise<Conversation | ToolRun> {
  const { server } = execution.means;
  const bytesMax = execution.resultBytesMax + ENVELOPE_BYTES;
  if (server.kind === "local") return openLocal(server, options, bytesMax, execution);
  if (!URL.canParse(server.url)) return failedRun("RequestInvalid", "the server's url is not a URL", false);
  const { allowPrivateNetwork } = server;
  const guarded = createGuardedFetch(options, { allowPrivateNetwork, bytesMax, signal, clock: options.clock });
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const transport = new StreamableHTTPClientTransport(new URL(server.url), {
    fetch: guarded.fetch,
    requestInit: { headers: { ...server.headers } },
    reconnectionOptions: {
      maxRetries: 0,
      initialReconnectionDelay: 1,
      maxReconnectionDelay: 1,
      reconnectionDelayGrowFactor: 1,
    },
  });
  return {
    transport: transport as Transport,
    kill: () => {},
    farewell: () => transport.terminateSession(),
    failure: (error, asked) => remoteFailure(error, guarded, { asked, bytesMax, redactor: execution.redactor }),
  };
}

function openLocal(
  server: Extract<McpMeans["server"], { kind: "local" }>,
  options: McpToolOptions,
  outputBytesMax: number,
  { redactor, output }: ToolExecution<McpMeans>,
): Conversation | ToolRun {
  const file = findCommand(server.argv[0] ?? "", options.commandPath);
  if (file === undefined) {
    const where = "neither an absolute path to an executable file nor found in the worker's ORLOJ_COMMAND_PATH";
    return failedRun("CommandNotFound", `the server's program is ${where}`, false);
  }
  const cwd = insideWorkDir(options.workDir, server.workDir);
  if (cwd === undefined || !statSync(cwd).isDirectory()) {
    return failedRun("WorkDirForbidden", "the work directory is missing or outside the worker's ORLOJ_WORK_DIR", false);
  }
  const env = { PATH: options.commandPath, ...server.env };
  const lines = output && new StderrLines(redactor, output);
  const transport = new McpProcess({
    file,
    args: server.argv.slice(1),
    cwd,
    env,
    outputBytesMax,
    stderrBytesMax: stderrBytesKept(redactor),
    ...(lines && { onStderr: (chunk: Buffer) => lines.take(chunk) }),
    clock: options.clock,
    memory: options.memory,
  });
  return {
    transport,
    kill: () => transport.kill(),
    farewell: () => {
      lines?.end();
      return Promise.resolve();
    },
    failure(error, asked) {
      if (transport.tooLarge)
        return failedRun("OutputTooLarge", `the server wrote more than ${outputBytesMax} bytes`, asked);
      if (transport.outOfMemory) {
        return failedRun("MemoryExceeded", "the server held more memory than this worker allows it", asked);
      }
      const rpc = rpcFailure(error, redactor);
      if (rpc !== undefined) return rpc;
      const said = printed(transport.stderr, redactor);
      const why = `the server ended before it answered${said === "" ? "" : `: ${said.slice(-MESSAGE_CHARACTERS_MAX)}`}`;
      return failedRun("ConnectionReset", why, asked);
    },
  };
}

async function converse(
  { means, timeoutMs, redactor }: ToolExecution<McpMeans>,
  { transport, farewell }: Conversation,
  signal: AbortSignal,
  progress: { asked: boolean },
  clock: Clock,
): Promise<ToolRun> {
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const client = new Client({ name: "orloj", version: "1" });
  const bounds = { signal, timeout: timeoutMs, maxTotalTimeout: timeoutMs };
  try {
    await client.connect(transport, bounds);
    signal.throwIfAborted();
    progress.asked = true;
    const _meta = { [REQUEST_ID_META]: means.requestId };
    const answer = await client.callTool({ name: means.tool, arguments: means.arguments, _meta }, undefined, bounds);
    return resultOf(answer as unknown as Json, redactor);
  } finally {
    // Ending never takes back what was answered.
    const waited = new AbortController();
    await Promise.race([farewell(), clock.sleep(FAREWELL_MS, waited.signal)]).catch(() => {});
    waited.abort();
    await client.close().catch(() => {});
  }
}

// structuredContent is a result as it is; text that is JSON is read, as that of commands and endpoints is.
function resultOf(answer: Json, redactor: Redactor): ToolRun {
  const content = isJsonObject(answer) && Array.isArray(answer["content"]) ? answer["content"] : [];
  const texts = content.filter(isText).map((block) => block.text);
  if (isJsonObject(answer) && answer["isError"] === true) {
    const said = quoted(texts.join(" "), redactor);
    return failedRun("McpError", `the server's tool failed${said === "" ? "" : `: ${said}`}`, false);
  }
  const structured = isJsonObject(answer) ? answer["structuredContent"] : undefined;
  if (structured !== undefined) return { ok: true, result: structured };
  if (texts.length !== content.length) return { ok: true, result: { content } };
  const text = texts.join("\n");
  if (/^\s*[[{]/.test(text)) {
    try {
      return { ok: true, result: parseJson(text) };
    } catch {
      // Text that only looks like JSON is handed on as text.
    }
  }
  return { ok: true, result: { text } };
}

// What a server says may hold the secrets that it was given: they are left out before the text is cut.
function quoted(text: string, redactor: Redactor): string {
  return redactor
    .text(text)
    .replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ")
    .slice(0, MESSAGE_CHARACTERS_MAX);
}

function isText(block: Json): block is { type: string; text: string } {
  return isJsonObject(block) && block["type"] === "text" && typeof block["text"] === "string";
}

// An error that the server wrote: its code is a JSON-RPC code, which the library passes on. -32000 and -32001 are the library's own.
function rpcFailure(error: unknown, redactor: Redactor): ToolRun | undefined {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code !== "number" || code > -32002) return undefined;
  const said = quoted(String(message), redactor);
  return failedRun("McpError", `the server refused the call: ${said}`, !NOT_RUN.has(code));
}

function remoteFailure(
  error: unknown,
  guarded: GuardedFetch,
  { asked, bytesMax, redactor }: { readonly asked: boolean; readonly bytesMax: number; readonly redactor: Redactor },
): ToolRun {
  const trouble = guarded.trouble();
  if (trouble.error instanceof Refused) return failedRun("AddressForbidden", trouble.error.message, false);
  if (trouble.error !== undefined) return classify(trouble.error, { sent: asked }, bytesMax);
  if (trouble.refusal?.ok === false) {
    const { failure } = trouble.refusal;
    return { ok: false, failure: { ...failure, ambiguous: failure.ambiguous && asked } };
  }
  return (
    rpcFailure(error, redactor) ??
    failedRun("ResponseInvalid", "the server's answer is not that of an MCP server", asked)
  );
}
