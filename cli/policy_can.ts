// The verb `orloj policy can`: whether somebody could run a workflow, an agent in it, or a tool that the agent calls.
// Called by policy.ts. Decides dry: there is no run, nothing is counted.
// Exit codes: 0 every decision allows, 4 one denies.

import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { CanResponseSchema } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { EXIT } from "./failure.ts";
import { presentable } from "./json_output.ts";
import { collect, collectPairs, parseMoment } from "./options.ts";
import { decisionLines } from "./policy_text.ts";

interface Options {
  readonly as: string;
  readonly kind: string;
  readonly group?: string[];
  readonly claim?: Readonly<Record<string, string>>;
  readonly namespace?: string;
  readonly workflow?: string;
  readonly agent?: string;
  readonly tool?: string;
  readonly args?: string;
  readonly tag?: Readonly<Record<string, string>>;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly at?: string;
  readonly trace?: boolean;
}

/** Adds the verb to `policy`. */
export function registerCan(policy: Command, context: Context): void {
  policy
    .command("can")
    .description("Try what somebody could do, by the policies of now; changes and counts nothing.")
    .requiredOption("--as <id>", "principal id of who would ask")
    .option("--kind <kind>", "user, service or worker", "user")
    .option("--group <name>", "a group of theirs; repeatable", collect)
    .option("--claim <key=value>", "a claim of theirs; repeatable", collectPairs)
    .option("-n, --namespace <name>", "namespace of the workflow (default: default)")
    .option("-w, --workflow <name>", "the workflow; all that fit unless given")
    .option("--agent <name>", "an agent of it; all that declare the tool unless given")
    .option("--tool <name>", "a tool that the agent calls")
    .option("--args <json>", "arguments of the call; left open unless given")
    .option("-t, --tag <key=value>", "a tag that the caller sets; repeatable", collectPairs)
    .option("-m, --metadata <key=value>", "metadata of the invocation; repeatable", collectPairs)
    .option("--at <time>", "when: RFC 3339, or a duration back such as 15m; now unless given")
    .option("--trace", "print every condition, also of what is allowed")
    .action((options: Options) => can(context, options));
}

async function can(context: Context, options: Options): Promise<void> {
  const { as: id, kind, group = [], claim = {}, tag = {}, metadata = {}, at } = options;
  const { namespace = "", workflow = "", agent = "", tool = "", args = "" } = options;
  const response = await context.client.policies.can({
    ...{ as: { id, kind, groups: group, claims: claim }, namespace, workflow, agent, tool },
    ...{ argumentsJson: args, tags: tag, metadata },
    ...(at === undefined ? {} : { time: timestampFromMs(parseMoment("--at", at, context.host.clock.now())) }),
  });
  context.exitCode = response.allowed ? EXIT.ok : EXIT.denied;
  if (context.json) context.printJson(presentable(CanResponseSchema, response));
  else context.print(...decisionLines(response.decisions, context.paint, options.trace === true));
}
