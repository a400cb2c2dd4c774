// What a hostile run stands on: a real server, an honest worker process with runs of its own, a service that counts effects, and manifests.
// Called by campaign.ts. Its database is an embedded Postgres unless the environment given names another one.
// Hostile clients and the honest worker get different tasks: agents want a label, and each side has its own.

import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch } from "../../cli/processes.ts";
import type { Cleanup } from "../../demo/fleet.ts";
import type { Clock } from "../../kit/clock.ts";
import { createClient, type OrlojClient } from "../../sdk/index.ts";
import { agent, httpTool, policy, single, system, template } from "../e2e/documents.ts";
import { Dialer } from "../fuzz/hostile_sessions.ts";
import { type CountingServer, startCountingServer } from "../harness/counting_server.ts";

const COMMAND = join(import.meta.dirname, "../../bin/orloj.ts");

/** See the file header. */
export interface World {
  readonly client: OrlojClient;
  readonly sink: CountingServer;
  /** A connection to the worker port. */
  dial(): Dialer;
  /** Lets nobody, or everybody again, call the tool `toggled`. Resolves when the change is acknowledged. */
  toggle(isOpen: boolean): Promise<void>;
}

const TIDY = { type: "object", required: ["ok"], properties: { ok: { type: "boolean" } } };
const ONE = { tools: ["pay", "look", "picky"], outputSchema: TIDY };
const on = (side: string) => ({ requirements: { labels: { side } }, errorHandling: { onExhausted: "fail" } });
// Hostile clients play the worker of these agents: the script is never asked.
const played = [{ output: { ok: true } }];
const NUMBER = { type: "object", required: ["n"], properties: { n: { type: "integer" } }, additionalProperties: false };
// By the arguments as well, so that it is the call that is denied and not the task before it leaves.
const closed = (name: string, tool: string, groups: readonly string[]) =>
  policy(name, {
    attachTo: [{ kind: "Tool", name: tool }],
    checkpoints: ["tool.call"],
    allow: { any: [{ match: { "requester.groups": groups } }, { cel: "has(args.open_sesame)" }] },
  });

const MANIFESTS = [
  ...["pay", "vault", "after", "steady", "locked", "toggled"].map((name) =>
    httpTool(name, `/${name}`, { effect: "write" }),
  ),
  httpTool("look", "/look", { effect: "read" }),
  httpTool("picky", "/picky", { effect: "write", inputSchema: NUMBER }),
  httpTool("keyed", "/keyed", { effect: "read", timeout: "1s", idempotency: { key: "args.key", ttl: "1h" } }),
  agent("bait", played, { ...ONE, ...on("bait") }),
  agent("special", played, { ...ONE, tools: ["locked", "toggled", "keyed"], ...on("special") }),
  agent("elder", played, { ...ONE, tools: ["keyed"], ...on("elder") }),
  agent("after", played, { tools: ["after", "vault"], ...on("special") }),
  agent(
    "honest",
    [{ when: "turn == 1", toolCalls: [{ name: "steady", arguments: { n: 1 } }] }, { output: { ok: true } }],
    { tools: ["steady"], ...on("honest") },
  ),
  ...["bait", "special", "elder", "honest"].flatMap((name) => single(name)),
  system("chain", {
    nodes: [
      { name: "first", agent: "special" },
      { name: "second", agent: "after" },
    ],
    edges: [{ from: "first", to: "second" }],
    output: { schema: {}, value: "done" },
  }),
  template("chain"),
  closed("locked-to-all", "locked", ["nobody"]),
];

/** Starts everything; what was started is in cleanup even if a later start fails. */
export async function startWorld(
  clock: Clock,
  cleanup: Cleanup,
  more: Readonly<Record<string, string>> = {},
): Promise<World> {
  const sink = await startCountingServer();
  cleanup.add(() => sink.close());
  const home = await mkdtemp(join(tmpdir(), "orloj-hostile-"));
  cleanup.add(() => rm(home, { recursive: true, force: true, maxRetries: 3 }));
  // Postgres refuses to run as root; the user it then runs as has to pass through.
  await chmod(home, 0o711);
  const kept = Object.entries(process.env).filter(([name]) => !/^(ORLOJ_|VITEST|NODE_OPTIONS|NODE_ENV)/.test(name));
  const env = { ...Object.fromEntries(kept), ORLOJ_HOME: home, ORLOJ_LOG_LEVEL: "error" };
  const ports = { ORLOJ_API_PORT: "0", ORLOJ_WORKER_PORT: "0", ORLOJ_OPS_PORT: "0" };
  const server = await launch(
    {
      name: "server",
      args: [COMMAND, "server", "--lease-ttl", "30s", "--dev-groups", "developers"],
      env: { ...env, ...ports, ORLOJ_SECRET_SINK_URL: sink.url, ...more },
      ready: /^orloj server ready\b.*\bapi=(\S+) worker=(\S+)/,
    },
    clock,
    (stop) => cleanup.add(stop),
  );
  const [, api = "", worker = ""] = server.match;
  const config = JSON.parse(await readFile(join(home, "config.json"), "utf8")) as { token: string; joinToken: string };
  const client = createClient({ endpoint: api, token: config.token });
  const apply = async (documents: readonly object[]) => {
    const content = documents.map((one) => JSON.stringify(one)).join("\n---\n");
    await client.manifests.apply({ files: [{ name: "hostile.yaml", content }] });
  };
  await apply(MANIFESTS);
  await launch(
    {
      name: "honest worker",
      args: [COMMAND, "worker", "--name", "honest", "--label", "side=honest"],
      env: {
        ...env,
        ORLOJ_WORKER_ENDPOINTS: worker.replace(/^https?:\/\//, ""),
        ORLOJ_PRIVATE_NETWORKS: "127.0.0.0/8",
      },
      ready: /^(?:orloj )?worker\b.*\bready\b/,
    },
    clock,
    (stop) => cleanup.add(stop),
  );
  return {
    ...{ client, sink },
    dial: () => new Dialer(worker.startsWith("http") ? worker : `http://${worker}`, config.joinToken),
    toggle: (isOpen) => apply([closed("toggled-gate", "toggled", isOpen ? ["developers"] : ["nobody"])]),
  };
}
