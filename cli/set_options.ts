// The options of apply and diff that are about sets: which set the manifests belong to, and what becomes of the rest of it.
// Called by apply.ts and diff.ts. Pure.

import type { Command } from "commander";
import { LABEL, LABEL_RULE } from "../server/manifests/fields.ts";
import { UsageError } from "./failure.ts";

/** What the options say. */
export interface SetOptions {
  readonly set?: string;
  readonly prune?: boolean;
  readonly adopt?: boolean;
}

/** Adds the options to a verb. */
export function withSetOptions(command: Command): Command {
  return command
    .option("--set <name>", "record the manifests as those of this set, which --prune is about")
    .option("--prune", "delete what is in the set and not in the files any more; needs --set")
    .option("--adopt", "take over manifests that belong to another set; needs --set");
}

/** The options as a request takes them. @throws UsageError */
export function setFields({ set, prune = false, adopt = false }: SetOptions): {
  readonly set: string;
  readonly prune: boolean;
  readonly adopt: boolean;
} {
  if (set !== undefined && !LABEL.test(set)) throw new UsageError(`--set ${set} is not a name: use ${LABEL_RULE}`);
  if (set === undefined && (prune || adopt)) {
    const option = prune ? "--prune" : "--adopt";
    throw new UsageError(
      `${option} is about a set, and none is named`,
      `${option} --set NAME, with the same name at every apply`,
    );
  }
  return { set: set ?? "", prune, adopt };
}
