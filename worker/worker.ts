// Puts a worker together: session, agent runtimes, model adapters, tool executors.
// Called by index.ts (the library) with a clock and randomness, and so by main.ts.
// Decides nothing itself.

import type { Clock } from "../kit/clock.ts";
import { DomainError } from "../kit/errors.ts";
import { createIds } from "../kit/ids.ts";
import type { Random } from "../kit/random.ts";
import { Redactor } from "../kit/redactor.ts";
import { RELEASE } from "../kit/release.ts";
import { MIB, SECOND } from "../kit/units.ts";
import { openSpans } from "../tracing/otlp_sink.ts";
import type { TracingSettings } from "../tracing/settings.ts";
import { createRuntimes, type Runtime, type Runtimes } from "./agent/runtimes.ts";
import type { Handlers } from "./handler/context.ts";
import { handlerNames, handlerRuntime } from "./handler/handler_runtime.ts";
import { type Log, type LogLevel, redactingLog } from "./log.ts";
import { createModelAdapters } from "./model/registry.ts";
import { ClientTls, type ClientTlsFiles } from "./session/client_tls.ts";
import { CONNECTION_TIMES, Dialer, type DialerOptions } from "./session/dial.ts";
import { WorkerSession } from "./session/session.ts";
import { grpcStreams } from "./session/stream.ts";
import { WorkerTelemetry } from "./telemetry/worker_telemetry.ts";
import { ControlPlaneEndpoints } from "./tool/control_plane.ts";
import { createExecutors } from "./tool/registry.ts";

/** Default of WorkerOptions.toolMemoryBytes. */
export const TOOL_MEMORY_BYTES = 1_024 * MIB;
/** Default of WorkerOptions.handlerGraceMs; less than the shortest grace of a workflow. */
export const HANDLER_GRACE_MS = 2 * SECOND;
/** Default of WorkerOptions.drainWindowMs. */
export const DRAIN_WINDOW_MS = 20 * SECOND;

/** What a worker is made from. */
export interface WorkerOptions {
  /** Worker endpoints of the control plane, host:port; tried in turn, in an order by chance. */
  readonly endpoints: readonly string[];
  /** Proves that this worker may join, to a server on this machine; never logged. One of joinToken and tls is needed. */
  readonly joinToken?: string;
  /** Files by which this worker proves itself to a server anywhere, and the CAs of that server's certificate; changes are followed. */
  readonly tls?: ClientTlsFiles;
  /** HTTP proxy for endpoints beyond this machine, `http://[user:password@]host:port`; none by default. The password is never logged. */
  readonly proxy?: string;
  /** Hosts that are reached without the proxy: names (with what is below them), addresses, ranges, `*`; none by default. */
  readonly proxyExcept?: readonly string[];
  /** Name for people, 1 to 63 characters; with tls the one in the certificate. */
  readonly name: string;
  /** Tasks it runs at the same time, 1 to 1,000; 4 by default. */
  readonly slots?: number;
  /** Labels that agents' requirements select. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Agents as code, by the `handler.name` of their manifests; none by default. A worker is sent tasks of its own handlers only. */
  readonly handlers?: Handlers;
  /** Time that handler code has to end once its signal aborted, in ms; 2 s by default. Then it is left behind. */
  readonly handlerGraceMs?: number;
  /** Which other agents it runs: "model" (tools as nodes, too), "http", "command"; all by default, none if empty. */
  readonly runtimes?: readonly string[];
  /** CIDR ranges that tools and agents with allowPrivateNetwork may reach; none by default. */
  readonly privateNetworks?: readonly string[];
  /** Where the commands of tools and agents are looked for; /usr/local/bin:/usr/bin:/bin by default. */
  readonly commandPath?: string;
  /** Directory that the commands of tools and agents may work in; the process's own by default. */
  readonly workDir?: string;
  /** Memory that the processes of one tool call, or of one agent, may hold together, in bytes; 1 GiB by default. Kept on Linux. */
  readonly toolMemoryBytes?: number;
  /** Endpoint for agents of provider openai, and for openai-compatible ones without baseUrl; OpenAI's own API by default. */
  readonly openAiBaseUrl?: string;
  /** Key for that endpoint; never logged. */
  readonly openAiApiKey?: string;
  /** Endpoint for agents of provider anthropic; Anthropic's own API by default. */
  readonly anthropicBaseUrl?: string;
  /** Key for that endpoint; never logged. */
  readonly anthropicApiKey?: string;
  /** Time that tasks get to finish when the worker stops, in ms; 20 s by default. */
  readonly drainWindowMs?: number;
  /** Takes events; nothing is logged by default. Secrets of tasks are left out. */
  readonly log?: Log;
  /** Least level of the lines that each task keeps for those who look at its run, or "off"; "info" by default. */
  readonly taskLogs?: LogLevel | "off";
  /** Traces its tasks, as `workerOptions` reads it from the environment; nothing is traced by default. */
  readonly tracing?: TracingSettings;
  /** Called once, when the server has taken the worker in. */
  readonly onReady?: (sessionId: string) => void;
}

/** A worker. */
export interface Worker {
  /** Connects and works. Resolves when the server has taken the worker in; rejects with DomainError when it refuses. */
  start(): Promise<void>;
  /** Finishes politely: tasks end within the drain window or are given back. Resolves when disconnected. */
  stop(): Promise<void>;
  /** Ends at once, without a word to the server. */
  abort(): void;
  /** Settles when the worker has ended; rejects as start does. */
  readonly ended: Promise<void>;
}

/**
 * Puts a worker together; nothing runs before start().
 *
 * @param connections what tests change of how it connects: shorter times, addresses of names.
 * @throws DomainError CONFIG_INVALID for options that cannot work.
 */
export function assembleWorker(
  options: WorkerOptions,
  clock: Clock,
  random: Random,
  connections: Partial<Pick<DialerOptions, "times" | "lookUp">> = {},
): Worker {
  const slots = options.slots ?? 4;
  if (options.endpoints.length === 0) throw new DomainError("CONFIG_INVALID", "a worker needs at least one endpoint");
  if (!Number.isInteger(slots) || slots < 1 || slots > 1_000) {
    throw new DomainError("CONFIG_INVALID", `slots must be a whole number from 1 to 1,000, not ${slots}`);
  }
  const redactor = new Redactor();
  const { joinToken = "", openAiApiKey = "", anthropicApiKey = "" } = options;
  for (const own of [joinToken, openAiApiKey, anthropicApiKey]) redactor.learn(own);
  const { proxy, proxyExcept } = options;
  const dialer = new Dialer({
    ...{ clock, random, times: CONNECTION_TIMES, ...connections },
    ...(proxy !== undefined && { proxy }),
    ...(proxyExcept !== undefined && { proxyExcept }),
  });
  for (const own of dialer.secrets) redactor.learn(own);
  const models = createModelAdapters(clock, options);
  const controlPlane = new ControlPlaneEndpoints();
  if (dialer.proxy !== undefined) void controlPlane.learn([dialer.proxy.name], dialer.proxy.host);
  const { tools: executors, agents } = createExecutors(clock, {
    controlPlane,
    privateNetworks: options.privateNetworks ?? [],
    commandPath: options.commandPath ?? "/usr/local/bin:/usr/bin:/bin",
    workDir: options.workDir ?? process.cwd(),
    memoryBytes: options.toolMemoryBytes ?? TOOL_MEMORY_BYTES,
  });
  const ready = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  ended.promise.catch(() => {});
  ready.promise.catch(() => {});
  const log = redactingLog(options.log ?? (() => {}), redactor);
  const tls = options.tls && new ClientTls(options.tls, clock, log);
  if (tls === undefined && joinToken === "") {
    throw new DomainError("CONFIG_INVALID", "a worker needs a join token, or the files of a certificate (tls)");
  }
  if (tls !== undefined && tls.workerName !== options.name) {
    const message = `the name "${options.name}" is not the one in the certificate, "${tls.workerName}": leave it out, or use that`;
    throw new DomainError("CONFIG_INVALID", message);
  }
  const shared = { executors, clock, random, redactor };
  const { handlers = {}, handlerGraceMs: graceMs = HANDLER_GRACE_MS } = options;
  const names = handlerNames(handlers);
  const runtimes = new Map(chosen(createRuntimes({ ...shared, models, agents }), options.runtimes));
  if (names.length > 0) runtimes.set("handler", handlerRuntime({ ...shared, handlers, log, graceMs }));
  if (runtimes.size === 0)
    throw new DomainError("CONFIG_INVALID", "a worker without runtimes and without handlers runs nothing");
  const { tracing, taskLogs = "info" } = options;
  const telemetry = new WorkerTelemetry(
    { clock, random, redactor, worker: options.name, level: taskLogs === "off" ? undefined : taskLogs },
    tracing &&
      (() =>
        openSpans(tracing, {
          clock,
          onTrouble: (error, spans) => log("warn", "spans were not sent", { spans, error }),
        })),
  );
  let aborted = false;
  const session = new WorkerSession({
    endpoints: options.endpoints,
    openStream: grpcStreams(tls === undefined ? { joinToken } : { tls }, dialer),
    welcomeMs: dialer.options.times.welcomeMs,
    instanceId: createIds(clock, random).next("wrk"),
    name: options.name,
    labels: options.labels ?? {},
    slots,
    runtimes,
    handlers: names,
    version: RELEASE,
    onControlPlane: (told, endpoint) => void controlPlane.learn(told, endpoint.replace(/:\d+$/, "")),
    onReady: (sessionId) => {
      ready.resolve();
      options.onReady?.(sessionId);
    },
    clock,
    random,
    ...{ log, telemetry },
  });
  const run = async () => {
    await telemetry.start();
    const stopWatching = tls?.watch(() => session.moveOn());
    try {
      await session.run();
    } finally {
      stopWatching?.();
      if (!aborted) await telemetry.stop();
    }
  };
  return {
    start() {
      run().then(
        () => {
          ready.resolve();
          ended.resolve();
        },
        (error: unknown) => {
          ready.reject(error);
          ended.reject(error);
        },
      );
      return ready.promise;
    },
    stop: () => session.drain(options.drainWindowMs ?? DRAIN_WINDOW_MS),
    abort() {
      aborted = true;
      session.abort();
    },
    ended: ended.promise,
  };
}

function chosen(all: Runtimes, names: readonly string[] | undefined): [string, Runtime][] {
  for (const name of names ?? []) {
    if (all.has(name)) continue;
    const known = `known are ${[...all.keys()].join(", ")}`;
    const hint = name === "handler" ? "code is registered with the option `handlers`" : known;
    throw new DomainError("CONFIG_INVALID", `runtimes: "${name}" cannot be chosen; ${hint}`);
  }
  return [...all].filter(([name]) => names?.includes(name) ?? true);
}
