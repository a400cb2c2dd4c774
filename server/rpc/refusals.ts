// Tells the control plane of a refused call, with the listener and the address that it came from.
// Called by the gate before a call, by the failure interceptor for what a command refused, and for the items of a batch.

import type { ContextValues } from "@connectrpc/connect";
import { DomainError } from "../../kit/errors.ts";
import type { ControlPlane } from "../commands/control_plane.ts";
import type { Refusal } from "../commands/record_refusal.ts";
import { peerKey, principalKey } from "./call_context.ts";

type Recorder = Pick<ControlPlane, "recordRefusal">;

/** Records a refusal; never throws. */
export async function recordRefusal(
  controlPlane: Recorder,
  context: { readonly values: ContextValues },
  refusal: Omit<Refusal, "listener" | "peer">,
): Promise<void> {
  const { address, listener } = context.values.get(peerKey);
  await controlPlane.recordRefusal({ ...refusal, listener, peer: address });
}

/** Records an error that is a missing right, which a command found out; any other error is none of the trail's business. */
export async function recordIfDenied(
  controlPlane: Recorder,
  context: { readonly values: ContextValues },
  method: string,
  error: unknown,
): Promise<void> {
  if (!(error instanceof DomainError) || error.reason !== "PERMISSION_DENIED") return;
  const principal = context.values.get(principalKey);
  const { namespace } = error.metadata;
  await recordRefusal(controlPlane, context, {
    ...{ method, reason: error.reason },
    ...(principal && { principal }),
    ...(namespace !== undefined && { namespace }),
  });
}
