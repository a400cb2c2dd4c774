// Reads what the database holds now, for monitoring: the numbers that are the same on every replica.
// Called by telemetry/metrics.ts through replica.ts, which decides how often.

import { type GaugeRow, readGauges as read } from "../storage/read_gauges.ts";
import type { CommandContext } from "./context.ts";

/** One statement. @throws STORAGE_UNAVAILABLE */
export function readGauges({ store }: Pick<CommandContext, "store">): Promise<GaugeRow[]> {
  return store.read(({ db }) => read(db));
}
