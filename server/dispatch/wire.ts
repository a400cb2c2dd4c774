// Conversions between wire types and plain values: durations, frames, verdicts.
// Called by every file of this room that speaks to a worker. Decides nothing.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";
import { FactVerdict, type SessionResponse, SessionResponseSchema } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { SettleVerdict } from "../commands/settle_items.ts";

/** A duration of whole milliseconds. */
export function durationOf(ms: number): Duration {
  const seconds = Math.floor(ms / 1_000);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1_000) * 1_000_000) });
}

/** Milliseconds of a duration; 0 if absent. */
export function durationMs(duration: Duration | undefined): number {
  return duration === undefined ? 0 : Number(duration.seconds) * 1_000 + Math.round(duration.nanos / 1_000_000);
}

/** A frame for a worker. */
export function frameOf(frame: NonNullable<MessageInitShape<typeof SessionResponseSchema>["frame"]>): SessionResponse {
  return create(SessionResponseSchema, { frame });
}

const VERDICTS = {
  committed: FactVerdict.COMMITTED,
  duplicate: FactVerdict.DUPLICATE,
  lease_lost: FactVerdict.LEASE_LOST,
  refused: FactVerdict.REFUSED,
  failed: FactVerdict.REFUSED,
} as const;

/** A verdict as it travels. */
export function wireVerdict(verdict: SettleVerdict): { verdict: FactVerdict; error: string } {
  const { verdict: name } = verdict;
  const error = name === "refused" ? verdict.error : name === "failed" ? verdict.error.message : "";
  return { verdict: VERDICTS[name], error };
}

/** Items in order, in lists of at most bytesMax together; one larger than that is alone. */
export function inFrames<T>(items: readonly T[], sizeOf: (item: T) => number, bytesMax: number): T[][] {
  const frames: T[][] = [];
  let bytes = 0;
  for (const item of items) {
    const size = sizeOf(item);
    bytes += size;
    const last = frames.at(-1);
    if (last !== undefined && bytes <= bytesMax) last.push(item);
    else {
      frames.push([item]);
      bytes = size;
    }
  }
  return frames;
}
