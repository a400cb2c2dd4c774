// Signs the head of the audit chain: one checkpoint a transaction, and only when segments came since the last one.
// Called by dispatch/head_keeper.ts on every replica, and before an export; the checkpoint's number decides between two at once.
// Never signs a chain that is not the one it signed before: a database that was set back is for a person to look at.

import {
  type Checkpoint,
  checkpointHash,
  NO_CHECKPOINT,
  type SigningKey,
  signCheckpoint,
} from "../audit/checkpoint.ts";
import type { Store } from "../storage/store.ts";

/** What one look did. current: nothing to sign; outrun: another replica signed; lost: the known checkpoint is not in the database. */
export type Signed = "signed" | "current" | "outrun" | "lost";

/**
 * Signs the newest head, unless it is signed.
 *
 * @param known the newest checkpoint that the caller has seen or exported.
 * @throws DomainError for database trouble
 */
export async function signAudit(store: Store, key: SigningKey, known: Checkpoint | undefined): Promise<Signed> {
  return await store.transaction(async (tx) => {
    const last = await tx.checkpoints.last();
    if (known !== undefined && !(await isKept(tx.checkpoints, known, last))) return "lost";
    const head = await tx.segments.head();
    if (head.number === 0 || head.number === last?.segment) return "current";
    const content = {
      number: (last?.number ?? 0) + 1,
      segment: head.number,
      lastId: head.lastId,
      lastSequence: head.lastSequence,
      head: head.head,
      previous: last === undefined ? NO_CHECKPOINT : checkpointHash(last),
      time: await tx.segments.time(),
    };
    return (await tx.checkpoints.insert(signCheckpoint(content, key))) ? "signed" : "outrun";
  });
}

/** True if the newest checkpoint is the known one and signs the newest segment: there is nothing to sign, and nothing new. One statement. */
export async function isAuditSigned(store: Store, known: Checkpoint): Promise<boolean> {
  const current = await store.read(({ checkpoints }) => checkpoints.current());
  return current !== undefined && checkpointHash(current) === checkpointHash(known);
}

// Retention removes checkpoints with their segments, but never the newest one: one with a lower number than all is not lost.
async function isKept(
  checkpoints: { list(afterNumber: number, limit: number): Promise<Checkpoint[]> },
  known: Checkpoint,
  last: Checkpoint | undefined,
): Promise<boolean> {
  if (last === undefined || last.number < known.number) return false;
  const [there] = await checkpoints.list(known.number - 1, 1);
  return there?.number !== known.number || checkpointHash(there) === checkpointHash(known);
}
