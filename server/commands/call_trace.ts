// The trace id of a call, for the records that it causes and that belong to no run.
// Called by the commands that change manifests, steer workers, and read the trail.

import type { Principal } from "./views.ts";

/** A member of an audit event; nothing for a call outside of any trace. */
export function callTrace({ traceId }: Principal): { readonly traceId?: string } {
  return traceId === undefined ? {} : { traceId };
}
