// Reading worker sessions and live leases for people. Never locks, never writes.
// Called by commands/read_fleet.ts. A lost worker stays listed for a while, so that an operator sees what became of it.

import { sql } from "kysely";
import { MINUTE } from "../../kit/units.ts";
import type { Queryable } from "./bulk.ts";

/** How long a lost session is listed, in ms. */
export const LOST_SHOWN_MS = 10 * MINUTE;

/** A session with the number of its leases. */
export interface WorkerReadRow {
  readonly id: string;
  readonly name: string;
  readonly identity: string;
  readonly instance_id: string;
  readonly labels: Record<string, string>;
  readonly slots: number;
  readonly runtimes: string[];
  readonly handlers: string[];
  readonly leases: number;
  readonly state: string;
  readonly connect_time: Date;
  readonly last_seen_time: Date;
  readonly replica_id: string;
  readonly version: string;
}

/** A live lease; it expires with its session. */
export interface LeaseReadRow {
  readonly task_id: string;
  readonly run_id: string;
  readonly node: string;
  readonly session_id: string;
  readonly worker: string;
  readonly attempt: number;
  readonly delivery: number;
  readonly accepted: boolean;
  readonly claim_time: Date;
  readonly expire_time: Date;
}

const WORKER =
  sql.raw(`s.id, s.name, s.identity, s.instance_id, s.labels, s.slots, s.runtimes, s.handlers, s.state, s.connect_time,
  s.last_seen_time, s.replica_id, s.version, (select count(*)::integer from lease l where l.session_id = s.id) as leases`);
// A session whose row is gone has no expiry of its own any more: its leases are due now.
const LEASE =
  sql.raw(`l.task_id, l.run_id, t.node, l.session_id, l.worker, l.attempt, l.delivery, l.accepted, l.claim_time,
  coalesce(s.expire_time, l.claim_time) as expire_time`);

/** Read queries of sessions and leases. */
export function fleetReads(db: Queryable) {
  return {
    /** A page of sessions that are live or were lost a short while ago, by id. */
    async workers(after: string, limit: number): Promise<WorkerReadRow[]> {
      const result = await sql<WorkerReadRow>`
        select ${WORKER} from worker_session s
        where s.id > ${after} and (s.state in ('active', 'draining')
          or s.state = 'lost' and s.last_seen_time > clock_timestamp() - ${LOST_SHOWN_MS} * interval '1 ms')
        order by s.id limit ${limit}`.execute(db);
      return result.rows;
    },

    /** One session by id, else the newest live one of a name, else the newest of that name that did not close. */
    async worker(idOrName: string): Promise<WorkerReadRow | undefined> {
      const result = await sql<WorkerReadRow>`
        select ${WORKER} from worker_session s
        where (s.id = ${idOrName} or s.name = ${idOrName}) and s.state <> 'closed'
        order by s.id = ${idOrName} desc, s.state = 'lost', s.connect_time desc limit 1`.execute(db);
      return result.rows[0];
    },

    /** A page of live leases by task id; of a run (lease_run_idx) or a session (lease_session_idx) when given. */
    async leases(
      filter: { readonly runId?: string | undefined; readonly sessionId?: string | undefined },
      after: string,
      limit: number,
    ): Promise<LeaseReadRow[]> {
      const ofRun = filter.runId === undefined ? sql`` : sql`and l.run_id = ${filter.runId}`;
      const ofSession = filter.sessionId === undefined ? sql`` : sql`and l.session_id = ${filter.sessionId}`;
      const result = await sql<LeaseReadRow>`
        select ${LEASE} from lease l join task t on t.id = l.task_id left join worker_session s on s.id = l.session_id
        where l.task_id > ${after} ${ofRun} ${ofSession} order by l.task_id limit ${limit}`.execute(db);
      return result.rows;
    },
  };
}
