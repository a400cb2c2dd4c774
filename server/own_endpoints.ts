// Where a control plane itself listens, as its workers are told: no tool may reach it, whatever networks an operator listed.
// Called by replica.ts. An endpoint without host is on the machine that a worker dialled.
// Never tells user or password of the database.

import { isLoopback, type ListenerPorts } from "./rpc/listeners.ts";

/** The database; [] for one behind a local socket, which no tool can reach. */
export function databaseEndpoints(databaseUrl: string): string[] {
  if (!URL.canParse(databaseUrl)) return [];
  const url = new URL(databaseUrl);
  const host = url.searchParams.get("host") ?? decodeURIComponent(url.hostname);
  if (host === "" || host.startsWith("/")) return [];
  const port = url.searchParams.get("port") ?? (url.port === "" ? "5432" : url.port);
  return [`${host === "localhost" || isLoopback(host.replace(/^\[|\]$/g, "")) ? "" : host}:${port}`];
}

/** The listeners. */
export function listenerEndpoints({ api, worker, ops }: ListenerPorts): string[] {
  return [api, worker, ops].map((port) => `:${port}`);
}
