// Where the control plane itself listens, which no tool may reach, whatever networks the operator listed: its listeners and its
// database. Told by the server when a session opens; asked by addresses.ts for every connection of a tool.
// What is on this machine is refused at each of its addresses: the loopback ones, and those of its interfaces.

import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";

/** Resolves a name to its addresses. */
export type ResolveHost = (host: string) => Promise<readonly string[]>;

const LOOPBACK = /^(?:127\.|::1$|0\.0\.0\.0$|::$)/;

/** See the file header. */
export class ControlPlaneEndpoints {
  readonly #resolve: ResolveHost;
  /** "address port" of other machines. */
  readonly #elsewhere = new Set<string>();
  readonly #portsHere = new Set<number>();

  constructor(resolve: ResolveHost = resolveWithSystem) {
    this.#resolve = resolve;
  }

  /**
   * Takes what a server told: host:port each, without host the one that was dialled. Never forgets: replicas come and go.
   *
   * @param dialled host that the worker reached the server at.
   */
  async learn(told: readonly string[], dialled: string): Promise<void> {
    for (const endpoint of told) {
      const [, host = "", port = ""] = /^(.*):(\d{1,5})$/.exec(endpoint) ?? [];
      if (port === "") continue;
      await this.#add(host === "" ? dialled : host, Number(port));
    }
  }

  /** True if a tool may not connect there. The address is a plain one: IPv4, or IPv6 that carries none. */
  includes(address: string, port: number): boolean {
    if (this.#elsewhere.has(`${address} ${port}`)) return true;
    return this.#portsHere.has(port) && isHere(address);
  }

  async #add(host: string, port: number): Promise<void> {
    const plain = host.replace(/^\[|\]$/g, "");
    const addresses = isIP(plain) === 0 ? await this.#resolve(plain).catch(() => []) : [plain];
    for (const address of addresses) {
      if (isHere(address)) this.#portsHere.add(port);
      else this.#elsewhere.add(`${address} ${port}`);
    }
  }
}

function isHere(address: string): boolean {
  if (LOOPBACK.test(address)) return true;
  return Object.values(networkInterfaces()).some((all) => all?.some((one) => one.address === address));
}

async function resolveWithSystem(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}
