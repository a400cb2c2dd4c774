// A worker and a lease as the fake control plane shows them.
import type * as views from "../../server/commands/views.ts";

const time = new Date("2026-01-02T03:04:05.678Z");

export const WORKER: views.WorkerSessionView = {
  sessionId: "ses_1",
  name: "w",
  identity: "worker",
  instanceId: "i",
  labels: {},
  slots: 4,
  runtimes: ["model", "handler"],
  handlers: ["refunds"],
  leases: 1,
  state: "active",
  connectTime: time,
  lastSeenTime: time,
  replicaId: "rep_1",
  version: "0.1.0",
};

export const LEASE: views.LeaseView = {
  taskId: "task_1",
  runId: "run_1",
  node: "n",
  sessionId: "ses_1",
  worker: "w",
  attempt: 1,
  delivery: 1,
  accepted: true,
  claimTime: time,
  expireTime: time,
};
