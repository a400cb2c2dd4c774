// What a process was told about tracing: ORLOJ_TRACING switches it on, the standard OTEL_ variables say the rest.
// Read by the configuration of the server and of the worker. Where spans go, with which headers and certificates, is read by the
// exporter itself from OTEL_EXPORTER_OTLP_…; what it could not do with what is set there is refused here.

import { DomainError } from "../kit/errors.ts";
import { SECOND } from "../kit/units.ts";

/** How a process traces. */
export interface TracingSettings {
  /** "orloj-server" or "orloj-worker" unless OTEL_SERVICE_NAME says another. */
  readonly serviceName: string;
  /** Further facts of the process: OTEL_RESOURCE_ATTRIBUTES. */
  readonly resource: Readonly<Record<string, string>>;
  /** Part of the runs that is recorded, 0 to 1. The server decides it when a run is made, and workers follow. */
  readonly ratio: number;
  /** Whether the sampled flag of a caller comes before that. */
  readonly followsCaller: boolean;
  /** Longest time that a span waits for others to be sent with, in ms. */
  readonly delayMs: number;
  /** Spans that wait at most; more are dropped. */
  readonly waitingMax: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

const DELAY_MS = 5 * SECOND;
const WAITING_MAX = 2_048;
const PAIR = /^\s*([^=\s]+)\s*=\s*(.*?)\s*$/;

/**
 * The settings; undefined while tracing is off, which it is unless ORLOJ_TRACING is `otlp`.
 *
 * @throws DomainError CONFIG_INVALID that names the variable and what it may be.
 */
export function readTracing(env: Environment, serviceName: string): TracingSettings | undefined {
  const mode = given(env, "ORLOJ_TRACING") ?? "off";
  if (mode !== "off" && mode !== "otlp") throw invalid(`ORLOJ_TRACING must be otlp or off, not "${mode}"`);
  if (mode === "off" || given(env, "OTEL_SDK_DISABLED")?.toLowerCase() === "true") return undefined;
  for (const name of ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"]) {
    const protocol = given(env, name) ?? "http/protobuf";
    if (protocol !== "http/protobuf") {
      throw invalid(
        `${name} is "${protocol}", and spans are sent by http/protobuf: leave it out, and name that port of the collector (4318)`,
      );
    }
  }
  for (const name of ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]) {
    const endpoint = given(env, name);
    if (endpoint !== undefined && !(/^https?:\/\//.test(endpoint) && URL.canParse(endpoint))) {
      throw invalid(`${name} is not an http or https address; write it as http://collector:4318`);
    }
  }
  return {
    serviceName: given(env, "OTEL_SERVICE_NAME") ?? serviceName,
    resource: resourceOf(given(env, "OTEL_RESOURCE_ATTRIBUTES")),
    ...samplerOf(env),
    delayMs: wholeOf(env, "OTEL_BSP_SCHEDULE_DELAY", DELAY_MS),
    waitingMax: wholeOf(env, "OTEL_BSP_MAX_QUEUE_SIZE", WAITING_MAX),
  };
}

function samplerOf(env: Environment): Pick<TracingSettings, "ratio" | "followsCaller"> {
  const sampler = given(env, "OTEL_TRACES_SAMPLER") ?? "parentbased_always_on";
  const followsCaller = sampler.startsWith("parentbased_");
  const own = sampler.replace("parentbased_", "");
  if (own === "always_on") return { ratio: 1, followsCaller };
  if (own === "always_off") return { ratio: 0, followsCaller };
  if (own !== "traceidratio") {
    const known = "always_on, always_off or traceidratio, alone or after parentbased_";
    throw invalid(`OTEL_TRACES_SAMPLER must be ${known}, not "${sampler}"`);
  }
  const text = given(env, "OTEL_TRACES_SAMPLER_ARG") ?? "1";
  const ratio = Number(text);
  if (!(ratio >= 0 && ratio <= 1)) throw invalid(`OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1, not "${text}"`);
  return { ratio, followsCaller };
}

// As the OpenTelemetry specification has it: key=value, separated by commas, values percent-encoded.
function resourceOf(text: string | undefined): Record<string, string> {
  const resource: Record<string, string> = {};
  for (const pair of (text ?? "").split(",").filter((each) => each.trim() !== "")) {
    const [, name, value] = PAIR.exec(pair) ?? [];
    if (name === undefined || value === undefined) {
      throw invalid(`OTEL_RESOURCE_ATTRIBUTES: "${pair}" is not of the form key=value`);
    }
    resource[name] = decoded(value);
  }
  return resource;
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw invalid(`OTEL_RESOURCE_ATTRIBUTES: "${value}" is not percent-encoded as it should be`);
  }
}

function wholeOf(env: Environment, name: string, otherwise: number): number {
  const text = given(env, name);
  if (text === undefined) return otherwise;
  const value = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (value < 1) throw invalid(`${name} must be a whole number from 1, not "${text}"`);
  return value;
}

// Empty is unset, as in a file of variables.
function given(env: Environment, name: string): string | undefined {
  const text = env[name]?.trim();
  return text === "" ? undefined : text;
}

function invalid(message: string): DomainError {
  return new DomainError("CONFIG_INVALID", message);
}
