// The bundle, route and revision tables.
// Called by commands through the store. Bundles and routes are insert-only and content-addressed: inserting twice is harmless.

import { sql } from "kysely";
import { bulkInsert, type Queryable } from "./bulk.ts";
import { DECIDING } from "./policy_gate.ts";
import type { RouteRequirements } from "./schema.ts";

/** What a decision may read of a resource. */
export interface LiveSubject {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Record<string, string>;
  readonly annotations: Record<string, string>;
  readonly guarded: boolean;
  /** Of a tool: how many calls of it may be granted at a time. */
  readonly concurrency: number | null;
}

/** A bundle with the worker view made from it; both canonical JSON. */
export interface BundleRow {
  readonly digest: string;
  readonly document: string;
  readonly view_digest: string;
  readonly view_document: string;
  /** What the template says of retention, in ms; absent: the server's setting. */
  readonly run_retention_ms?: bigint | number | null;
  readonly dead_letter_retention_ms?: bigint | number | null;
}

/** Both revisions, and the database time. */
export interface Revisions {
  readonly catalog: string;
  readonly policy: string;
  readonly now: Date;
}

/** Queries of the bundle, route and revision tables. */
export function bundleQueries(db: Queryable) {
  return {
    /** Both revisions and the database time, read in the deciding transaction. */
    async revisions(): Promise<Revisions> {
      const result = await sql<Revisions>`
        select (select value::text from revision where name = 'catalog') as catalog,
          (select value::text from revision where name = 'policy') as policy, clock_timestamp() as now`.execute(db);
      return result.rows[0] as Revisions;
    },

    /** Shares the gate of policy_gate.ts from here on: what the transaction decides by policies that it reads after that is on record before a change of them is acknowledged. */
    async shareGate(): Promise<void> {
      await sql`with ${DECIDING} select from gate`.execute(db);
    },

    /** Current documents of some namespaces, for resolving bundles. */
    async documents(namespaces: readonly string[]) {
      return await db
        .selectFrom("resource")
        .select(["kind", "namespace", "name", "generation", "digest", "document"])
        .where("namespace", "in", [...namespaces])
        .where("kind", "in", ["Agent", "AgentSystem", "Tool", "WorkflowTemplate"])
        .execute();
    },

    /** Every policy, and the labels of everything that a policy may speak of: what decisions read live. */
    async livePolicyFacts() {
      const policies = await db
        .selectFrom("resource")
        .select(["namespace", "name", "generation", "digest", "document"])
        .where("kind", "=", "Policy")
        .execute();
      const subjects = await sql<LiveSubject>`
        select kind, namespace, name, labels, coalesce(document::jsonb #> '{metadata,annotations}', '{}') as annotations,
          coalesce((document::jsonb #>> '{spec,guarded}')::boolean, false) as guarded,
          case when kind = 'Tool' then (document::jsonb #>> '{spec,concurrency}')::integer end as concurrency
        from resource where kind <> 'Policy'`.execute(db);
      return { policies, subjects: subjects.rows };
    },

    insert: (rows: readonly BundleRow[]) =>
      bulkInsert(
        db,
        "bundle",
        {
          ...{ digest: "text", document: "text", view_digest: "text", view_document: "text" },
          ...{ run_retention_ms: "bigint", dead_letter_retention_ms: "bigint" },
        },
        rows,
        "on conflict (digest) do nothing",
      ),

    /** One bundle by digest. */
    async byDigest(digest: string): Promise<BundleRow | undefined> {
      return await db
        .selectFrom("bundle")
        .select(["digest", "document", "view_digest", "view_document", "run_retention_ms", "dead_letter_retention_ms"])
        .where("digest", "=", digest)
        .executeTakeFirst();
    },

    /** Worker views by their digests, through bundle_view_idx. */
    async views(digests: readonly string[]): Promise<{ view_digest: string; view_document: string }[]> {
      if (digests.length === 0) return [];
      return await db
        .selectFrom("bundle")
        .select(["view_digest", "view_document"])
        .distinctOn("view_digest")
        .where("view_digest", "in", [...digests])
        .execute();
    },

    insertRoutes: (rows: readonly { route: string; requirements: RouteRequirements }[]) =>
      bulkInsert(db, "route", { route: "text", requirements: "jsonb" }, rows, "on conflict (route) do nothing"),

    /** Every route; there are as many as distinct requirements. */
    async routes(): Promise<{ route: string; requirements: RouteRequirements }[]> {
      return await db.selectFrom("route").select(["route", "requirements"]).execute();
    },
  };
}
