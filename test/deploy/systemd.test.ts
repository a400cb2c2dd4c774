// The systemd units: words that systemd knows, times that fit those of the programs, hardening; and what systemd-analyze says where it is there.

import { writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { command } from "../../scripts/command.ts";
import { readConfigFile } from "../../server/config_file.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { DEPLOY, filesBelow, read } from "./manifests.ts";

const UNITS = filesBelow("systemd", ".service");
const COMMAND = "/opt/orloj/current/node_modules/.bin/orloj";
const KNOWN: Readonly<Record<string, readonly string[]>> = {
  Unit: ["Description", "After", "Wants", "StartLimitIntervalSec"],
  Install: ["WantedBy"],
  Service: [
    ...[
      "Type",
      "User",
      "Group",
      "DynamicUser",
      "StateDirectory",
      "StateDirectoryMode",
      "WorkingDirectory",
      "LoadCredential",
    ],
    ...[
      "Environment",
      "EnvironmentFile",
      "ExecStart",
      "ExecStartPost",
      "TimeoutStartSec",
      "TimeoutStopSec",
      "KillMode",
    ],
    ...["Restart", "RestartSec", "LimitNOFILE", "MemoryMax", "TasksMax"],
    ...["CapabilityBoundingSet", "LockPersonality", "NoNewPrivileges", "PrivateDevices", "PrivateTmp", "ProtectClock"],
    ...["ProtectControlGroups", "ProtectHome", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules"],
    ...["ProtectKernelTunables", "ProtectProc", "ProtectSystem", "RestrictAddressFamilies", "RestrictNamespaces"],
    ...[
      "RestrictRealtime",
      "RestrictSUIDSGID",
      "SystemCallArchitectures",
      "SystemCallFilter",
      "SystemCallErrorNumber",
      "UMask",
    ],
  ],
};

interface Entry {
  readonly section: string;
  readonly key: string;
  readonly value: string;
}

function parse(text: string): Entry[] {
  let section = "";
  return text.split("\n").flatMap((line) => {
    if (line === "" || line.startsWith("#")) return [];
    const [, named] = /^\[(\w+)\]$/.exec(line) ?? [];
    if (named !== undefined) {
      section = named;
      return [];
    }
    const [, key, value = ""] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (key === undefined) throw new Error(`no line of a unit: ${line}`);
    return [{ section, key, value }];
  });
}

const unit = (name: string) => parse(read(`systemd/${name}`));
const values = (entries: readonly Entry[], key: string) =>
  entries.filter((entry) => entry.key === key).map(({ value }) => value);
const seconds = (text: string) => (/^\d+$/.test(text) ? Number(text) : Number.NaN);

test("there are three", () => {
  expect(UNITS.map((path) => basename(path)).sort()).toEqual([
    ...["orloj-migrate.service", "orloj-server.service", "orloj-worker@.service"],
  ]);
});

describe.each(UNITS)("%s", (path) => {
  const entries = parse(read(path));

  test("has only words that are known, and those that stand once stand once", () => {
    expect(entries.filter(({ section, key }) => KNOWN[section]?.includes(key) !== true)).toEqual([]);
    const several = ["Environment", "LoadCredential"];
    const keys = entries.map(({ key }) => key).filter((key) => !several.includes(key));
    expect(keys.filter((key, index) => keys.indexOf(key) !== index)).toEqual([]);
  });

  test("can do little beside its work", () => {
    const hardening = Object.fromEntries(entries.map(({ key, value }) => [key, value]));
    expect(hardening).toMatchObject({
      ...{
        CapabilityBoundingSet: "",
        NoNewPrivileges: "yes",
        ProtectSystem: "strict",
        ProtectHome: "yes",
        PrivateTmp: "yes",
      },
      ...{ SystemCallFilter: "@system-service", RestrictNamespaces: "yes", UMask: "0077" },
    });
    expect(hardening["User"] ?? hardening["DynamicUser"]).toMatch(/^(orloj|orloj-worker|yes)$/);
    // It would stop the JavaScript engine.
    expect(hardening["MemoryDenyWriteExecute"]).toBeUndefined();
  });

  test("every credential that a variable names is loaded", () => {
    const named = values(entries, "Environment").flatMap((value) => /=%d\/(.+)$/.exec(value)?.[1] ?? []);
    const loaded = values(entries, "LoadCredential").map((value) => value.split(":")[0]);
    expect(named.sort()).toEqual(loaded.sort());
  });
});

test("a stop signals the command alone, and waits for as long as it may take", () => {
  const server = unit("orloj-server.service");
  const worker = unit("orloj-worker@.service");
  for (const entries of [server, worker]) expect(values(entries, "KillMode")).toEqual(["mixed"]);
  expect(seconds(values(server, "TimeoutStopSec")[0] ?? "")).toBeGreaterThanOrEqual(2 + 12 + 10);
  const [window] = values(worker, "Environment").flatMap(
    (value) => /^ORLOJ_DRAIN_WINDOW=(\d+)s$/.exec(value)?.[1] ?? [],
  );
  expect(seconds(values(worker, "TimeoutStopSec")[0] ?? "")).toBe(Number(window) + 30);
});

test("the server starts after the migration, as roles that own nothing, and counts as started when it is ready", () => {
  const server = unit("orloj-server.service");
  expect(values(server, "Wants")[0]).toContain("orloj-migrate.service");
  expect(values(server, "After")[0]).toContain("orloj-migrate.service");
  expect(values(server, "ExecStart")).toEqual([`${COMMAND} server --migrate=check`]);
  expect(values(server, "ExecStartPost")[0]).toMatch(/^\/usr\/bin\/curl .*--fail .*\/readyz$/);
  expect(values(unit("orloj-migrate.service"), "Environment")).toEqual(["ORLOJ_DATABASE_URL_FILE=%d/owner-url"]);
  expect(values(server, "LoadCredential").join()).not.toContain("owner");
});

test("the configuration file is one that a server reads", () => {
  const { identity, tls } = readConfigFile(join(DEPLOY, "systemd/orloj.yaml"));
  expect(identity.roles.map(({ grant }) => grant)).toEqual([{ right: "admin" }]);
  expect(tls?.cert).toBe(join(DEPLOY, "systemd/tls/server.crt"));
});

describe("systemd-analyze", () => {
  let present: boolean;
  let folder: string;
  beforeAll(async () => {
    const { code, stdout } = await command("systemd-analyze", ["--version"]);
    present = code === 0 && Number(/^systemd (\d+)/.exec(stdout)?.[1]) >= 250;
    if (!present) return console.log("systemd-analyze: not run");
    folder = await temporaryFolder("units");
    // The command is not installed here; any that is stands for it.
    for (const path of UNITS)
      writeFileSync(
        join(folder, basename(path)),
        read(path).replaceAll(COMMAND, "/bin/true").replaceAll("/usr/bin/curl", "/bin/true"),
      );
  });

  test.each(UNITS.map((path) => basename(path)))("finds nothing wrong with %s", async (name) => {
    if (!present) return;
    const { code, output } = await command(
      "systemd-analyze",
      ["verify", "--man=no", join(folder, name.replace("@", "@w1"))],
      { cwd: folder },
    );
    expect(output).toBe("");
    expect(code).toBe(0);
  });

  test.each(UNITS.map((path) => basename(path)))("finds %s little exposed", async (name) => {
    if (!present) return;
    const { code, output } = await command("systemd-analyze", [
      "security",
      "--offline=true",
      "--threshold=25",
      "--no-pager",
      join(folder, name),
    ]);
    expect(code, output.split("\n").slice(-3).join("\n")).toBe(0);
  });
});
