// The suite mem: how much memory server and worker have after many runs, and whether it still grows. Called by main.ts.
// After the runs the load goes on for a while; the slope is that of a straight line through what was resident meanwhile.

import { MIB, MINUTE, SECOND } from "../kit/units.ts";
import { hundredths, slopeOf } from "./figures.ts";
import { followFinishedRuns } from "./finished.ts";
import { startFleet } from "./fleet.ts";
import { keepRunning } from "./load.ts";
import { WORKFLOWS } from "./manifests.ts";
import { requireFacts } from "./process_facts.ts";
import { SHAPES } from "./shapes.ts";
import type { SuiteContext } from "./suite.ts";
import { checkTrail, newestRecord } from "./trail.ts";

const LOOK_MS = SECOND / 2;

/** Measures. */
export async function measureMemory({ settings, clock, cleanup, progress }: SuiteContext): Promise<object> {
  const { runs, seconds, inFlight } = settings;
  progress("mem: starting Postgres, a server and a worker");
  const fleet = await startFleet({ clock, slots: inFlight }, cleanup);
  const finished = followFinishedRuns(fleet.client);
  cleanup.add(async () => finished.close());
  const processes = { server: fleet.replicas[0]?.pid ?? 0, worker: fleet.workerPids[0] ?? 0 };
  const residentOf = () =>
    Object.entries(processes).map(([name, pid]) => [name, requireFacts(pid, name).residentBytes / MIB] as const);
  const base = { clients: [fleet.client], finished, workflow: WORKFLOWS.noop, inFlight, clock, progress };
  const atStart = residentOf();
  const afterId = await newestRecord(fleet.postgres.pool);
  await keepRunning({ ...base, title: "mem: warming up" }, { runs });
  const afterRuns = residentOf();
  const points = new Map(afterRuns.map(([name]) => [name, [] as { x: number; y: number }[]]));
  const measuring = new AbortController();
  const begin = clock.monotonic();
  const look = async () => {
    while (!measuring.signal.aborted) {
      const x = (clock.monotonic() - begin) / MINUTE;
      for (const [name, y] of residentOf()) points.get(name)?.push({ x, y });
      await clock.sleep(LOOK_MS, measuring.signal);
    }
  };
  const looking = look();
  const more = await keepRunning({ ...base, title: "mem: measuring" }, { ms: seconds * SECOND }).finally(() =>
    measuring.abort(),
  );
  await looking;
  const check = { workflow: WORKFLOWS.noop, runs: runs + more.runs, afterId, records: SHAPES.noop.records };
  await checkTrail(fleet.postgres.pool, check);
  const figures = (of: readonly (readonly [string, number])[]) =>
    Object.fromEntries(of.map(([name, value]) => [name, hundredths(value)]));
  return {
    ...{ runs, measured_runs: more.runs, measured_seconds: Math.round(more.seconds), in_flight: inFlight },
    resident_mib_at_start: figures(atStart),
    resident_mib_after_runs: figures(afterRuns),
    resident_mib_at_end: figures(residentOf()),
    slope_mib_a_minute: figures([...points].map(([name, each]) => [name, slopeOf(each)])),
    postgres: fleet.postgres.facts,
  };
}
