// Decides which network addresses a tool may connect to.
// Called by http.ts for every address of every connection, redirects included.
// Pure. Sources: IANA special-purpose address registries (RFC 6890 and later), and cloud metadata addresses that are not in them.
// An IPv6 address that carries an IPv4 one (mapped, NAT64) is judged by that; other carriers (6to4, Teredo) are refused whole.

import { BlockList, isIP } from "node:net";
import { DomainError } from "../../kit/errors.ts";
import type { ControlPlaneEndpoints } from "./control_plane.ts";

// Refused whatever the operator listed: nobody means these as an endpoint, and metadata services hand out credentials.
const NEVER = blockList([
  "0.0.0.0/8",
  "169.254.169.254/32",
  "169.254.170.2/32",
  "169.254.170.23/32",
  "100.100.100.200/32",
  "168.63.129.16/32",
  "192.0.0.192/32",
  "224.0.0.0/4",
  "255.255.255.255/32",
  "::/128",
  "fd00:ec2::254/128",
  "fd00:ec2::23/128",
  "fd20:ce::254/128",
  "ff00::/8",
  "64:ff9b:1::/48",
  "2002::/16",
  "2001::/32",
]);

// Refused unless the tool says allowPrivateNetwork and the operator listed the range.
const PRIVATE = blockList([
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.31.196.0/24",
  "192.52.193.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "192.175.48.0/24",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "240.0.0.0/4",
  "::/96",
  "100::/64",
  "2001::/23",
  "2001:db8::/32",
  "3fff::/20",
  "5f00::/16",
  "fc00::/7",
  "fe80::/10",
  "fec0::/10",
]);

/** Judges addresses. */
export interface AddressGuard {
  /** Why the address is refused; undefined if it is allowed. */
  refusal(address: string, allowPrivateNetwork: boolean, port: number): string | undefined;
}

/**
 * A guard that lets tools with allowPrivateNetwork reach the listed networks.
 *
 * @param privateNetworks CIDR ranges, such as 10.1.0.0/16 or fd00::/8.
 * @param reserved        the control plane's own endpoints, refused whatever is listed.
 * @throws DomainError CONFIG_INVALID for a text that is no CIDR range.
 */
export function createAddressGuard(
  privateNetworks: readonly string[],
  reserved: Pick<ControlPlaneEndpoints, "includes"> = { includes: () => false },
): AddressGuard {
  const listed = blockList(privateNetworks);
  return {
    refusal(address, allowPrivateNetwork, port) {
      const plain = carried(address);
      if (plain === undefined) return "it is not an address";
      if (contains(NEVER, plain)) return "it is a metadata, multicast or unspecified address, which no tool may reach";
      if (reserved.includes(plain, port)) return "it is the control plane's own, which no tool may reach";
      if (!contains(PRIVATE, plain)) return undefined;
      if (!allowPrivateNetwork) return "it is a private address and the tool does not say allowPrivateNetwork";
      if (contains(listed, plain)) return undefined;
      return "it is a private address outside the ranges in this worker's ORLOJ_PRIVATE_NETWORKS";
    },
  };
}

function contains(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

function blockList(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = "", prefix = ""] = range.split("/");
    const family = isIP(address);
    const bits = /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN;
    if (family === 0 || !(bits <= (family === 6 ? 128 : 32))) {
      throw new DomainError(
        "CONFIG_INVALID",
        `"${range}" is not a network range; write one as 10.1.0.0/16 or fd00::/8`,
      );
    }
    list.addSubnet(address, bits, family === 6 ? "ipv6" : "ipv4");
  }
  return list;
}

// The IPv4 address inside a mapped (::ffff:0:0/96) or NAT64 (64:ff9b::/96, RFC 6052) one, else the address without its zone.
function carried(address: string): string | undefined {
  const plain = address.split("%", 1)[0] as string;
  const family = isIP(plain);
  if (family !== 6) return family === 4 ? plain : undefined;
  const groups = expand(plain);
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  const translated = groups[0] === 0x64 && groups[1] === 0xff9b && groups.slice(2, 6).every((group) => group === 0);
  if (!mapped && !translated) return plain;
  const [high = 0, low = 0] = groups.slice(6);
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

// The eight groups of a valid IPv6 address.
function expand(address: string): number[] {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const hex = dotted
    ? `${dotted[1]}${pair(dotted[2] as string, dotted[3] as string)}:${pair(dotted[4] as string, dotted[5] as string)}`
    : address;
  const [head = "", tail] = hex.split("::");
  const parse = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const before = parse(head);
  if (tail === undefined) return before;
  const after = parse(tail);
  return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
}

function pair(high: string, low: string): string {
  return ((Number(high) << 8) | Number(low)).toString(16);
}
