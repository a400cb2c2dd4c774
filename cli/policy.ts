// The verb `orloj policy`: explains what was decided, tries what would be decided, and tests policies without a server.
// Called by main.ts. Its verbs are files of their own; none of them touches a run or counts anything.

import type { Command } from "commander";
import type { Context } from "./context.ts";
import { registerCan } from "./policy_can.ts";
import { registerExplain } from "./policy_explain.ts";
import { registerTest } from "./policy_test.ts";

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  const policy = program.command("policy").description("Explain decisions, try them, and test policies.");
  registerExplain(policy, context);
  registerCan(policy, context);
  registerTest(policy, context);
  for (const command of policy.commands) command.exitOverride();
}
