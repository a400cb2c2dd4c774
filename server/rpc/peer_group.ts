// Whom an address stands for where limits are counted: an IPv4 address for itself, an IPv6 address for its /64, of which one host may have all.
// Called by connections.ts, calls.ts and failed_attempts.ts.

import { isIPv6 } from "node:net";

const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/** The key of an address, such as "127.0.0.1" or "2001:db8:0:1::/64". */
export function peerGroup(address: string): string {
  const [, v4] = MAPPED.exec(address) ?? [];
  if (v4 !== undefined) return v4;
  if (!isIPv6(address)) return address;
  const [head = "", tail] = (address.split("%", 1)[0] as string).split("::");
  const first = head === "" ? [] : head.split(":");
  const last = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: Math.max(0, 8 - first.length - last.length) }, () => "0");
  const groups = tail === undefined ? first : [...first, ...zeros, ...last];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}
