// Tells where a server that is ready listens: on standard output, and in config.json of its home for the CLI and local workers.
// Called by main.ts. The development token is made, printed and kept for a listener on loopback alone, the join token for workers without
// certificates; otherwise there is none.

import type { ServerConfig } from "./config.ts";
import { handBackHomeConfig, readHomeConfig, writeHomeConfig } from "./home.ts";
import type { Replica } from "./replica.ts";
import { isLoopback, type ListenerPorts } from "./rpc/listeners.ts";

const LOCAL: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** Announces; the result gives the home's file back to an earlier server at the end. */
export async function announce(
  config: ServerConfig,
  home: string,
  { tokens }: Pick<Replica, "tokens">,
  bound: ListenerPorts,
): Promise<() => Promise<void>> {
  const kept = readHomeConfig(home);
  const token = isLoopback(config.host)
    ? await tokens.ensure(kept.token, {
        ...{ id: "dev", kind: "user", groups: config.developmentGroups, method: "development-token", roles: ["admin"] },
      })
    : "";
  const joinToken = config.workers.tls
    ? ""
    : await tokens.ensure(kept.joinToken, {
        ...{ id: "local-worker", kind: "worker", groups: [], method: "join-token", roles: ["worker"] },
      });
  const endpoint = `${config.tls === undefined ? "http" : "https"}://${inUrl(config.host)}:${bound.api}`;
  // Whoever reads the file is on this machine: an address that stands for all of them is none to dial.
  const workerEndpoint = `${inUrl(LOCAL[config.workers.host] ?? config.workers.host)}:${bound.worker}`;
  const own = { endpoint, token, workerEndpoint, joinToken };
  writeHomeConfig(home, own);
  const development = token === "" ? "" : `development token (for this machine only): ${token}\n`;
  process.stdout.write(
    `orloj server ready api=${endpoint} worker=${inUrl(config.workers.host)}:${bound.worker} ops=http://${inUrl(config.opsHost)}:${bound.ops}\n${development}settings for the CLI and workers: ${home}/config.json\n`,
  );
  return () => handBackHomeConfig(home, own, kept);
}

function inUrl(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
