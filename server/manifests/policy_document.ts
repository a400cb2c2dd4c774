// The closed schema of the document that policies read: its paths, at which checkpoints they exist, and its CEL variables.
// Called by the reader of policies (to check), by server/policy (to read), and by unverified_reads.ts. Pure.

import type { Json, JsonObject } from "../../kit/json.ts";
import { isJsonObject } from "../../kit/json.ts";
import { bindJson, bindTime } from "../../language/binder.ts";
import type { Activation } from "../../language/condition.ts";
import { didYouMean } from "./diagnostics.ts";
import { CHECKPOINTS, type Checkpoint } from "./specs.ts";

/** Names that the CEL of a policy may read. */
export const POLICY_VARIABLES: readonly string[] = [
  ...["requester", "agent", "tool", "args", "workflow", "run", "context", "chain", "now"],
];
/** Longest list in a document that CEL may read. */
export const LIST_ITEMS_MAX = 1_000;

const VALUE = "value";
const MAP = "map";
/** Members of each part: a value, or a map of texts whose keys are free. `args` is any JSON. */
const PARTS: Readonly<Record<string, Readonly<Record<string, typeof VALUE | typeof MAP>>>> = {
  requester: { id: VALUE, kind: VALUE, groups: VALUE, claims: MAP },
  agent: { name: VALUE, namespace: VALUE, labels: MAP },
  tool: { name: VALUE, namespace: VALUE, type: VALUE, effect: VALUE, guarded: VALUE, labels: MAP },
  workflow: { name: VALUE, namespace: VALUE, labels: MAP },
  run: { id: VALUE },
  context: { tags: MAP, labels: MAP, metadata: MAP },
};
/** Checkpoints at which a part exists; everywhere unless it is named here. */
const EXISTS_AT: Readonly<Record<string, readonly Checkpoint[]>> = {
  agent: ["agent.run", "tool.call"],
  tool: ["tool.call"],
  args: ["tool.call"],
};

/** Checkpoints at which what a path begins with exists. */
export function checkpointsOf(path: string): readonly Checkpoint[] {
  return EXISTS_AT[path.split(".")[0] as string] ?? CHECKPOINTS;
}

/** A path of the document, read; the key of a map is one member, dots and all. */
export type DocumentPath =
  | { readonly ok: true; readonly members: readonly string[] }
  | { readonly ok: false; readonly error: string; readonly hint: string };

/** Reads a path such as `context.tags.customer-id` or `args.order.id`. */
export function parsePath(text: string): DocumentPath {
  const [part = "", member, ...rest] = text.split(".");
  if (text.length > 256 || text.split(".").some((name) => name === "")) {
    return { ok: false, error: `"${text.slice(0, 80)}" is not a path`, hint: "for example context.tags.customer-id" };
  }
  if (part === "args") return { ok: true, members: text.split(".") };
  const problem = ["chain", "now"].includes(part)
    ? { error: `${part} is always there, for CEL alone`, hint: "read it in a cel condition" }
    : memberProblem([part, ...(member === undefined ? [] : [member])]);
  if (problem !== undefined) return { ok: false, ...problem };
  if (member === undefined) return { ok: true, members: [part] };
  const key = rest.join(".");
  if (key === "") return { ok: true, members: [part, member] };
  if (PARTS[part]?.[member] === MAP) return { ok: true, members: [part, member, key] };
  return { ok: false, error: `${part}.${member} has no members`, hint: `write ${part}.${member}` };
}

/** What is wrong with the first members of a path, as far as the schema is closed. */
export function memberProblem(path: readonly string[]): { error: string; hint: string } | undefined {
  const [part = "", member] = path;
  if (["args", "chain", "now"].includes(part)) return undefined;
  const members = Object.hasOwn(PARTS, part) ? PARTS[part] : undefined;
  if (members === undefined) {
    const known = [...Object.keys(PARTS), "args"];
    return {
      error: `there is no "${part}" in what a policy reads`,
      hint: didYouMean(part, known) || `known: ${known.join(", ")}`,
    };
  }
  if (member === undefined || Object.hasOwn(members, member)) return undefined;
  const known = Object.keys(members);
  return {
    error: `${part} has no member "${member}"`,
    hint: didYouMean(member, known) || `known: ${known.join(", ")}`,
  };
}

/** True for a path that a document may lack: the key of a map, and whatever is inside `args`. */
export function isOptional(path: readonly string[]): boolean {
  return path[0] === "args" ? path.length > 1 : path.length > 2;
}

/** The value at a path; undefined if it is absent. Own members only. */
export function valueAt(document: object, members: readonly string[]): unknown {
  let at: unknown = document;
  for (const name of members) {
    if (!isJsonObject(at) || !Object.hasOwn(at, name)) return undefined;
    at = at[name];
  }
  return at ?? undefined;
}

/** CEL values of the variables. @throws RangeError for a list that is too long */
export function celVariables(document: JsonObject, nowMs: number): Activation {
  const variables = Object.create(null) as Record<string, Activation[string]>;
  for (const name of POLICY_VARIABLES) {
    const value = document[name];
    if (value === undefined) continue;
    capLists(value, name);
    variables[name] = bindJson(value);
  }
  variables["now"] = bindTime(nowMs);
  return variables;
}

function capLists(value: Json, where: string): void {
  if (typeof value !== "object" || value === null) return;
  if (Array.isArray(value) && value.length > LIST_ITEMS_MAX) {
    throw new RangeError(`${where} holds a list of more than ${LIST_ITEMS_MAX} items`);
  }
  for (const member of Object.values(value)) capLists(member, where);
}

/** A document as large as it gets: what expressions are tried on when a policy is applied. */
export const SAMPLE_DOCUMENT: JsonObject = {
  requester: { id: "sample", kind: "user", groups: ["sample"], claims: {} },
  agent: { name: "sample", namespace: "sample", labels: {} },
  tool: { name: "sample", namespace: "sample", type: "http", effect: "read", guarded: false, labels: {} },
  args: {},
  workflow: { name: "sample", namespace: "sample", labels: {} },
  run: { id: "sample" },
  context: { tags: {}, labels: {}, metadata: {} },
  chain: [{ kind: "requester", name: "sample" }],
};
/** Time at which expressions are tried, in ms: 2026-01-01T12:00:00Z. */
export const SAMPLE_NOW_MS = 1_767_268_800_000;
