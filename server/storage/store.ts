// The store as commands see it: query objects bound to one open transaction, or to the pool for single reads.
// Made by main; commands open transactions and await nothing but queries inside them.

import type { Kysely } from "kysely";
import { auditQueries } from "./audit_queries.ts";
import { bundleQueries } from "./bundle_queries.ts";
import type { Queryable } from "./bulk.ts";
import { ledgerQueries } from "./ledger_queries.ts";
import { runQueries } from "./run_queries.ts";
import type { Database } from "./schema.ts";
import { sessionQueries } from "./session_queries.ts";
import { toDomainError } from "./sql_errors.ts";
import { taskQueries } from "./task_queries.ts";

/** All hot queries, bound to a transaction or to the pool. */
export interface StoreQueries {
  readonly runs: ReturnType<typeof runQueries>;
  readonly tasks: ReturnType<typeof taskQueries>;
  readonly ledger: ReturnType<typeof ledgerQueries>;
  readonly bundles: ReturnType<typeof bundleQueries>;
  readonly sessions: ReturnType<typeof sessionQueries>;
  readonly audit: ReturnType<typeof auditQueries>;
  /** For the read models and manifests files of this room. */
  readonly db: Queryable;
}

/** The store. */
export interface Store {
  /** Runs fn in one READ COMMITTED transaction; rolls back when it throws. @throws DomainError for database trouble */
  transaction<T>(fn: (tx: StoreQueries) => Promise<T>): Promise<T>;
  /** Single statements outside a transaction. */
  readonly read: StoreQueries;
}

function bind(db: Queryable): StoreQueries {
  return {
    runs: runQueries(db),
    tasks: taskQueries(db),
    ledger: ledgerQueries(db),
    bundles: bundleQueries(db),
    sessions: sessionQueries(db),
    audit: auditQueries(db),
    db,
  };
}

/** The store over a database. */
export function createStore(db: Kysely<Database>): Store {
  return {
    read: bind(db),
    async transaction(fn) {
      try {
        return await db.transaction().execute((tx) => fn(bind(tx)));
      } catch (error) {
        throw toDomainError(error);
      }
    },
  };
}
