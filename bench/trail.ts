// That what was measured went the whole way: every run succeeded, and the audit trail has each record of it, with the decisions.
// Called by the suites after each measurement. Reads the database, so that all runs are looked at and not one of them.

import type pg from "pg";

/** Kinds of records, and how many of each one run makes. */
export type RecordsARun = Readonly<Record<string, number>>;

/** Kinds that carry the decision of a policy here: one is attached at each checkpoint. */
const DECIDED = new Set(["run.created", "task.leased", "tool.granted"]);

/** What is checked. */
export interface TrailCheck {
  readonly workflow: string;
  /** Runs of it since the record with this id. */
  readonly runs: number;
  readonly afterId: string;
  readonly records: RecordsARun;
}

/** Id of the newest record; "0" if there is none. */
export async function newestRecord(pool: pg.Pool): Promise<string> {
  const { rows } = await pool.query<{ id: string }>("select coalesce(max(id), 0)::text as id from audit_event");
  return rows[0]?.id ?? "0";
}

/** Checks. @throws Error saying what is missing */
export async function checkTrail(pool: pg.Pool, { workflow, runs, afterId, records }: TrailCheck): Promise<void> {
  const { rows } = await pool.query<{ kind: string; found: number; decided: number }>(
    `select e.kind, count(*)::integer as found,
        count(*) filter (where strpos(e.record, '"allowed":true') > 0 and strpos(e.record, '"verdicts":[{') > 0)::integer as decided
      from audit_event e join run r on r.id = e.run_id
      where e.id > $1::bigint and e.run_id <> '' and r.workflow = $2 and r.state = 'SUCCEEDED' group by e.kind`,
    [afterId, workflow],
  );
  const found = new Map(rows.map((row) => [row.kind, row]));
  const wrong = Object.entries(records).flatMap(([kind, aRun]) => {
    const wanted = runs * aRun;
    const { found: count, decided } = found.get(kind) ?? { found: 0, decided: 0 };
    // A lease that was not accepted in time is given again, and told again.
    const enough = kind === "task.leased" ? count >= wanted : count === wanted;
    if (!enough) return [`${count} records ${kind} instead of ${wanted}`];
    return DECIDED.has(kind) && decided !== count ? [`${decided} decisions in ${count} records ${kind}`] : [];
  });
  if (wrong.length > 0) throw new Error(`the audit trail of ${runs} runs of ${workflow} has ${wrong.join(", ")}`);
}
