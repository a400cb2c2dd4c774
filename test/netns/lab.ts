// The network of `npm run test:netns`: namespaces with addresses of their own, joined by a router, and the faults of its links.
// Made and removed by main.ts; broken and healed by cases.ts, from within the namespace of the server.
// Nothing of it touches the machine's own network. Names begin with the id of the run.
//
//                      ┌ bridge br0 10.77.0.0/24 ── srv (.10, .11: two replicas, Postgres), prx (.20: the proxy)
//   rtr, forwarding ── ┼ 10.77.1.0/24 ── near (.2)
//                      ├ 10.77.2.0/24 ── far (.2)
//                      └ 10.77.3.0/24 ── nat (.2), which hides 192.168.7.0/24 ── home (.2)
//   prx ── 10.77.4.0/24 ── shut (.2), which has no other way out

import { randomBytes } from "node:crypto";
import { command } from "../../scripts/command.ts";

const NAMES = ["rtr", "srv", "prx", "near", "far", "nat", "home", "shut"] as const;
/** A namespace of the lab. */
export type Place = (typeof NAMES)[number];

/** Addresses that others need. */
export const ADDRESSES = {
  replicas: ["10.77.0.10", "10.77.0.11"],
  far: "10.77.2.2",
  farLater: "10.77.2.9",
  /** The proxy as the namespace behind it sees it. */
  proxy: "10.77.4.1",
} as const;

const FORWARD = "echo 1 > /proc/sys/net/ipv4/ip_forward";

/** See the file header. */
export class Lab {
  readonly id: string;
  /** How `home` is hidden: by which program, or not at all, by routes. */
  nat: "nft" | "iptables" | "routes" = "routes";

  constructor(id = `o${randomBytes(3).toString("hex")}`) {
    this.id = id;
  }

  /** The name of a namespace, as `ip netns exec` takes it. */
  name(place: Place): string {
    return `${this.id}-${place}`;
  }

  /** Makes it. @throws Error of the first step that failed; remove() then removes what there is */
  async make(): Promise<void> {
    for (const place of NAMES) {
      await this.#ip("netns", "add", this.name(place));
      await this.inside(place, "link", "set", "lo", "up");
    }
    await this.inside("rtr", "link", "add", "br0", "type", "bridge");
    await this.inside("rtr", "addr", "add", "10.77.0.1/24", "dev", "br0");
    await this.inside("rtr", "link", "set", "br0", "up");
    for (const place of ["srv", "prx"] as const) {
      await this.#join("rtr", place);
      await this.inside("rtr", "link", "set", place, "master", "br0");
    }
    for (const address of ADDRESSES.replicas) await this.#address("srv", "wan", `${address}/24`);
    await this.#address("prx", "wan", "10.77.0.20/24");
    for (const [index, place] of (["near", "far", "nat"] as const).entries()) {
      await this.#join("rtr", place);
      await this.#address("rtr", place, `10.77.${index + 1}.1/24`);
      await this.#address(place, "wan", `10.77.${index + 1}.2/24`);
      await this.#route(place, `10.77.${index + 1}.1`);
    }
    for (const place of ["srv", "prx"] as const) await this.#route(place, "10.77.0.1");
    await this.#join("nat", "home");
    await this.#address("nat", "home", "192.168.7.1/24");
    await this.#address("home", "wan", "192.168.7.2/24");
    await this.#route("home", "192.168.7.1");
    await this.#join("prx", "shut");
    await this.#address("prx", "shut", `${ADDRESSES.proxy}/24`);
    await this.#address("shut", "wan", "10.77.4.2/24");
    for (const place of ["rtr", "nat"] as const) await this.#run(place, "sh", "-c", FORWARD);
    await this.#hide();
  }

  /** Runs `ip` inside a namespace. @throws Error with what it said */
  async inside(place: Place, ...args: string[]): Promise<void> {
    await this.#ip("-n", this.name(place), ...args);
  }

  /** Takes the cable of a place out, or puts it in again. */
  async cable(place: Place, state: "up" | "down"): Promise<void> {
    await this.inside("rtr", "link", "set", place, state);
  }

  /** What the server sends to `far` is lost without a word; healed when told so. */
  async loseToFar(lost: boolean): Promise<void> {
    await this.inside("rtr", "route", lost ? "add" : "del", "blackhole", `${ADDRESSES.far}/32`);
  }

  /** What `far` sends is lost without a word; healed when told so. */
  async loseFromFar(lost: boolean): Promise<void> {
    await this.inside("rtr", "rule", lost ? "add" : "del", "iif", "far", "blackhole");
  }

  /** Gives `far` another address in the place of the one that it has. */
  async moveFar(): Promise<void> {
    await this.inside("far", "addr", "del", `${ADDRESSES.far}/24`, "dev", "wan");
    await this.#address("far", "wan", `${ADDRESSES.farLater}/24`);
    await this.inside("far", "route", "replace", "default", "via", "10.77.2.1");
  }

  /** Ends whatever runs in the namespaces, and removes them. Safe to call twice, and after half a make(). */
  async remove(): Promise<void> {
    for (const place of [...NAMES].reverse()) {
      const { code, stdout } = await command("ip", ["netns", "pids", this.name(place)]);
      if (code !== 0) continue;
      for (const pid of stdout.split("\n").filter((line) => line !== "")) {
        try {
          process.kill(Number(pid), "SIGKILL");
        } catch {
          // It ended meanwhile.
        }
      }
      await command("ip", ["netns", "del", this.name(place)]);
    }
  }

  async #hide(): Promise<void> {
    const nft =
      "nft 'add table ip n; add chain ip n p { type nat hook postrouting priority 100; }; add rule ip n p oifname wan masquerade'";
    const iptables = "iptables -t nat -A POSTROUTING -o wan -j MASQUERADE";
    if (await this.#succeeds("nat", nft)) this.nat = "nft";
    else if (await this.#succeeds("nat", iptables)) this.nat = "iptables";
    else await this.inside("rtr", "route", "add", "192.168.7.0/24", "via", "10.77.3.2");
  }

  // A pair of interfaces: in `from` it has the name of the other place, there it is called wan.
  async #join(from: Place, to: Place): Promise<void> {
    const there = ["peer", "name", "wan", "netns", this.name(to)];
    await this.#ip("link", "add", to, "netns", this.name(from), "type", "veth", ...there);
    await this.inside(from, "link", "set", to, "up");
    await this.inside(to, "link", "set", "wan", "up");
  }

  async #address(place: Place, device: string, address: string): Promise<void> {
    await this.inside(place, "addr", "add", address, "dev", device);
  }

  async #route(place: Place, gateway: string): Promise<void> {
    await this.inside(place, "route", "add", "default", "via", gateway);
  }

  async #run(place: Place, ...args: string[]): Promise<void> {
    await this.#ip("netns", "exec", this.name(place), ...args);
  }

  async #succeeds(place: Place, shell: string): Promise<boolean> {
    return (await command("ip", ["netns", "exec", this.name(place), "sh", "-c", shell])).code === 0;
  }

  async #ip(...args: string[]): Promise<void> {
    const { code, output } = await command("ip", args);
    if (code !== 0) throw new Error(`ip ${args.join(" ")} ended with ${code}: ${output.trim()}`);
  }
}
