// Talks to a model's endpoint: sends one request, reads its answer within bounds, and puts a refusal into a class.
// Called by the adapters that reach a network. Never follows a redirect, which would carry the key elsewhere; never retries.
// Of a refused request nothing is quoted but the provider's message, which may echo the key: the caller leaves that out and cuts it.

import type { Clock } from "../../kit/clock.ts";
import { isJsonObject, type JsonObject } from "../../kit/json.ts";
import { MIB } from "../../kit/units.ts";
import { retryAfterMs } from "../tool/retry_after.ts";
import { ModelError } from "./adapter.ts";

/** Largest answer of a provider that is read, in bytes. */
const ANSWER_BYTES_MAX = 8 * MIB;
const TOO_LONG =
  /prompt is too long|context[ _](?:length|window)|maximum context|too many (?:input )?tokens|input is too long/i;
const NO_QUOTA = /insufficient_quota|billing|credit balance/i;

/** One request to a model. */
export interface EndpointRequest {
  readonly url: string;
  /** Of the API; they win over those of the agent. */
  readonly headers: Readonly<Record<string, string>>;
  /** Of the agent. */
  readonly more: Readonly<Record<string, string>>;
  readonly body: JsonObject;
  readonly signal: AbortSignal;
}

/**
 * Sends a request and returns its accepted answer, whose body is still to be read.
 *
 * @throws ModelError with the class of a refusal, or ModelUnavailable when nobody answers.
 */
export async function askEndpoint(request: EndpointRequest, clock: Clock): Promise<Response> {
  let response: Response;
  try {
    const headers = new Headers(request.more);
    headers.set("content-type", "application/json");
    for (const [name, value] of Object.entries(request.headers)) headers.set(name, value);
    response = await fetch(request.url, {
      method: "POST",
      headers,
      body: JSON.stringify(request.body),
      signal: request.signal,
      redirect: "error",
    });
  } catch {
    throw new ModelError("ModelUnavailable", "the model's endpoint cannot be reached");
  }
  if (response.ok) return response;
  const text = await readText(response, request.signal);
  const wait =
    milliseconds(response.headers.get("retry-after-ms")) ??
    retryAfterMs(response.headers.get("retry-after"), clock.now());
  throw refusal(response.status, errorOf(text), wait);
}

// What OpenAI sends beside the header of RFC 9110, and more exactly.
function milliseconds(header: string | null): number | undefined {
  return header !== null && /^\d{1,8}$/.test(header) ? Number(header) : undefined;
}

/** The chunks of a body, at most ANSWER_BYTES_MAX of them. @throws ModelError */
export async function* readChunks(response: Response, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  try {
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length;
      if (bytes > ANSWER_BYTES_MAX) break;
      yield chunk;
    }
  } catch {
    throw new ModelError("ModelUnavailable", signal.aborted ? "the call was stopped" : "the model's answer broke off");
  }
  if (bytes > ANSWER_BYTES_MAX) throw new ModelError("ModelProtocol", "the model's answer is too large to be read");
}

/** A whole body as text. @throws ModelError */
export async function readText(response: Response, signal: AbortSignal): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readChunks(response, signal)) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

/** What a provider says about an error. */
export interface ProviderError {
  /** Its code and type, as one text; "" if it names none. */
  readonly code: string;
  readonly message: string;
}

/** The error in an answer's text. */
export function errorOf(text: string): ProviderError {
  try {
    return providerError(JSON.parse(text));
  } catch {
    return { code: "", message: "" };
  }
}

/** The error in {error: {code, type, message}}, which all providers send. */
export function providerError(body: unknown): ProviderError {
  const error = isJsonObject(body) && isJsonObject(body.error) ? body.error : {};
  const code = [error.code, error.type].filter((part) => typeof part === "string").join(" ");
  const message = typeof error.message === "string" ? error.message : "";
  return { code, message };
}

function refusal(status: number, error: ProviderError, waitMs: number | undefined): ModelError {
  const { message } = error;
  const said = `the model's endpoint answered ${status}${message === "" ? "" : `: ${message}`}`;
  if (status === 429 && NO_QUOTA.test(error.code)) return new ModelError("ModelAuth", said);
  if (status === 429) return new ModelError("RateLimited", said, waitMs);
  if (status === 401 || status === 403) {
    const where = "check the key of the agent's secretRef, or the worker's own";
    return new ModelError("ModelAuth", `the model's endpoint answered ${status}; ${where}`);
  }
  if (status === 413 || (status === 400 && TOO_LONG.test(`${error.code} ${message}`))) {
    return new ModelError("ContextTooLong", said);
  }
  if (status >= 500 || status === 408) return new ModelError("ModelUnavailable", said, waitMs);
  return new ModelError("ModelRefused", said);
}

/** The class of an error that comes in the middle of a streamed answer, after status 200. */
export function streamedError({ code, message }: ProviderError): ModelError {
  const said = `the model's answer ended with an error${message === "" ? "" : `: ${message}`}`;
  return new ModelError(/rate_limit/.test(code) ? "RateLimited" : "ModelUnavailable", said);
}
