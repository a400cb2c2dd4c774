// Stands handler code on a played server for one task: what it ran, what it logged, how it stops.
// Used by the tests of handlers.

import { systemClock } from "../../kit/clock.ts";
import { seededRandom } from "../../kit/random.ts";
import { Redactor } from "../../kit/redactor.ts";
import type { AgentTask, TaskEnd } from "../../worker/agent/task.ts";
import type { AgentView } from "../../worker/agent/view.ts";
import type { Handler } from "../../worker/handler/context.ts";
import { runHandler } from "../../worker/handler/run_handler.ts";
import type { LogFields } from "../../worker/log.ts";
import { failedRun, type ToolExecutors } from "../../worker/tool/executor.ts";
import { agentTask, type Decide, fakeExecutors, RecordingPort, toolView } from "./recording_port.ts";

const tools = [toolView("search"), toolView("act")];

/** A stage for one task, whose journal is there already. */
export function staged(journal: RecordingPort["journal"] = [], decide?: Decide) {
  const effects: string[] = [];
  const logged: [string, LogFields | undefined][] = [];
  const stop = new AbortController();
  const port = new RecordingPort(journal, decide);
  const executors = fakeExecutors((tool, args) => {
    effects.push(`${tool} ${JSON.stringify(args)}`);
    return { ok: true, result: { tool, args } };
  });
  return { effects, logged, stop, port, executors };
}

type Staged = ReturnType<typeof staged>;

/** Runs the code of an agent with the tools search and act. */
export function run(
  handler: Handler,
  stage: Staged,
  { agent = {}, task = {} }: { agent?: Partial<AgentView>; task?: Partial<AgentTask> } = {},
  more: { executors?: ToolExecutors; graceMs?: number; redactor?: Redactor } = {},
): Promise<TaskEnd> {
  const view = { runtime: "handler", handler: "h", tools, ...agent };
  return runHandler(agentTask(view, { journal: [...stage.port.journal], ...task }), stage.port, stage.stop.signal, {
    handlers: { h: handler },
    executors: more.executors ?? stage.executors,
    clock: systemClock(),
    random: seededRandom(1),
    redactor: more.redactor ?? new Redactor(),
    log: (_level, message, fields) => stage.logged.push([message, fields]),
    graceMs: more.graceMs ?? 5_000,
  });
}

/** Every tool fails. */
export const failing = fakeExecutors(() => failedRun("Http4xx", "the endpoint answered 404", false));
