// Asks a run to stop. Returns as soon as that is recorded; live tasks have the template's grace.
// Called by rpc/workflow_service. A run that is stopping already stays as it is; the first cause wins.

import { DomainError } from "../../kit/errors.ts";
import { isTerminal, RUN_TRANSITIONS } from "../queue/states.ts";
import { type ReadContext, readRun } from "./read_runs.ts";
import type { CommandServices } from "./services.ts";
import type { Principal, RunView } from "./views.ts";

/** See the file header. @throws RUN_NOT_FOUND, RUN_FINISHED */
export async function cancelRun(
  context: ReadContext,
  services: CommandServices,
  principal: Principal,
  runId: string,
  reason: string,
): Promise<RunView> {
  const before = await readRun(context, runId);
  if (!isTerminal(RUN_TRANSITIONS, before.state)) {
    const message = reason === "" ? `cancelled by ${principal.id}` : `cancelled by ${principal.id}: ${reason}`;
    const failure = { class: "Cancelled", message };
    const verdict = await services.settle.add({
      type: "stop",
      runId,
      cause: "cancelled",
      failure,
      actor: principal.id,
    });
    if (verdict.verdict === "committed") return await readRun(context, runId);
  }
  const now = await readRun(context, runId);
  if (now.state === "CANCELLING") return now;
  throw new DomainError("RUN_FINISHED", `run ${runId} is already ${now.state}; a finished run cannot be cancelled`, {
    run: runId,
    state: now.state,
  });
}
