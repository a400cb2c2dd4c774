// Processor time of everything that is measured: servers, workers, the driver, and Postgres with all of its processes.
// Called by throughput.ts around each round. Says more than runs a second where neighbours share the processors: they do not lengthen it much.
// Where there is no /proc, nothing is known.

import { readdirSync } from "node:fs";
import type pg from "pg";
import type { Fleet } from "./fleet.ts";
import { processFacts } from "./process_facts.ts";

/** Processor time so far, in ms. */
export interface ProcessorTime {
  readonly servers: number;
  readonly workers: number;
  readonly postgres: number;
  readonly driver: number;
}

/** Reads it; undefined where the system does not tell. */
export async function processorTime(fleet: Fleet): Promise<ProcessorTime | undefined> {
  const postmaster = processFacts(await backendOf(fleet.postgres.pool))?.parent;
  if (postmaster === undefined) return undefined;
  const children = processes().flatMap((pid) => {
    const facts = processFacts(pid);
    return facts?.parent === postmaster ? [facts.cpuMs] : [];
  });
  const own = processFacts(postmaster);
  return {
    servers: sum(fleet.replicas.map(({ pid }) => processFacts(pid)?.cpuMs ?? 0)),
    workers: sum(fleet.workerPids.map((pid) => processFacts(pid)?.cpuMs ?? 0)),
    postgres: sum([...children, own?.cpuMs ?? 0, own?.endedChildrenMs ?? 0]),
    driver: processFacts(process.pid)?.cpuMs ?? 0,
  };
}

async function backendOf(pool: pg.Pool): Promise<number | undefined> {
  const { rows } = await pool.query<{ pid: number }>("select pg_backend_pid() as pid");
  return rows[0]?.pid;
}

function processes(): number[] {
  return readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
