// The resource, resource_revision and revision tables: the catalog of manifests.
// Called by commands (apply, delete, get, list). Invoke and decisions read through bundle_queries.ts.
// One apply at a time: it holds the catalog's revision row, which every change bumps together with the policy revision,
// for labels and `guarded` of any kind are live facts of decisions.

import { sql } from "kysely";
import { bulkInsert, type Columns, type Queryable, recordSet } from "./bulk.ts";
import { CLOSE_GATE } from "./policy_gate.ts";

/** A resource as it is now. */
export interface ResourceRow {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
  readonly digest: string;
  readonly labels: Record<string, string>;
  /** Canonical manifest JSON. */
  readonly document: string;
  readonly create_time: Date;
  readonly update_time: Date;
  /** The set of manifests that it was last applied with; null: none. */
  readonly apply_set: string | null;
}

/** Identity of a resource. */
export interface ResourceKey {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** A resource to write: a new one, or the next generation of one. */
export interface ResourceWrite extends ResourceKey {
  readonly generation: number;
  readonly digest: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly document: string;
  readonly apply_set: string | null;
}

const WRITE_COLUMNS: Columns = {
  kind: "text",
  namespace: "text",
  name: "text",
  generation: "integer",
  digest: "text",
  labels: "jsonb",
  document: "text",
  apply_set: "text",
};
const REVISION_COLUMNS: Columns = {
  kind: "text",
  namespace: "text",
  name: "text",
  generation: "integer",
  digest: "text",
  document: "text",
  applied_by: "text",
};
const ALL = [
  "kind",
  "namespace",
  "name",
  "generation",
  "digest",
  "labels",
  "document",
  "create_time",
  "update_time",
  "apply_set",
] as const;

/** Queries of the resource, resource_revision and revision tables. */
export function resourceQueries(db: Queryable) {
  return {
    /** The catalog revision, without a lock. */
    async catalogRevision(): Promise<string> {
      const row = await db
        .selectFrom("revision")
        .select("value")
        .where("name", "=", "catalog")
        .executeTakeFirstOrThrow();
      return String(row.value);
    },

    /** How many resources a namespace has. The caller holds the catalog's row, so that nobody adds one meanwhile. */
    async countIn(namespace: string): Promise<number> {
      const row = await db
        .selectFrom("resource")
        .select(({ fn }) => fn.countAll<string>().as("count"))
        .where("namespace", "=", namespace)
        .executeTakeFirstOrThrow();
      return Number(row.count);
    },

    /** The catalog revision, locked (FOR UPDATE) until the transaction ends: changes of the catalog happen one at a time. */
    async lockCatalog(): Promise<string> {
      const row = await db
        .selectFrom("revision")
        .select("value")
        .where("name", "=", "catalog")
        .forUpdate()
        .executeTakeFirstOrThrow();
      return String(row.value);
    },

    /**
     * Counts a change of the catalog in both revisions; the caller holds the catalog's row. Waits for decisions under way, and holds new
     * ones up until the change has committed; so it comes last.
     */
    async bumpRevisions(): Promise<void> {
      await sql`update revision set value = value + 1`.execute(db);
      await CLOSE_GATE.execute(db);
    },

    /** Writes current rows and their revisions. Times are database time; create_time of an existing row stays. */
    async write(rows: readonly ResourceWrite[], appliedBy: string): Promise<void> {
      await bulkInsert(
        db,
        "resource",
        WRITE_COLUMNS,
        rows,
        `on conflict (kind, namespace, name) do update set generation = excluded.generation, digest = excluded.digest,
          labels = excluded.labels, document = excluded.document, apply_set = excluded.apply_set,
          update_time = clock_timestamp()`,
      );
      await bulkInsert(
        db,
        "resource_revision",
        REVISION_COLUMNS,
        rows.map(({ labels: _labels, apply_set: _set, ...row }) => ({ ...row, applied_by: appliedBy })),
      );
    },

    /** Notes the set of resources that stay as they are otherwise. */
    async recordSet(keys: readonly ResourceKey[], set: string): Promise<void> {
      if (keys.length === 0) return;
      await sql`
        update resource r set apply_set = ${set}
        from json_to_recordset(${recordSet(keys)}::json) as x(kind text, namespace text, name text)
        where r.kind = x.kind and r.namespace = x.namespace and r.name = x.name`.execute(db);
    },

    /** Every resource of a set, in key order, through its index. */
    async ofSet(set: string): Promise<ResourceRow[]> {
      return await db
        .selectFrom("resource")
        .select(ALL)
        .where("apply_set", "=", set)
        .orderBy("kind")
        .orderBy("namespace")
        .orderBy("name")
        .execute();
    },

    /** The highest generation that each resource ever had, deleted ones included: a new one goes on counting. */
    async lastGenerations(keys: readonly ResourceKey[]): Promise<(ResourceKey & { generation: number })[]> {
      if (keys.length === 0) return [];
      const result = await sql<ResourceKey & { generation: number }>`
        select r.kind, r.namespace, r.name, max(r.generation) as generation
        from json_to_recordset(${recordSet(keys)}::json) as x(kind text, namespace text, name text)
        join resource_revision r on r.kind = x.kind and r.namespace = x.namespace and r.name = x.name
        group by r.kind, r.namespace, r.name`.execute(db);
      return result.rows;
    },

    /** Deletes one; its revisions stay. @returns true if it was there */
    async remove(key: ResourceKey): Promise<boolean> {
      const result = await db
        .deleteFrom("resource")
        .where("kind", "=", key.kind)
        .where("namespace", "=", key.namespace)
        .where("name", "=", key.name)
        .executeTakeFirst();
      return result.numDeletedRows > 0n;
    },

    /** One resource, by primary key. */
    async get(key: ResourceKey): Promise<ResourceRow | undefined> {
      return await db
        .selectFrom("resource")
        .select(ALL)
        .where("kind", "=", key.kind)
        .where("namespace", "=", key.namespace)
        .where("name", "=", key.name)
        .executeTakeFirst();
    },

    /** Resources by their keys; namespace "*" asks for a kind and name in any namespace. What does not exist is left out. */
    async find(keys: readonly ResourceKey[]): Promise<ResourceRow[]> {
      if (keys.length === 0) return [];
      const result = await sql<ResourceRow>`
        select distinct on (r.kind, r.namespace, r.name) ${sql.raw(ALL.map((column) => `r.${column}`).join(", "))}
        from json_to_recordset(${recordSet(keys)}::json) as x(kind text, namespace text, name text)
        join resource r on r.kind = x.kind and r.name = x.name and x.namespace in (r.namespace, '*')
        order by r.kind, r.namespace, r.name`.execute(db);
      return result.rows;
    },

    /** Names of resources by kind, for "did you mean". */
    async names(limit: number): Promise<{ kind: string; namespace: string; name: string }[]> {
      return await db.selectFrom("resource").distinct().select(["kind", "namespace", "name"]).limit(limit).execute();
    },

    /** Every resource of some namespaces. */
    async ofNamespaces(namespaces: readonly string[]): Promise<ResourceRow[]> {
      return await db
        .selectFrom("resource")
        .select(ALL)
        .where("namespace", "in", [...namespaces])
        .execute();
    },

    /** Every resource of the catalog. */
    async all(): Promise<ResourceRow[]> {
      return await db.selectFrom("resource").select(ALL).execute();
    },

    /** A page in (kind, namespace, name) order after a key, through the primary key. */
    async list(
      filter: {
        readonly kind?: string | undefined;
        readonly namespace?: string | undefined;
        readonly labels?: Readonly<Record<string, string>> | undefined;
      },
      after: ResourceKey | undefined,
      limit: number,
    ): Promise<ResourceRow[]> {
      let query = db.selectFrom("resource").select(ALL);
      if (filter.kind !== undefined) query = query.where("kind", "=", filter.kind);
      if (filter.namespace !== undefined) query = query.where("namespace", "=", filter.namespace);
      if (filter.labels !== undefined)
        query = query.where(sql<boolean>`labels @> ${JSON.stringify(filter.labels)}::jsonb`);
      if (after !== undefined) {
        query = query.where(({ eb, refTuple, tuple }) =>
          eb(refTuple("kind", "namespace", "name"), ">", tuple(after.kind, after.namespace, after.name)),
        );
      }
      return await query.orderBy("kind").orderBy("namespace").orderBy("name").limit(limit).execute();
    },
  };
}
