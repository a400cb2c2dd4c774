// Reads a tool's Postgres address and makes the socket of its connection, which goes through the same check of addresses as http
// tools do. Called by postgres.ts. Takes everything from the address and nothing from the worker's environment: a manifest must
// not be able to send the worker's own password somewhere.

import { Socket } from "node:net";
import type { ConnectionOptions } from "node:tls";
import type pg from "pg";
import { checkLiteral, guardedLookup, type Network, Refused } from "./network.ts";

/** A connection to be made, and its socket once there is one. */
export interface PostgresConnection {
  readonly options: pg.ClientConfig;
  socket(): Socket | undefined;
  /** The same again, with a socket of its own. */
  again(): PostgresConnection;
}

const SSL_MODES: Readonly<Record<string, boolean | ConnectionOptions>> = {
  disable: false,
  require: { rejectUnauthorized: false },
  "verify-full": true,
};

/**
 * Options for a client.
 *
 * `sslmode` of the address is disable, require, or verify-full. Without it a tool that may reach private networks connects
 * without TLS, and any other with a verified certificate.
 *
 * @throws Refused for an address that names no host or user, or asks for something else.
 */
export function connectionOptions(dsn: string, allowPrivateNetwork: boolean, network: Network): PostgresConnection {
  const url = /^postgres(?:ql)?:/.test(dsn) && URL.canParse(dsn) ? new URL(dsn) : undefined;
  const host = decodeURIComponent(url?.hostname ?? "").replace(/^\[|\]$/g, "");
  if (url === undefined || host === "" || host.includes("/") || url.username === "") {
    throw new Refused(
      "the tool's dsn names no host or no user; write it as postgres://user:password@host:5432/database",
    );
  }
  for (const name of url.searchParams.keys()) {
    if (name !== "sslmode") throw new Refused(`the tool's dsn asks for ${name}; of options it may hold sslmode only`);
  }
  const mode = url.searchParams.get("sslmode") ?? (allowPrivateNetwork ? "disable" : "verify-full");
  const ssl = SSL_MODES[mode];
  if (ssl === undefined)
    throw new Refused("the tool's dsn asks for an sslmode that is not disable, require or verify-full");
  const port = url.port === "" ? 5432 : Number(url.port);
  const user = decodeURIComponent(url.username);
  const password = decodeURIComponent(url.password);
  let socket: GuardedSocket | undefined;
  return {
    options: {
      ...{ host, port, user, ssl, database: decodeURIComponent(url.pathname.slice(1)) || user },
      // A function, so that an empty one is not looked for in the environment or a password file.
      password: () => password,
      application_name: "orloj-tool",
      stream: () => {
        socket = new GuardedSocket(network, allowPrivateNetwork);
        return socket;
      },
    },
    socket: () => socket,
    again: () => connectionOptions(dsn, allowPrivateNetwork, network),
  };
}

/** A socket that connects to allowed addresses only. */
class GuardedSocket extends Socket {
  readonly #network: Network;
  readonly #allowPrivateNetwork: boolean;

  constructor(network: Network, allowPrivateNetwork: boolean) {
    super();
    this.#network = network;
    this.#allowPrivateNetwork = allowPrivateNetwork;
  }

  // The driver calls it as connect(port, host).
  override connect(port: unknown, host?: unknown): this {
    if (typeof port !== "number" || typeof host !== "string") {
      process.nextTick(() => this.destroy(new Refused("a local socket is not an address that a tool may reach")));
      return this;
    }
    const destination = { port, allowPrivateNetwork: this.#allowPrivateNetwork };
    try {
      checkLiteral(this.#network, host, destination);
    } catch (error) {
      process.nextTick(() => this.destroy(error as Error));
      return this;
    }
    return super.connect({ port, host, lookup: guardedLookup(this.#network, destination) });
  }
}
