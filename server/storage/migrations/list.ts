// All migrations in order, imported statically so that a packed build has them.
// Called by migrate.ts. A migration that has shipped is never edited; write the next one.

import type { Kysely } from "kysely";
import { up as initial } from "./0001_initial.ts";
import { up as deadLetters } from "./0002_dead_letters.ts";
import { up as ledgerKeys } from "./0003_ledger_keys.ts";
import { up as retention } from "./0004_retention.ts";
import { up as sweep } from "./0005_sweep.ts";
import { up as auditHeads } from "./0020_audit_heads.ts";
import { up as policyLimits } from "./0021_policy_limits.ts";
import { up as withheldTools } from "./0022_withheld_tools.ts";
import { up as tokens } from "./0023_tokens.ts";
import { up as concurrency } from "./0024_concurrency.ts";
import { up as toolTurns } from "./0025_tool_turns.ts";
import { up as sessionHandlers } from "./0026_session_handlers.ts";
import { up as nodeEdges } from "./0030_node_edges.ts";
import { up as mapItems } from "./0031_map_items.ts";
import { up as taskLogs } from "./0033_task_logs.ts";
import { up as applySets } from "./0034_apply_sets.ts";

/** One forward step of the schema; runs in a transaction of its own. */
export interface Migration {
  readonly name: string;
  up(db: Kysely<unknown>): Promise<void>;
}

/** Oldest first. */
export const migrations: readonly Migration[] = [
  { name: "0001_initial", up: initial },
  { name: "0002_dead_letters", up: deadLetters },
  { name: "0003_ledger_keys", up: ledgerKeys },
  { name: "0004_retention", up: retention },
  { name: "0005_sweep", up: sweep },
  { name: "0020_audit_heads", up: auditHeads },
  { name: "0021_policy_limits", up: policyLimits },
  { name: "0022_withheld_tools", up: withheldTools },
  { name: "0023_tokens", up: tokens },
  { name: "0024_concurrency", up: concurrency },
  { name: "0025_tool_turns", up: toolTurns },
  { name: "0026_session_handlers", up: sessionHandlers },
  { name: "0030_node_edges", up: nodeEdges },
  { name: "0031_map_items", up: mapItems },
  { name: "0033_task_logs", up: taskLogs },
  { name: "0034_apply_sets", up: applySets },
];
