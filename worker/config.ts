// Reads a worker's configuration: flags first, then the environment, then the file that the server wrote into ORLOJ_HOME.
// Called by main.ts alone. Everything is checked here, so that a mistake is one clear message at the start.
// Never prints the join token or a key.

import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "../kit/clock.ts";
import { unknownConfigNames } from "../kit/config_names.ts";
import { DomainError, messageOf } from "../kit/errors.ts";
import { isJsonObject } from "../kit/json.ts";
import { WORKER_NAME } from "../kit/spiffe.ts";
import { MIB, parseDuration } from "../kit/units.ts";
import { readTracing } from "../tracing/settings.ts";
import { LOG_LEVELS, type LogLevel } from "./log.ts";
import type { ModelOptions } from "./model/registry.ts";
import { ClientTls, type ClientTlsFiles } from "./session/client_tls.ts";
import { proxyOf } from "./session/proxy.ts";
import { DRAIN_WINDOW_MS, type WorkerOptions } from "./worker.ts";

/** Worker endpoint when nothing names one. */
export const DEFAULT_ENDPOINT = "127.0.0.1:7602";

/** The environment, as it comes in. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A worker's configuration. */
export interface WorkerConfig {
  readonly help: boolean;
  readonly worker: WorkerOptions;
  readonly logLevel: LogLevel;
  readonly logFormat: "json" | "text";
}

/** What `orloj worker --help` prints. */
export const WORKER_HELP = `Usage: orloj worker [options]

Runs agents for a control plane until it is told to stop.

Options:
  --server HOST:PORT[,…]   worker endpoints of the control plane (ORLOJ_WORKER_ENDPOINTS; default ${DEFAULT_ENDPOINT})
  --name NAME              name for people (ORLOJ_WORKER_NAME; default: that in the certificate, else host name and process id)
  --slots N                tasks at the same time, 1 to 1000 (ORLOJ_WORKER_SLOTS; default 4)
  --label KEY=VALUE        label that agents' requirements select; may be repeated
  --ca FILE                CAs of the server's certificate, for a server beyond this machine (ORLOJ_WORKER_CA)
  --cert FILE              this worker's certificate, which names it (ORLOJ_WORKER_CERT)
  --key FILE               its key (ORLOJ_WORKER_KEY); --ca, --cert and --key belong together, and no join token is needed then
  --token TOKEN            join token; prefer ORLOJ_JOIN_TOKEN, which does not show in the process list
  --drain-window DURATION  time that tasks get to finish at the end (ORLOJ_DRAIN_WINDOW; default 20s)
  --help                   this text

Environment:
  ORLOJ_HOME               directory whose config.json names join token and endpoint (default .orloj)
  ORLOJ_WORKER_PROXY       HTTP proxy to the control plane, http://[user:password@]host:port, or none
                           (default: what https_proxy and no_proxy say)
  ORLOJ_PRIVATE_NETWORKS   address ranges that tools and agents may reach although they are private, such as 10.1.0.0/16,127.0.0.0/8
  ORLOJ_COMMAND_PATH       where programs of tools and agents are looked for (default /usr/local/bin:/usr/bin:/bin)
  ORLOJ_TOOL_MEMORY_MIB    memory that the processes of one tool call or agent may hold together (default 1024; kept on Linux)
  ORLOJ_WORK_DIR           directory that programs may work in (default: the current one)
  ORLOJ_OPENAI_BASE_URL    endpoint of provider openai instead of OpenAI's own (or OPENAI_BASE_URL), with OPENAI_API_KEY
  ORLOJ_ANTHROPIC_BASE_URL endpoint of provider anthropic instead of Anthropic's own (or ANTHROPIC_BASE_URL), with ANTHROPIC_API_KEY
  ORLOJ_LOG_LEVEL          debug, info, warn or error (default info)
  ORLOJ_LOG_FORMAT         json or text (default text)
  ORLOJ_TASK_LOGS          least level of the lines that tasks keep for orloj logs: debug, info, warn, error, or off (default info)
  ORLOJ_TRACING            otlp sends traces to OTEL_EXPORTER_OTLP_ENDPOINT (default off)

Examples:
  orloj worker
  orloj worker --name gpu-1 --slots 8 --label region=eu
`;

/**
 * The configuration.
 *
 * @throws DomainError CONFIG_INVALID that says what to change.
 */
export function readConfig(argv: readonly string[], env: Environment): WorkerConfig {
  const tracing = readTracing(env, "orloj-worker");
  const unknown = unknownConfigNames(env);
  if (unknown.length > 0) throw invalid(`unknown environment variable ${unknown.join(", ")}; check the spelling`);
  const flags = readFlags(argv);
  const file = readHome(env.ORLOJ_HOME ?? ".orloj");
  const endpoints = list(flags.server ?? env.ORLOJ_WORKER_ENDPOINTS ?? file.workerEndpoint ?? DEFAULT_ENDPOINT);
  for (const endpoint of endpoints)
    if (!/^(\[[0-9a-fA-F:.]+\]|[^:\s/]+):\d{1,5}$/.test(endpoint)) {
      throw invalid(`"${endpoint}" is not an endpoint; write it as host:port`);
    }
  const tls = tlsOf(flags, env);
  const joinToken = tls === undefined ? (flags.token ?? env.ORLOJ_JOIN_TOKEN ?? file.joinToken ?? "") : "";
  if (tls === undefined && joinToken === "" && flags.help !== true) {
    throw invalid(
      "there is no join token and no certificate; start the server first (orloj server) and the worker in the same folder, set ORLOJ_JOIN_TOKEN, or give --ca, --cert and --key",
    );
  }
  const certified = tls && flags.help !== true ? new ClientTls(tls, systemClock()).workerName : undefined;
  const name = flags.name ?? env.ORLOJ_WORKER_NAME ?? certified ?? `${hostname()}-${process.pid}`.slice(-63);
  if (!WORKER_NAME.test(name)) {
    throw invalid(`"${name}" is not a worker name; use 1 to 63 letters, digits, dots and hyphens`);
  }
  return {
    help: flags.help === true,
    logLevel: oneOf("ORLOJ_LOG_LEVEL", env.ORLOJ_LOG_LEVEL ?? "info", LOG_LEVELS),
    logFormat: oneOf("ORLOJ_LOG_FORMAT", env.ORLOJ_LOG_FORMAT ?? "text", ["json", "text"] as const),
    worker: {
      endpoints,
      ...(tls === undefined ? { joinToken } : { tls }),
      name,
      slots: slotsOf(flags.slots ?? env.ORLOJ_WORKER_SLOTS),
      labels: labelsOf(flags.label ?? []),
      privateNetworks: list(env.ORLOJ_PRIVATE_NETWORKS ?? ""),
      ...proxyOf(env, endpoints),
      drainWindowMs: drainWindowOf(flags["drain-window"] ?? env.ORLOJ_DRAIN_WINDOW),
      ...(env.ORLOJ_COMMAND_PATH === undefined ? {} : { commandPath: env.ORLOJ_COMMAND_PATH }),
      ...(env.ORLOJ_WORK_DIR === undefined ? {} : { workDir: env.ORLOJ_WORK_DIR }),
      ...(env.ORLOJ_TOOL_MEMORY_MIB === undefined ? {} : { toolMemoryBytes: memoryOf(env.ORLOJ_TOOL_MEMORY_MIB) }),
      ...modelsOf(env),
      taskLogs: oneOf("ORLOJ_TASK_LOGS", env.ORLOJ_TASK_LOGS ?? "info", ["off", ...LOG_LEVELS] as const),
      ...(tracing && { tracing }),
    },
  };
}

// All three or none: a certificate without the CAs of the server would be shown to anybody who answers.
function tlsOf(flags: ReturnType<typeof readFlags>, env: Environment): ClientTlsFiles | undefined {
  const files = {
    ca: flags.ca ?? env.ORLOJ_WORKER_CA ?? "",
    cert: flags.cert ?? env.ORLOJ_WORKER_CERT ?? "",
    key: flags.key ?? env.ORLOJ_WORKER_KEY ?? "",
  };
  const missing = Object.entries(files).filter(([, file]) => file === "");
  if (missing.length === 3) return undefined;
  if (missing.length === 0) return files;
  const names = missing.map(([name]) => `--${name} (ORLOJ_WORKER_${name.toUpperCase()})`);
  throw invalid(`--ca, --cert and --key belong together: ${names.join(" and ")} missing`);
}

function modelsOf(env: Environment): ModelOptions {
  const openAiBaseUrl = urlOf("ORLOJ_OPENAI_BASE_URL", env.ORLOJ_OPENAI_BASE_URL ?? env.OPENAI_BASE_URL);
  const anthropicBaseUrl = urlOf("ORLOJ_ANTHROPIC_BASE_URL", env.ORLOJ_ANTHROPIC_BASE_URL ?? env.ANTHROPIC_BASE_URL);
  return {
    ...(openAiBaseUrl === undefined ? {} : { openAiBaseUrl }),
    ...(env.OPENAI_API_KEY === undefined ? {} : { openAiApiKey: env.OPENAI_API_KEY }),
    ...(anthropicBaseUrl === undefined ? {} : { anthropicBaseUrl }),
    ...(env.ANTHROPIC_API_KEY === undefined ? {} : { anthropicApiKey: env.ANTHROPIC_API_KEY }),
  };
}

// Empty is unset, as in a file of variables. What it holds is not quoted: it may carry a password.
function urlOf(name: string, text: string | undefined): string | undefined {
  if (text === undefined || text === "") return undefined;
  if (/^https?:\/\//.test(text) && URL.canParse(text)) return text;
  throw invalid(`${name} is not an http or https address; write it as https://host/path`);
}

function readFlags(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        server: { type: "string" },
        name: { type: "string" },
        slots: { type: "string" },
        label: { type: "string", multiple: true },
        token: { type: "string" },
        ca: { type: "string" },
        cert: { type: "string" },
        key: { type: "string" },
        "drain-window": { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (error) {
    throw invalid(`${messageOf(error)}; see orloj worker --help`);
  }
}

function readHome(home: string): { joinToken?: string; workerEndpoint?: string } {
  const path = join(home, "config.json");
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return {};
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid(`${path} is not JSON; remove it and start the server again`);
  }
  if (!isJsonObject(value)) throw invalid(`${path} is not a JSON object; remove it and start the server again`);
  return {
    ...(typeof value.joinToken === "string" ? { joinToken: value.joinToken } : {}),
    ...(typeof value.workerEndpoint === "string" ? { workerEndpoint: value.workerEndpoint } : {}),
  };
}

function slotsOf(text: string | undefined): number {
  if (text === undefined) return 4;
  const slots = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (slots < 1 || slots > 1_000) throw invalid(`slots must be a whole number from 1 to 1000, not "${text}"`);
  return slots;
}

function memoryOf(text: string): number {
  const mebibytes = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (mebibytes < 16) throw invalid(`ORLOJ_TOOL_MEMORY_MIB must be a whole number from 16, not "${text}"`);
  return mebibytes * MIB;
}

function drainWindowOf(text: string | undefined): number {
  if (text === undefined) return DRAIN_WINDOW_MS;
  const windowMs = parseDuration(text);
  if (windowMs === undefined) throw invalid(`"${text}" is not a duration; write it as 20s or 2m`);
  return windowMs;
}

function labelsOf(pairs: readonly string[]): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const pair of pairs) {
    const equals = pair.indexOf("=");
    if (equals < 1) throw invalid(`"${pair}" is not a label; write it as key=value`);
    labels[pair.slice(0, equals)] = pair.slice(equals + 1);
  }
  return labels;
}

function list(text: string): string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

function oneOf<const Value extends string>(name: string, text: string, values: readonly Value[]): Value {
  const value = values.find((candidate) => candidate === text);
  if (value === undefined) throw invalid(`${name} must be one of ${values.join(", ")}, not "${text}"`);
  return value;
}

function invalid(message: string): DomainError {
  return new DomainError("CONFIG_INVALID", message);
}
