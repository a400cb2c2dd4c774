// The way from a tool to the network: which address a connection may go to is decided when it is made, in the same resolution
// that the socket uses, so that a name cannot resolve to something else in between. Called by every executor that connects:
// http, webhook, database, mcp. Proxies in the environment are never used.

import { lookup as systemLookup } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import type { Clock } from "../../kit/clock.ts";
import type { AddressGuard } from "./addresses.ts";

/** One resolved address. */
export interface ResolvedAddress {
  readonly address: string;
  readonly family: number;
}

/** Resolves a name to all its addresses. */
export type ResolveName = (name: string) => Promise<readonly ResolvedAddress[]>;

/** What an executor needs that connects. */
export interface Network {
  readonly guard: AddressGuard;
  readonly clock: Clock;
  /** The system's resolver by default. */
  readonly resolve?: ResolveName;
}

/** Where a connection goes. */
export interface Destination {
  readonly port: number;
  readonly allowPrivateNetwork: boolean;
}

/** A connection that is not made. */
export class Refused extends Error {}

/** Refuses a literal address that the guard refuses: it is never given to a lookup function. @throws Refused */
export function checkLiteral(network: Network, host: string, destination: Destination): void {
  if (isIP(host) !== 0) checkAddress(network, host, destination);
}

/** Refuses an address that the guard refuses. @throws Refused */
export function checkAddress({ guard }: Network, address: string, destination: Destination): void {
  const refusal = guard.refusal(address, destination.allowPrivateNetwork, destination.port);
  if (refusal !== undefined) throw new Refused(`the address of the endpoint is refused: ${refusal}`);
}

/**
 * A lookup function for a socket that refuses the name when any of its addresses is forbidden: an answer that mixes both is an
 * attack or a mistake.
 */
export function guardedLookup(network: Network, destination: Destination): LookupFunction {
  const resolve = network.resolve ?? resolveWithSystem;
  return (name, lookupOptions, callback) => {
    resolve(name).then(
      (addresses) => {
        const first = addresses[0];
        if (first === undefined) {
          callback(Object.assign(new Error("no address"), { code: "ENOTFOUND" }), "");
          return;
        }
        try {
          for (const { address } of addresses) checkAddress(network, address, destination);
        } catch (error) {
          callback(error as Error, "");
          return;
        }
        if (lookupOptions.all === true) callback(null, [...addresses]);
        else callback(null, first.address, first.family);
      },
      (error: Error) => callback(Object.assign(new Error(error.message), { code: "ENOTFOUND" }), ""),
    );
  };
}

function resolveWithSystem(name: string): Promise<readonly ResolvedAddress[]> {
  return new Promise((resolve, reject) => {
    systemLookup(name, { all: true }, (error, addresses) => (error === null ? resolve(addresses) : reject(error)));
  });
}
