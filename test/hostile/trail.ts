// What the audit trail holds of the lies that were told: records by sign, to be compared with what the attempts must have left.
// Called by campaign.ts. Read through the API, as an auditor does.

import type { AuditRecord, OrlojClient } from "../../sdk/index.ts";

const PAGE = 1_000;
const KINDS = ["fact.refused", "security.refused", "tool.refused", "tool.cached", "task.denied", "task.failed"];

interface Detail {
  readonly fact?: string;
  readonly tool?: string;
  readonly reason?: string;
  readonly failure?: { readonly class: string };
}

/** Counts the records of refusals by sign. */
export async function signsOf(client: OrlojClient): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for await (const record of recordsOf(client, KINDS)) {
    const sign = signOf(record);
    counts.set(sign, (counts.get(sign) ?? 0) + 1);
  }
  return counts;
}

/** Leases that ended without an outcome, as their records tell it. A run that is quick enough has none. */
export async function lossesOf(client: OrlojClient): Promise<string[]> {
  const losses: string[] = [];
  for await (const { kind, recordJson } of recordsOf(client, ["task.requeued", "lease.expired", "lease.revoked"])) {
    losses.push(`${kind} ${recordJson}`);
  }
  return losses;
}

/** How many records there are of a kind. */
export async function countOf(client: OrlojClient, kind: string): Promise<number> {
  let count = 0;
  for await (const _ of recordsOf(client, [kind])) count += 1;
  return count;
}

async function* recordsOf(client: OrlojClient, kinds: readonly string[]): AsyncIterable<AuditRecord> {
  let pageToken = "";
  do {
    const filter = { kinds: [...kinds] };
    const page = await client.audit.listAuditRecords({ filter, pageSize: PAGE, pageToken });
    yield* page.records;
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
}

function signOf({ kind, recordJson }: AuditRecord): string {
  const { detail } = JSON.parse(recordJson) as { detail: Detail };
  const { fact = "", tool = "", reason = "", failure } = detail;
  switch (kind) {
    case "fact.refused":
      return `${kind} ${fact} ${reason}`.trim();
    case "security.refused":
      return `${kind} ${reason.replace(/:.*/s, "")}`;
    case "tool.refused":
      return `${kind} ${tool} ${reason}`;
    case "tool.cached":
      return `${kind} ${tool}`;
    default:
      return failure === undefined ? kind : `${kind} ${failure.class}`;
  }
}
