// A run, a task, and what was logged about it, as the fake control plane gives them. Every member is set to something that a test can know again.

import type { TaskLogChunkView } from "../../server/commands/task_log_views.ts";
import type * as views from "../../server/commands/views.ts";

const time = new Date("2026-01-02T03:04:05.678Z");

export const RUN: views.RunView = {
  id: "run_1",
  namespace: "default",
  workflow: "hello",
  state: "RUNNING",
  conditions: ["Parked"],
  waitingFor: ["runtime handler, handler refunds"],
  requester: { id: "dev", kind: "user", groups: ["g"], claims: { a: "b" }, method: "test" },
  tags: { team: "x" },
  metadata: {},
  parametersJson: "{}",
  bundleDigest: "sha256:0",
  traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
  createTime: time,
  startTime: time,
  nodes: [
    {
      ...{ name: "n", state: "ACTIVE", iteration: 0, kind: "agent", target: "agent", quorum: 1 },
      map: { concurrency: 5, onItemError: "collect", itemsTotal: 9, itemsEnded: 4 },
      failure: { class: "Timeout", message: "late" },
    },
  ],
  edges: [
    {
      ...{ from: "n", to: "m", when: "true", otherwise: false, outcome: "succeeded", taken: true },
      loop: { max: 3, onExhausted: "continue", taken: 2 },
    },
  ],
};
export const TASK: views.TaskView = {
  id: "task_1",
  runId: "run_1",
  node: "n",
  iteration: 0,
  item: -1,
  state: "DEAD_LETTERED",
  agent: "agent",
  attempt: 1,
  deliveries: 0,
  worker: "w",
  createTime: time,
};
export const LOG_CHUNK: TaskLogChunkView = {
  ...{ id: 9n, taskId: "task_1", node: "n", iteration: 0, item: -1, attempt: 1, delivery: 0, worker: "w", dropped: 2 },
  lines: [{ time, level: "warn", text: "slow" }],
};
