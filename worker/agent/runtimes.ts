// The runtimes of this worker: how an agent of each kind is executed, and whether this worker can.
// Made once by worker.ts; the session asks it for each assignment, and Hello names its keys.
// A new runtime is one more member here; what all of them share (time, stopping, failures) is in within_time.ts.

import { type LoopDependencies, runTask } from "./loop.ts";
import { type OutsideDependencies, runOutsideAgent } from "./outside_agent.ts";
import type { AgentTask, TaskEnd, TaskPort } from "./task.ts";
import type { AgentView } from "./view.ts";

/** Executes the tasks of one kind of agent. */
export interface Runtime {
  /** Whether this worker has what the agent needs. */
  supports(agent: AgentView): boolean;
  /** Runs a task to its end; never rejects. */
  run(task: AgentTask, port: TaskPort, signal: AbortSignal): Promise<TaskEnd>;
}

/** Runtimes by the name that agents use. */
export type Runtimes = ReadonlyMap<string, Runtime>;

/** What executes an agent; undefined if this worker cannot. */
export function runtimeOf(runtimes: Runtimes, agent: AgentView): Runtime | undefined {
  const runtime = runtimes.get(agent.runtime);
  return runtime?.supports(agent) === true ? runtime : undefined;
}

/** All runtimes of this worker. */
export function createRuntimes(dependencies: LoopDependencies & OutsideDependencies): Runtimes {
  const { models } = dependencies;
  const model: Runtime = {
    supports: (agent) => models[agent.model?.provider ?? ""] !== undefined,
    run: (task, port, signal) => runTask(task, port, signal, dependencies),
  };
  const outside: Runtime = {
    supports: () => true,
    run: (task, port, signal) => runOutsideAgent(task, port, signal, dependencies),
  };
  return new Map([
    ["model", model],
    ["http", outside],
    ["command", outside],
  ]);
}
