// The records of what a worker session presents without right: lease tokens that it was never given, sessions that are not its own.
// Called by session_registry.ts. Pure. One record a frame, with a count, so that a large frame cannot fill the trail.
// Never holds a token or the id of a foreign session: short hashes stand for them.

import { type StoredRecord, workerActor } from "../audit/events.ts";
import { auditRecord, tokenHash } from "../audit/record.ts";

/** Method of worker streams in records. */
export const SESSION_METHOD = "orloj.v1.WorkerService/Session";

/** Who presents. */
interface Presenter {
  readonly id: string;
  readonly name: string;
}

/** Tokens of one frame that the session does not hold and never held; `fact` says in which frame. */
export function refusedTokens({ id, name }: Presenter, fact: string, tokens: readonly string[]): StoredRecord {
  const count = tokens.length > 1 ? { count: tokens.length } : {};
  const detail = { fact, tokenHash: tokenHash(tokens[0] ?? ""), worker: name, sessionId: id, ...count };
  return auditRecord({ kind: "fact.refused", actor: workerActor(name), detail: { ...detail, reason: "not_held" } });
}

/** A session that this worker may not resume: another instance or identity has it, or it is closed or forgotten. */
export function refusedResume({ id, name }: Presenter, wanted: string): StoredRecord {
  const detail = { fact: "resume", tokenHash: tokenHash(wanted), worker: name, sessionId: id, reason: "not_resumable" };
  return auditRecord({ kind: "fact.refused", actor: workerActor(name), detail });
}
