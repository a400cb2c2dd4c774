// A trail to tamper with: real records, sealed and signed by the product itself, with gaps in the ids and a tail that is not sealed.
// Made by campaign.ts, some hundred attacks each. Every third one has lost its beginning to retention.

import type { Random } from "../../kit/random.ts";
import type { ChainHead, ChainRecord, ChainSegment } from "../../server/audit/chain.ts";
import type { Checkpoint, SigningKey } from "../../server/audit/checkpoint.ts";
import { type AuditEvent, workerActor } from "../../server/audit/events.ts";
import { auditRecord } from "../../server/audit/record.ts";
import { removeExpiredAudit } from "../../server/commands/remove_expired.ts";
import { sealAudit } from "../../server/commands/seal_audit.ts";
import { signAudit } from "../../server/commands/sign_audit.ts";
import type { Store } from "../../server/storage/store.ts";
import { below, chance, pick } from "./dice.ts";
import { type Ground, RUNS } from "./ground.ts";

/** A trail as it was before anybody touched it. */
export interface World {
  /** Where it begins: after what retention removed. */
  readonly start: ChainHead;
  readonly segments: readonly ChainSegment[];
  /** Sealed records in order: the one at place n has the sequence start.lastSequence + 1 + n. */
  readonly records: readonly ChainRecord[];
  /** All signed heads; they have left the database. The last one signs the last segment. */
  readonly heads: readonly Checkpoint[];
  /** Records that no segment has yet. */
  readonly unsealed: number;
  readonly key: SigningKey;
}

const SEGMENTS = { least: 6, more: 8 } as const;
const RECORDS_MAX = 9;

/** Makes one; the triggers are off afterwards. */
export async function makeWorld(ground: Ground, random: Random, number: number): Promise<World> {
  const { committing: store, key } = ground;
  await ground.clear();
  if (number % 3 === 2) {
    await grow(ground, random, 2 + below(random, 3));
    await signAudit(store, key, undefined);
    await removeExpiredAudit(store, 0);
  }
  await grow(ground, random, SEGMENTS.least + below(random, SEGMENTS.more));
  await signAudit(store, key, undefined);
  const unsealed = below(random, 3);
  await write(store, random, unsealed);
  await ground.disarm();
  return await store.read(async ({ segments, checkpoints }) => {
    const start = await segments.beginning();
    const list = await segments.list(start.number, 1_000);
    const records = await segments.records("0", list.at(-1)?.lastId ?? "0", 10_000);
    return { start, segments: list, records, heads: await checkpoints.list(0, 1_000), unsealed, key };
  });
}

/** Goes on as a running server does: writes, seals, and signs. Its own head is not looked for: that is the attacker's luck. */
export async function goOn(store: Store, key: SigningKey, random: Random): Promise<void> {
  await write(store, random, 1 + below(random, 4));
  await seal(store);
  await signAudit(store, key, undefined);
}

async function grow(ground: Ground, random: Random, segments: number): Promise<void> {
  for (let index = 0; index < segments; index += 1) {
    await write(ground.committing, random, 1 + below(random, RECORDS_MAX), ground);
    await seal(ground.committing);
    if (chance(random, 0.4)) await signAudit(ground.committing, ground.key, undefined);
  }
}

async function write(store: Store, random: Random, count: number, ground?: Ground): Promise<void> {
  for (let left = count; left > 0; ) {
    const size = Math.min(left, 1 + below(random, 4));
    const events = Array.from({ length: size }, () => auditRecord(eventOf(random)));
    await store.transaction((tx) => tx.audit.insert(events));
    if (ground !== undefined && chance(random, 0.6)) await ground.burn(1 + below(random, 3));
    left -= size;
  }
}

async function seal(store: Store): Promise<void> {
  const { newestId } = await store.read(({ segments }) => segments.look());
  await sealAudit(store, newestId);
}

function eventOf(random: Random): AuditEvent {
  const runId = pick(random, RUNS);
  const of = { namespace: pick(random, ["support", "platform"]), runId, taskId: `task_${below(random, 50)}` };
  const digest = () => `sha256:${Buffer.from(random.bytes(8)).toString("hex")}`;
  const call = { tool: pick(random, ["deploy", "search"]), requestId: digest(), attempt: 1, argumentsDigest: digest() };
  switch (below(random, 4)) {
    case 0:
      return {
        kind: "turn.recorded",
        ...of,
        actor: workerActor("w1"),
        detail: { sequence: below(random, 9), turnDigest: digest(), toolCalls: 1 },
      };
    case 1:
      return {
        kind: "tool.refused",
        ...of,
        actor: workerActor("w2"),
        detail: { ...call, reason: "invalid_args", message: "ünknown „key“\n" },
      };
    case 2:
      return {
        kind: "tool.result",
        ...of,
        actor: workerActor("w1"),
        detail: { ...call, grantId: digest(), durationMs: below(random, 900), ok: true, resultDigest: digest() },
      };
    default:
      return {
        kind: "security.refused",
        actor: "server",
        detail: {
          ...{ listener: "api", method: "Invoke", reason: "CREDENTIALS_INVALID", count: 1 },
          peer: `10.0.0.${below(random, 255)}`,
        },
      };
  }
}
