// The gate before every call: who asks, and may they? Runs on the headers, before a byte of the request is read.
// Wired by rpc_handler.ts as Connect's request gate; puts the principal under principalKey for the handlers.
// Never says why a token is wrong, never logs one, and answers every refusal before existence is revealed.

import type { HandlerContext } from "@connectrpc/connect";
import { DomainError, type Reason } from "../../kit/errors.ts";
import type { ControlPlane } from "../commands/control_plane.ts";
import type { Principal } from "../commands/views.ts";
import type { Logger } from "../telemetry/log.ts";
import { peerKey, principalKey } from "./call_context.ts";
import { reportFailure } from "./failures.ts";
import { accessOf, mayCall, methodName } from "./rights.ts";

const TOKEN_CHARS_MAX = 4_096;
const REFLECTION = /^grpc\.reflection\.v1(alpha)?\.ServerReflection\//;

/** What the gate needs. */
export interface GateOptions {
  readonly controlPlane: Pick<ControlPlane, "authenticate" | "recordRefusal">;
  readonly log: Logger;
  /** Reflection without credentials. */
  readonly reflectionOpen: boolean;
  /** Aborted at stop: calls that begin after it are turned away with its reason. */
  readonly shutdown: AbortSignal;
}

/**
 * The gate of a listener.
 *
 * Refuses with Unauthenticated (CREDENTIALS_MISSING, CREDENTIALS_INVALID) or PermissionDenied (PERMISSION_DENIED); both are
 * recorded before they are answered. While storage is away nobody is let in (STORAGE_UNAVAILABLE).
 */
export function createGate(options: GateOptions): (context: HandlerContext) => Promise<void> {
  return async (context) => {
    try {
      const method = methodName(context.method);
      const open = accessOf(method) === "open" || (options.reflectionOpen && REFLECTION.test(method));
      if (!open) context.values.set(principalKey, await admit(options, method, context));
      if (accessOf(method) !== "open") options.shutdown.throwIfAborted();
    } catch (error) {
      throw reportFailure(options.log, context.method, error);
    }
  };
}

async function admit(options: GateOptions, method: string, context: HandlerContext): Promise<Principal> {
  const refuse = async (reason: Reason, message: string, principal?: Principal): Promise<never> => {
    const peer = context.values.get(peerKey).address;
    await options.controlPlane.recordRefusal({ method, reason, peer, ...(principal && { principal }) });
    throw new DomainError(reason, message, { method });
  };
  const header = context.requestHeader.get("authorization");
  if (header === null) {
    return refuse(
      "CREDENTIALS_MISSING",
      "this call carries no credentials: send the header authorization: Bearer TOKEN",
    );
  }
  const token = /^bearer +([\x21-\x7e]+) *$/i.exec(header)?.[1];
  const principal =
    token === undefined || token.length > TOKEN_CHARS_MAX ? undefined : await options.controlPlane.authenticate(token);
  if (principal === undefined) {
    return refuse(
      "CREDENTIALS_INVALID",
      "the credentials are not valid here: check the bearer token and the server it is for",
    );
  }
  if (!mayCall(principal, method)) {
    const roles = principal.roles.join(", ") || "no role";
    return refuse(
      "PERMISSION_DENIED",
      `${principal.id} (${roles}) may not call ${method}: ask for a role that may`,
      principal,
    );
  }
  return principal;
}
