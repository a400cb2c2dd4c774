// IP addresses among the hosts of a server: told from names, and written as certificates take them.
// Called by cli/certs.ts, which checks hosts, and by certificate.ts. Pure; loads nothing.

import { isIPv4 } from "node:net";

/** True for an IP address; everything else is taken for a DNS name. */
export function isAddress(host: string): boolean {
  return isIPv4(host) || (host.includes(":") && URL.canParse(`http://[${host}]`));
}

/** An address in one spelling: IPv6 in groups of digits, the longest run of zeros as "::", never with the dots of IPv4. */
export function plainAddress(address: string): string {
  return isIPv4(address) ? address : new URL(`http://[${address}]`).hostname.slice(1, -1);
}
