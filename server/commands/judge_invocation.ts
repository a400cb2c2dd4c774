// Judges one invocation before anything of it is stored: its bundle, parameters, tags and input, and what policies say.
// Called by invoke.ts for each item of a batch, again if policies change meanwhile; so it has no effect but on caches.
// The bundle is that of the catalog revision of this moment.

import { DomainError } from "../../kit/errors.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { CommandContext } from "./context.ts";
import type { InvokeInput } from "./control_plane.ts";
import type { Moment } from "./decide_live.ts";
import { type Decided, decideSubject } from "./decisions.ts";
import { type PreparedInvocation, prepareInvocation } from "./prepare_invocation.ts";
import type { Principal } from "./views.ts";

/** One invocation with its asker. */
export interface InvokeItem {
  readonly principal: Principal;
  readonly input: InvokeInput;
}

/** An invocation that may become a run, or why it cannot. */
export type JudgedInvocation =
  | { readonly ok: true; readonly runId: string; readonly prepared: PreparedInvocation; readonly decided: Decided }
  | { readonly ok: false; readonly error: DomainError };

/** See the file header. @throws DomainError STORAGE_UNAVAILABLE; what else is wrong is in the result */
export async function judgeInvocation(
  tx: StoreQueries,
  context: CommandContext,
  { principal, input }: InvokeItem,
  { catalog, live, now }: Moment,
): Promise<JudgedInvocation> {
  try {
    const bundle = await context.caches.workflow(tx, catalog, input.namespace, input.workflow);
    const prepared = prepareInvocation(bundle, principal, input);
    const runId = context.ids.next("run");
    const { tags, metadata } = prepared;
    const decided = decideSubject({
      ...{ checkpoint: "workflow.run", live, bundle, runId, requester: principal, tags, metadata, now },
    });
    return { ok: true, runId, prepared, decided };
  } catch (error) {
    if (!(error instanceof DomainError) || error.reason === "STORAGE_UNAVAILABLE") throw error;
    return { ok: false, error };
  }
}
