// The verb `orloj policy explain`: why a run, a task, or a call of a tool was decided as it was, and how it would be decided now.
// Called by policy.ts. Prints the tree of every policy; changes nothing.
// Exit code 0 whatever the decision is: to ask why is no failure.

import type { Command } from "commander";
import { ExplainResponseSchema } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { UsageError } from "./failure.ts";
import { presentable } from "./json_output.ts";
import { decisionLines } from "./policy_text.ts";

interface Options {
  readonly tool?: string;
  readonly args?: string;
}

/** Adds the verb to `policy`. */
export function registerExplain(policy: Command, context: Context): void {
  policy
    .command("explain")
    .description(
      "Explain what a run or task was decided: as recorded, and by the policies of now, with every condition.",
    )
    .argument("<run|task>", "id of a run or a task")
    .option("--tool <name>", "explain calls of this tool instead")
    .option("--args <json>", "arguments of the call; those of the task's last call unless given")
    .action((id: string, options: Options) => explain(context, id, options));
}

async function explain(context: Context, id: string, { tool = "", args = "" }: Options): Promise<void> {
  const isTask = id.startsWith("task_");
  if (!isTask && !id.startsWith("run_")) {
    throw new UsageError(`"${id}" is the id of neither a run nor a task`, "orloj runs, or orloj tasks RUN, lists them");
  }
  const of = isTask ? { taskId: id } : { runId: id };
  const response = await context.client.policies.explain({ ...of, tool, argumentsJson: args });
  if (context.json) context.printJson(presentable(ExplainResponseSchema, response));
  else context.print(...decisionLines(response.decisions, context.paint, true));
}
