// The gate before every call: who asks, and may they? Runs on the headers, before a byte of the request is read.
// Wired by rpc_handler.ts as Connect's request gate; puts the principal, and the use cases as far as its rights reach, into the call.
// Never says why credentials are wrong, never logs them, and answers every refusal before existence is revealed.
//
// A stream: admitted → looked at again every RECHECK_MS → told and ended when its credentials or rights are gone.

import type { HandlerContext } from "@connectrpc/connect";
import type { Clock } from "../../kit/clock.ts";
import { DomainError, type Reason } from "../../kit/errors.ts";
import { SECOND } from "../../kit/units.ts";
import type { Credentials } from "../commands/authenticate.ts";
import type { ControlPlane } from "../commands/control_plane.ts";
import type { Principal } from "../commands/views.ts";
import type { Logger } from "../telemetry/log.ts";
import { endedKey, hangUpKey, peerKey, planeKey, principalKey } from "./call_context.ts";
import type { CallerRates } from "./caller_rates.ts";
import type { FailedAttempts } from "./failed_attempts.ts";
import { reportFailure } from "./failures.ts";
import { Rechecks } from "./rechecks.ts";
import { recordRefusal } from "./refusals.ts";
import { accessOf, mayCall, methodName, scopeOfMethod } from "./rights.ts";
import { planeWithin } from "./scoped_plane.ts";

const BEARER_CHARS_MAX = 8_192;
const REFLECTION = /^grpc\.reflection\.v1(alpha)?\.ServerReflection\//;

/** How often the credentials of an open stream are looked at again, in ms: what was revoked or has expired ends within this time. */
export const RECHECK_MS = 10 * SECOND;
/** Time that a stream whose credentials are gone has to tell its peer so, in ms. */
const LAST_WORD_MS = 1 * SECOND;

/** What the gate needs. */
export interface GateOptions {
  readonly controlPlane: ControlPlane;
  readonly clock: Clock;
  readonly log: Logger;
  readonly attempts: FailedAttempts;
  readonly rates: CallerRates;
  /** Reflection without credentials. */
  readonly reflectionOpen: boolean;
  /** Aborted at stop: calls that begin after it are turned away with its reason. */
  readonly shutdown: AbortSignal;
}

/**
 * The gate of a listener.
 *
 * Refuses with Unauthenticated (CREDENTIALS_MISSING, CREDENTIALS_INVALID), PermissionDenied (PERMISSION_DENIED) or, for an address that
 * failed too often and a caller that calls too often, ResourceExhausted (TOO_MANY); all are recorded before they are answered. While storage or the keys of an issuer
 * are away nobody who needs them is let in (STORAGE_UNAVAILABLE, IDENTITY_UNAVAILABLE).
 */
export function createGate(options: GateOptions): (context: HandlerContext) => Promise<void> {
  const gate = { ...options, rechecks: new Rechecks(options.clock, RECHECK_MS) };
  return async (context) => {
    try {
      const method = methodName(context.method);
      const open = accessOf(method) === "open" || (options.reflectionOpen && REFLECTION.test(method));
      if (!open) await admit(gate, method, context);
      if (accessOf(method) !== "open") options.shutdown.throwIfAborted();
    } catch (error) {
      throw reportFailure(options.log, context.method, error);
    }
  };
}

interface WatchingGate extends GateOptions {
  readonly rechecks: Rechecks;
}

async function admit(options: WatchingGate, method: string, context: HandlerContext): Promise<void> {
  const { controlPlane } = options;
  const credentials = credentialsOf(context);
  const principal = await authenticated(options, method, context, credentials);
  await requirePace(options, method, context, principal);
  if (!mayCall(principal, method)) {
    const roles = [...principal.roles, ...(principal.grants ?? []).map(({ right }) => right)].join(", ") || "no role";
    const message = `${principal.id} (${roles}) may not call ${method}: ask for a role that may`;
    await recordRefusal(controlPlane, context, { method, reason: "PERMISSION_DENIED", principal });
    throw new DomainError("PERMISSION_DENIED", message, { method });
  }
  const scope = scopeOfMethod(principal, method);
  const onCrossing = (namespace: string) =>
    recordRefusal(controlPlane, context, { method, reason: "PERMISSION_DENIED", principal, namespace });
  context.values.set(principalKey, principal);
  context.values.set(planeKey, planeWithin(controlPlane, scope, onCrossing));
  if (context.method.methodKind !== "unary") watchOver(options, method, context, { credentials, principal });
}

async function authenticated(
  { controlPlane, attempts }: GateOptions,
  method: string,
  context: HandlerContext,
  credentials: Credentials,
): Promise<Principal> {
  const refuse = async (reason: Reason, message: string, recorded: string = reason): Promise<never> => {
    await recordRefusal(controlPlane, context, { method, reason: recorded });
    throw new DomainError(reason, message, { method });
  };
  const { address } = context.values.get(peerKey);
  const { certificate, bearer } = credentials;
  if (certificate === undefined && !context.requestHeader.has("authorization")) {
    const how = "send the header authorization: Bearer TOKEN, or connect with a client certificate";
    return refuse("CREDENTIALS_MISSING", `this call carries no credentials: ${how}`);
  }
  const tried = bearer ?? certificate?.certificate.fingerprint256 ?? "";
  if (!attempts.mayTry(address, tried)) {
    return refuse("TOO_MANY", "too many calls from this address had wrong credentials: try again later");
  }
  const usable = certificate !== undefined || bearer !== undefined;
  const principal = usable ? await controlPlane.authenticate(credentials) : undefined;
  if (principal === undefined) {
    attempts.failed(address, tried);
    const what = "check the bearer token or client certificate and the server it is for";
    const recorded = controlPlane.refusalReason(credentials);
    return refuse("CREDENTIALS_INVALID", `the credentials are not valid here: ${what}`, recorded);
  }
  attempts.succeeded(tried);
  return principal;
}

// Recorded like what strangers do: together, once a minute. A record for each call would be the flood again.
async function requirePace(
  { controlPlane, rates }: GateOptions,
  method: string,
  context: HandlerContext,
  principal: Principal,
): Promise<void> {
  try {
    rates.take(principal);
  } catch (error) {
    await recordRefusal(controlPlane, context, { method, reason: "TOO_MANY" });
    throw error;
  }
}

function credentialsOf(context: HandlerContext): Credentials {
  const { certificate, loopback, listener } = context.values.get(peerKey);
  const bearer = /^bearer +([\x21-\x7e]+) *$/i.exec(context.requestHeader.get("authorization") ?? "")?.[1];
  return {
    ...{ loopback, listener },
    ...(certificate && { certificate }),
    ...(bearer !== undefined && bearer.length <= BEARER_CHARS_MAX && { bearer }),
  };
}

// A revoked token or certificate, an expired one, a right that was taken away: none outlives its stream for long. While nobody can tell, the
// stream goes on: it was admitted, and everything that it changes is checked by itself.
function watchOver(
  { controlPlane, clock, log, rechecks }: WatchingGate,
  method: string,
  context: HandlerContext,
  { credentials, principal }: { readonly credentials: Credentials; readonly principal: Principal },
): void {
  const { signal, values } = context;
  let cancel: () => void = () => undefined;
  const stop = rechecks.add(async () => {
    const found = await controlPlane.authenticate(credentials).catch(() => "unknown" as const);
    if (signal.aborted) return;
    if (found === "unknown" || (found !== undefined && mayCall(found, method))) return;
    stop();
    const reason = found === undefined ? controlPlane.refusalReason(credentials) : "PERMISSION_DENIED";
    log.info("rpc.credentials_ended", { method, peer: values.get(peerKey).name, principal: principal.id, reason });
    await recordRefusal(controlPlane, context, { method, reason, principal });
    if (signal.aborted) return;
    // Streams of workers end by themselves, with the reason; of the others the peer has enough when it is cut off.
    if (context.method.methodKind !== "bidi_streaming") return values.get(hangUpKey)();
    cancel = clock.after(LAST_WORD_MS, values.get(hangUpKey));
    const message = "the credentials of this stream are not valid any more, or its rights are gone: it ends";
    values.get(endedKey).abort(new DomainError("CREDENTIALS_INVALID", message, { method }));
  });
  const onEnd = () => {
    stop();
    cancel();
  };
  signal.addEventListener("abort", onEnd, { once: true });
}
