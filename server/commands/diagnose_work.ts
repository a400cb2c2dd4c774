// Looks at work that does not get on: tasks without a worker, runs in line, parked tasks, and workers that are lost or of another release.
// Called by diagnose.ts.

import { DAY, HOUR, MINUTE, SECOND } from "../../kit/units.ts";
import { requirementsText } from "../queue/route.ts";
import { healthReads } from "../storage/read_health.ts";
import type { Store } from "../storage/store.ts";
import { type Finding, fine, type Look, secondsText, trouble } from "./findings.ts";
import { UNSCHEDULABLE_MS } from "./read_runs.ts";

const SHOWN_MAX = 20;
const WAIT_SECONDS = (15 * MINUTE) / SECOND;
const PARKED_SECONDS = { warning: HOUR / SECOND, error: (7 * DAY) / SECOND };
const LOST_MS = 10 * MINUTE;

/** The looks. */
export function workLooks(store: Store, version: string): Look[] {
  return [
    { name: "workers", run: () => workers(store, version) },
    { name: "queue", run: () => unschedulable(store) },
    { name: "runs.queued", run: () => queued(store) },
    { name: "dead-letters", run: () => parked(store) },
  ];
}

async function workers(store: Store, version: string): Promise<Finding[]> {
  const sessions = await store.read(({ db }) => healthReads(db).sessions(LOST_MS));
  const active = sessions.filter(({ state }) => state === "active");
  const findings = [
    active.length === 0
      ? trouble("warning", "workers.none", { message: "no worker is connected", nextStep: "orloj worker" })
      : fine("workers.connected", `${active.length} active`),
  ];
  const connected = new Set(sessions.filter(({ state }) => state !== "lost").map(({ name }) => name));
  for (const { name } of sessions
    .filter((one) => one.state === "lost" && !connected.has(one.name))
    .slice(0, SHOWN_MAX)) {
    const message = "its session was lost in the last ten minutes, and it has not come back";
    findings.push(
      trouble("warning", "workers.lost", { subject: name, message, nextStep: "see its log, and start it again" }),
    );
  }
  const skewed = active.filter((worker) => worker.version !== version);
  for (const { name, version: theirs } of skewed.slice(0, SHOWN_MAX)) {
    const message = `it is of release ${theirs || "unknown"}, the server of ${version}`;
    const nextStep = "bring server and workers to one release: servers first, then workers";
    findings.push(trouble("warning", "workers.version", { subject: name, message, nextStep }));
  }
  return findings;
}

async function unschedulable(store: Store): Promise<Finding[]> {
  const id = "queue.unschedulable";
  const stranded = await store.read(({ db }) => healthReads(db).stranded(UNSCHEDULABLE_MS, SHOWN_MAX));
  if (stranded.length === 0) return [fine(id, "every queued task fits a connected worker")];
  return stranded.map(({ requirements, tasks, oldestSeconds }) =>
    trouble("error", id, {
      subject: requirementsText(requirements),
      message: `${tasks} queued task${tasks === 1 ? "" : "s"} that no connected worker may take, for ${secondsText(oldestSeconds)}`,
      nextStep: "start a worker with this runtime, handler, and these labels; orloj workers shows what there is",
    }),
  );
}

async function queued(store: Store): Promise<Finding[]> {
  const id = "runs.queued";
  const { groups, longest } = await store.read(async ({ db }) => {
    const reads = healthReads(db);
    return { groups: await reads.waitingGroups(SHOWN_MAX), longest: await reads.longestWaitSeconds() };
  });
  if (groups.length === 0 || longest < WAIT_SECONDS) return [fine(id, "no run has been waiting long for its turn")];
  return groups.map(({ namespace, workflow, key, running, maxRunning, waiting }) =>
    trouble("warning", id, {
      subject: `${namespace}/${workflow}${key === "" ? "" : ` (${key})`}`,
      message: `${waiting} runs wait for their turn, ${running} of ${maxRunning ?? "unlimited"} go on; the first of all waits for ${secondsText(longest)}`,
      nextStep: `orloj runs -n ${namespace} --workflow ${workflow} --state RUNNING shows who is before them; concurrency.max of the template bounds them`,
    }),
  );
}

async function parked(store: Store): Promise<Finding[]> {
  const id = "dead-letters.open";
  const open = await store.read(({ db }) => healthReads(db).openDeadLetters());
  if (open.length === 0) return [fine(id, "no task is parked")];
  return open.map(({ namespace, count, oldestSeconds }) => {
    const message = `${count} parked task${count === 1 ? "" : "s"}, the oldest for ${secondsText(oldestSeconds)}`;
    if (oldestSeconds < PARKED_SECONDS.warning) return fine(id, message, namespace);
    const nextStep = `orloj dead-letters list -n ${namespace}; then replay or discard`;
    const severity = oldestSeconds < PARKED_SECONDS.error ? "warning" : "error";
    return trouble(severity, id, { subject: namespace, message, nextStep });
  });
}
