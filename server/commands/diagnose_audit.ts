// Looks at the audit trail: is it sealed and signed in time, and are the records of its last segment the ones that were sealed?
// Called by diagnose.ts. A whole trail is verified outside of the server: orloj audit export, orloj audit verify.

import { MINUTE, SECOND } from "../../kit/units.ts";
import type { ChainHead } from "../audit/chain.ts";
import { checkSegment } from "../audit/segment_check.ts";
import { healthReads } from "../storage/read_health.ts";
import type { Store } from "../storage/store.ts";
import { type Finding, fine, type Look, secondsText, trouble } from "./findings.ts";

const SEAL_SECONDS = (2 * MINUTE) / SECOND;
const SIGN_SECONDS = (5 * MINUTE) / SECOND;
/** More than a segment has. */
const RECORDS_MAX = 10_000;

/** See the file header. */
export function auditLook(store: Store): Look {
  return {
    name: "audit",
    run: async () => [await sealed(store), await signed(store), await lastSegment(store)],
  };
}

async function sealed(store: Store): Promise<Finding> {
  const id = "audit.sealing";
  const seconds = await store.read(async ({ segments, db }) =>
    healthReads(db).unsealedSeconds((await segments.head()).lastId),
  );
  if (seconds < SEAL_SECONDS) return fine(id, "records are sealed in time");
  const message = `the oldest record that is not sealed is ${secondsText(seconds)} old`;
  const nextStep = "look for a transaction that has been open for long in pg_stat_activity, and at the server's log";
  return trouble(seconds < SEAL_SECONDS * 10 ? "warning" : "error", id, { message, nextStep });
}

async function signed(store: Store): Promise<Finding> {
  const id = "audit.signing";
  const waiting = await store.read(async ({ checkpoints, db }) => {
    const last = await checkpoints.last();
    return await healthReads(db).sealedSince(last?.segment ?? 0);
  });
  if (waiting < SIGN_SECONDS) return fine(id, "heads are signed in time");
  const message = `the oldest segment that no signed head covers was sealed ${secondsText(waiting)} ago`;
  const nextStep = "see audit.head_lost or audit.head_not_exported in the server's log, and docs/audit.md";
  return trouble("error", id, { message, nextStep });
}

async function lastSegment(store: Store): Promise<Finding> {
  const id = "audit.last_segment";
  const { segment, previous, records } = await store.read(async ({ segments }) => {
    const newest = await segments.head();
    const listed = await segments.list(Math.max(0, newest.number - 2), 2);
    const last = listed.at(-1);
    const before: ChainHead = listed.length > 1 ? (listed[0] as ChainHead) : await segments.beginning();
    const found = last === undefined ? [] : await segments.records(before.lastId, last.lastId, RECORDS_MAX);
    return { segment: last, previous: before, records: found };
  });
  if (segment === undefined) return fine(id, "no segment is sealed yet");
  const unproven = { sequence: segment.firstSequence, segment: segment.number };
  const { findings } = checkSegment(segment, records, { previous, unproven, partial: false });
  const [first] = findings;
  if (first === undefined) return fine(id, `segment ${segment.number} and its ${segment.ids.length} records agree`);
  const message = `segment ${segment.number}: ${first.kind}: ${first.message}`;
  const nextStep = "keep the database as it is; orloj audit export, then orloj audit verify --heads (docs/audit.md)";
  return trouble("error", id, { message, nextStep });
}
