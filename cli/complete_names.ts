// Names that may come next on a command line: kinds, resources, runs, tasks, workers, contexts, states.
// Called by complete.ts. Asks the server once, for ANSWER_MS at most; without an answer there are no names.
// Never runs the token command of a context: that may ask a person.

import { create } from "@bufbuild/protobuf";
import { createClient, DeadLetterFilterSchema, type OrlojClient, TaskState } from "../sdk/index.ts";
import type { Candidate } from "./complete.ts";
import { type ConnectionFlags, resolveConnection } from "./connection.ts";
import type { CliHost } from "./context.ts";
import { LOCAL, readContexts } from "./contexts.ts";
import { runStateName, taskStateName } from "./format.ts";
import { KIND_WORDS, kindOf, shortKindOf } from "./kinds.ts";
import { RUN_STATES } from "./runs.ts";
import { TASK_STATES } from "./wait_for.ts";

/** Options of a line, by the names under which commander keeps them. */
export type Given = Readonly<Record<string, string>>;

/** What is asked for: the value of an option, or the next argument of a command. */
export interface Asked {
  readonly option?: string;
  readonly path: readonly string[];
  readonly given: readonly string[];
  readonly typed: string;
  readonly options: Given;
}

const ANSWER_MS = 200;
const NAMES_MAX = 200;

type Source = (client: OrlojClient, asked: Asked, signal: AbortSignal) => Promise<Candidate[]>;

/** The names; [] when there are none, or nobody answers. */
export async function namesFor(asked: Asked, host: CliHost): Promise<readonly Candidate[]> {
  try {
    const offline = offlineNames(asked, host);
    if (offline !== undefined) return offline;
    const source = sourceFor(asked);
    return source === undefined ? [] : await fromServer(source, asked, host);
  } catch {
    return [];
  }
}

function offlineNames({ option, path, given, typed }: Asked, host: CliHost): readonly Candidate[] | undefined {
  const [verb = "", inner = ""] = path;
  if (option === "--context" || (verb === "config" && /^(use|set|delete)-context$/.test(inner))) {
    const named = Object.entries(readContexts(host.env).named).map(([value, { server = "" }]) => ({
      value,
      about: server,
    }));
    return [{ value: LOCAL, about: "the server of this machine" }, ...named];
  }
  if (option === "--state") {
    const states = verb === "tasks" ? TASK_STATES : verb === "workers" ? ["active", "draining", "lost"] : RUN_STATES;
    return states.map((value) => ({ value }));
  }
  if (option === "--for") {
    return ["end", "state=", "condition=", "no-condition=", "active=", "none", "any", "delete"].map((value) => ({
      value,
    }));
  }
  if (option !== undefined) return undefined;
  const takesKind = TAKES_KIND.has(verb) && given.length === 0 && !typed.includes("/");
  if (!takesKind) return undefined;
  const more = verb === "get" ? ["all"] : verb === "describe" ? ["run", "task", "worker"] : [];
  return [...KIND_WORDS, ...more].map((value) => ({ value }));
}

const TAKES_KIND = new Set(["get", "describe", "delete", "edit", "explain", "schema"]);

function sourceFor({ option, path, given, typed }: Asked): Source | undefined {
  const [verb = "", inner = ""] = path;
  if (option === "--workflow") return resources("workflow", "");
  if (option === "--agent") return resources("agent", "");
  if (option === "--tool") return resources("tool", "");
  if (option === "--run") return runs;
  if (option === "--worker") return workers;
  if (option === "--namespace") return namespaces;
  if (option !== undefined) return undefined;
  if (TAKES_KIND.has(verb)) return ofKind(given[0] ?? typed.split("/")[0] ?? "", given.length === 0);
  if (verb === "invoke") return given.length === 0 ? resources("workflow", "") : undefined;
  if (verb === "graph") return resources("system", "");
  if (verb === "drain") return workers;
  if (verb === "revoke") return leasedTasks;
  if (verb === "dead-letters" && inner !== "list") return parkedTasks;
  if (verb === "wait" || ["tasks", "cancel", "leases", "logs"].includes(verb)) return runs;
  return verb === "policy" && inner === "explain" ? runs : undefined;
}

function ofKind(word: string, joined: boolean): Source {
  const prefix = joined ? `${word}/` : "";
  if (word === "run") return named(runs, prefix);
  if (word === "worker") return named(workers, prefix);
  if (word === "task") return named(leasedTasks, prefix);
  return resources(word, prefix);
}

function named(source: Source, prefix: string): Source {
  return async (...args) => (await source(...args)).map((one) => ({ ...one, value: `${prefix}${one.value}` }));
}

function resources(word: string, prefix: string): Source {
  return async (client, { options }, signal) => {
    const namespace = "allNamespaces" in options ? "" : (options["namespace"] ?? "default");
    const kind = kindOf(word);
    const found = await client.manifests.listResources({ kind, namespace, pageSize: NAMES_MAX }, { signal });
    return found.resources.map((one) => ({
      value: `${prefix}${one.name}`,
      about: `${shortKindOf(one.kind)} in ${one.namespace}`,
    }));
  };
}

const namespaces: Source = async (client, _asked, signal) => {
  const { resources: all } = await client.manifests.listResources({ pageSize: 500 }, { signal });
  return [...new Set(all.map(({ namespace }) => namespace))].map((value) => ({ value }));
};

const runs: Source = async (client, { options }, signal) => {
  const { runs: all } = await client.workflows.listRuns(
    { namespace: options["namespace"] ?? "", pageSize: 50 },
    { signal },
  );
  return all.map((run) => ({ value: run.id, about: `${runStateName(run.state)} ${run.namespace}/${run.workflow}` }));
};

const workers: Source = async (client, _asked, signal) => {
  const { workers: all } = await client.fleet.listWorkers({ pageSize: NAMES_MAX }, { signal });
  return all.map((worker) => ({ value: worker.name, about: `${worker.state}, ${worker.leases} of ${worker.slots}` }));
};

const leasedTasks: Source = async (client, _asked, signal) => {
  const { leases } = await client.fleet.listLeases({ pageSize: NAMES_MAX }, { signal });
  return leases.map((lease) => ({
    value: lease.taskId,
    about: `${taskStateName(TaskState.LEASED)} ${lease.node} on ${lease.worker}`,
  }));
};

const parkedTasks: Source = async (client, _asked, signal) => {
  const filter = create(DeadLetterFilterSchema);
  const { deadLetters } = await client.deadLetters.listDeadLetters({ filter, pageSize: NAMES_MAX }, { signal });
  return deadLetters.map((letter) => ({ value: letter.taskId, about: `${letter.cause} ${letter.workflow}` }));
};

async function fromServer(source: Source, asked: Asked, host: CliHost): Promise<Candidate[]> {
  const { endpoint, token, tls } = resolveConnection(asked.options as ConnectionFlags, host.env, host.directory);
  if (typeof token === "function") return [];
  const late = new AbortController();
  const cancel = host.clock.after(ANSWER_MS, () => late.abort());
  try {
    const client = createClient({ endpoint, ...(token && { token }), ...(tls && { tls }) });
    // A connection that is being made does not hear of the signal at once.
    const never = new Promise<Candidate[]>((resolve) => late.signal.addEventListener("abort", () => resolve([])));
    return await Promise.race([source(client, asked, late.signal), never]);
  } finally {
    cancel();
    late.abort();
  }
}
