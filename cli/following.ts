// Follows a stream of the server until Ctrl-C: one that is lost is taken up again a moment later.
// Called by the verbs logs and audit.

import { SECOND } from "../kit/units.ts";
import { OrlojError } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { EXIT } from "./failure.ts";

const RESUME_MS = SECOND;
const RESUMES_MAX = 15;
// Answers of the server that another try would not change.
const EXIT_REASONS: ReadonlySet<string> = new Set([
  "CREDENTIALS_MISSING",
  "CREDENTIALS_INVALID",
  "PERMISSION_DENIED",
  "REQUEST_INVALID",
  "RUN_NOT_FOUND",
  "TASK_NOT_FOUND",
]);

/**
 * See the file header.
 *
 * @param open begins the stream where the last one stopped
 * @param whenEnded what the end of a stream means, if the server ends it: the end, or as much as a loss
 * @throws OrlojError that another try would not change, or after too many losses in a row
 */
export async function following<Item>(
  context: Context,
  open: (signal: AbortSignal) => AsyncIterable<Item>,
  show: (item: Item) => void,
  whenEnded: "return" | "resume",
): Promise<void> {
  await context.interruptible(async (signal) => {
    for (let failures = 0; !signal.aborted; ) {
      try {
        for await (const item of open(signal)) {
          failures = 0;
          show(item);
        }
        if (whenEnded === "return") return;
      } catch (error) {
        if (signal.aborted) break;
        const failure = OrlojError.from(error);
        failures += 1;
        if (EXIT_REASONS.has(failure.reason) || failures > RESUMES_MAX) throw failure;
      }
      await context.host.clock.sleep(RESUME_MS, signal);
    }
    context.exitCode = EXIT.interrupted;
  });
}
