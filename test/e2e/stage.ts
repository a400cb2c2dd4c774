// What every end-to-end test stands on: a server process, its client, a counting server as the world outside, workers on demand.
// Waits are signals: the counting server's barriers, and the audit trail by its watch stream.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type AuditRecord, createClient, type OrlojClient, type RunHandle } from "../../sdk/index.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { type CountingServer, startCountingServer } from "../harness/counting_server.ts";
import {
  type RunningProcess,
  type ServerOptions,
  type ServerProcess,
  startServer,
  startWorker,
} from "../harness/processes.ts";

const RECORD_WAIT_MS = 20_000;

// biome-ignore lint/suspicious/noExplicitAny: what a record holds is what the test expects of it
export type Detail = any;

/** An audit record with its detail. */
export interface Entry {
  readonly kind: string;
  readonly actor: string;
  readonly taskId: string;
  readonly runId: string;
  readonly detail: Detail;
}

export interface Stage {
  readonly server: ServerProcess;
  readonly client: OrlojClient;
  readonly sink: CountingServer;
  /** Starts a worker of that name that may reach the counting server. */
  worker(name: string, env?: Readonly<Record<string, string>>): Promise<RunningProcess>;
  /** Applies documents: text, or objects. */
  apply(...documents: readonly (string | object)[]): Promise<void>;
  /** Every record of a run so far, oldest first. */
  trail(run: RunHandle, kind?: string): Promise<Entry[]>;
  /** The first record of that kind that fits, also one that was written before; of the whole control plane. */
  record(kind: string, fits: (entry: Entry) => boolean): Promise<Entry>;
  /** Name of the worker that holds the run's one task. */
  holder(run: RunHandle): Promise<string>;
}

export async function startStage(options: ServerOptions & { readonly leaseTtl?: string } = {}): Promise<Stage> {
  const sink = await startCountingServer();
  const { leaseTtl = "2s", ...serverOptions } = options;
  const server = await startServer({
    ...serverOptions,
    args: ["--lease-ttl", leaseTtl, ...(options.args ?? [])],
    env: { ORLOJ_SECRET_SINK_URL: sink.url, ...options.env },
  });
  return stageOf(server, sink);
}

/** The same stage on a server that was started again. */
export function stageOf(server: ServerProcess, sink: CountingServer): Stage {
  const { token } = JSON.parse(readFileSync(join(server.home, "config.json"), "utf8")) as { token: string };
  const client = createClient({ endpoint: server.api, token });
  const stopWatching = new AbortController();
  atEndOfFile(() => stopWatching.abort());
  return {
    server,
    client,
    sink,
    worker: (name, env = {}) =>
      startWorker(server, {
        args: ["--name", name],
        env: {
          ORLOJ_PRIVATE_NETWORKS: "127.0.0.0/8",
          ORLOJ_COMMAND_PATH: `${dirname(process.execPath)}:/usr/bin:/bin`,
          ...env,
        },
      }),
    async apply(...documents) {
      const content = documents.map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join("\n---\n");
      await client.manifests.apply({ files: [{ name: "inline.yaml", content }] });
    },
    async trail(run, kind) {
      const filter = { runId: run.id, kinds: kind === undefined ? [] : [kind] };
      const { records } = await client.audit.listAuditRecords({ filter, pageSize: 1_000 });
      return records.map(entryOf);
    },
    async record(kind, fits) {
      const signal = AbortSignal.any([stopWatching.signal, AbortSignal.timeout(RECORD_WAIT_MS)]);
      const seen: unknown[] = [];
      try {
        const watched = client.audit.watchAuditRecords({ filter: { kinds: [kind] }, afterId: 1n }, { signal });
        for await (const { records } of watched) {
          const found = records.map(entryOf).find(fits);
          if (found !== undefined) return found;
          seen.push(...records.map((record) => record.recordJson));
        }
      } catch (error) {
        throw new Error(`no fitting ${kind} came; seen: ${seen.join("\n")}`, { cause: error });
      }
      throw new Error(`the trail ended before a fitting ${kind}`);
    },
    async holder(run) {
      const { leases } = await client.fleet.listLeases({ runId: run.id });
      if (leases.length !== 1) throw new Error(`${leases.length} leases of ${run.id}`);
      return leases[0]?.worker ?? "";
    },
  };
}

function entryOf({ kind, actor, taskId, runId, recordJson }: AuditRecord): Entry {
  return { kind, actor, taskId, runId, detail: (JSON.parse(recordJson) as { detail: Detail }).detail };
}

/** A worker by name, of those given. */
export function split<Name extends string>(workers: Readonly<Record<Name, RunningProcess>>, holder: string) {
  const names = Object.keys(workers) as Name[];
  const other = names.find((name) => name !== holder) as Name;
  return { held: workers[holder as Name], other: workers[other], otherName: other };
}

/** Name of an enum's value, such as "CANCELLED". */
export function nameOf(values: Readonly<Record<string, number>>, value: number | undefined): string {
  return Object.entries(values).find(([, other]) => other === value)?.[0] ?? String(value);
}
