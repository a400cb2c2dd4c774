// The gate between decisions and changes of policies: a lock that deciding transactions share and a change holds alone at its end.
// Used inside the first statement of a deciding transaction (lease_queries, task_queries), as its first statement (bundle_queries), and by
// resources.ts. So a change is acknowledged only after every grant that was decided without it is on record, and later ones see it. Without the
// gate test/commands/policy_race.test.ts found 67 grants on record after the acknowledgement of 400 changes.
// Lock order: before every row lock of a deciding transaction; after every row lock of a change.

import { sql } from "kysely";

/** Key of the advisory lock; any number that no other lock of the product uses (storage/migrate.ts has the other one). */
const GATE_KEY = sql.lit("7301946502119");

/** Holds the gate open for a decision until the transaction ends: a common table expression named `gate`, of one row. */
export const DECIDING = sql`gate as materialized (select pg_advisory_xact_lock_shared(${GATE_KEY}::int8))`;

/** The same without a lock, for statements of transactions that decide nothing. */
export const NOT_DECIDING = sql`gate as materialized (select 1)`;

/** Closes the gate until the transaction ends: waits for decisions under way, and lets no new one begin. */
export const CLOSE_GATE = sql`select pg_advisory_xact_lock(${GATE_KEY}::int8)`;
