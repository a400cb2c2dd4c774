// Judges what an attack did: the bounds that docs/floods.md states. Called by campaign.ts and the test. Pure.

import { GONE_MS_MAX, type Tally } from "./attack.ts";
import { CLIENTS, type ClientName, type Pace } from "./healthy.ts";

/** A healthy client's p99 may grow by this factor while others attack. */
export const SLOWER_MAX = 3;
/** Below it no p99 counts as slow: on a machine that others use a single late turn of a process says nothing of the server. */
export const SLOW_MS = 250;
/** Growth of the server's resident memory under an attack, and what may be left of it. */
export const GROWTH_MIB_MAX = 100;
export const LEFT_MIB_MAX = 50;
/** Time for memory and open files to be back. */
export const SETTLE_MS_MAX = 30_000;
/** Open files more than before that are nobody's leak: connections of the healthy clients and of the pool come and go. */
export const FILES_SLACK = 12;
/** Beyond the time to be through with an offender: the attacker shares the machine. */
const GONE_SLACK_MS = 1_500;

/** An attack on a listener, and what was seen. */
export interface Entry extends Tally {
  readonly attack: string;
  /** "api", "worker", "ops", or "api-tls". */
  readonly listener: string;
  readonly offends: boolean;
  readonly seconds: number;
  readonly healthy: Readonly<Record<ClientName, Readonly<Record<"before" | "during" | "after", Pace>>>>;
  readonly rss_growth_mib: number;
  /** Once it has settled. */
  readonly rss_left_mib: number;
  readonly files: { readonly before: number; readonly most: number; readonly after: number };
  readonly settled_ms: number;
  readonly exits: number;
}

/** What is wrong with it; empty: nothing. */
export function violationsOf(entry: Entry): string[] {
  const found: string[] = [];
  const where = `${entry.attack} on ${entry.listener}`;
  const wrong = (what: string) => found.push(`${where}: ${what}`);
  if (entry.exits > 0) wrong("the server ended");
  for (const name of CLIENTS) {
    const { before, during, after } = entry.healthy[name];
    for (const [when, pace] of [
      ["during", during],
      ["after", after],
    ] as const) {
      const most = Math.max(SLOW_MS, SLOWER_MAX * before.p99_ms);
      if (pace.p99_ms > most) wrong(`p99 of ${name} ${when}: ${pace.p99_ms} ms, at most ${most.toFixed(0)} is allowed`);
      if (pace.failed > 0) wrong(`${pace.failed} of ${pace.calls} healthy calls of ${name} failed ${when}`);
      if (pace.calls === 0) wrong(`${name} was not called ${when}`);
    }
  }
  if (entry.rss_growth_mib >= GROWTH_MIB_MAX) wrong(`memory grew by ${entry.rss_growth_mib} MiB`);
  if (entry.rss_left_mib >= LEFT_MIB_MAX) wrong(`${entry.rss_left_mib} MiB of memory did not come back`);
  if (entry.files.after > entry.files.before + FILES_SLACK)
    wrong(`open files went from ${entry.files.before} to ${entry.files.after}`);
  if (entry.offends && entry.still_open > 0) wrong(`${entry.still_open} offenders were still connected`);
  if (entry.gone_ms_max > GONE_MS_MAX + GONE_SLACK_MS) wrong(`an offender was connected for ${entry.gone_ms_max} ms`);
  if (entry.sent + entry.connections === 0) wrong("nothing was sent");
  return found;
}
