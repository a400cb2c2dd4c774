// The group that a run is counted in, by what its template says of concurrency and what the run's key evaluates to.
// Called by prepare_invocation.ts and restart_run.ts. Pure.

import { DomainError } from "../../kit/errors.ts";
import type { Json } from "../../kit/json.ts";
import { groupKey } from "../queue/concurrency.ts";
import type { NewGroup } from "../storage/group_queries.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";

/** The group of a run; undefined: its workflow counts none. @throws PARAMS_INVALID if the key has no value to count by */
export function groupOf(
  { bundle: { workflow }, groupKey: expression }: CompiledBundle,
  of: { readonly params: Json; readonly tags: Readonly<Record<string, string>> },
): NewGroup | undefined {
  const { concurrency } = workflow.spec;
  if (concurrency === undefined) return undefined;
  const { namespace, name } = workflow;
  const value = expression?.evaluate({ params: of.params, tags: of.tags }) ?? { ok: true, value: "" };
  const key = value.ok ? groupKey(value.value) : { ok: false as const, error: `concurrency.key: ${value.error}` };
  if (!key.ok) throw new DomainError("PARAMS_INVALID", `group of ${name}: ${key.error}`);
  // No name of a namespace or workflow has a slash.
  const id = `${namespace}/${name}/${key.value}`;
  return { id, namespace, workflow: name, key: key.value, max_running: concurrency.max };
}
