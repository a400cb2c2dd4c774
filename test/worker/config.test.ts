// The worker's configuration: where each value comes from, and what is refused.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readConfig } from "../../worker/config.ts";

const env = { ORLOJ_JOIN_TOKEN: "jt", ORLOJ_HOME: "/nowhere" };

test("flags win over the environment, the environment over the file that the server wrote", () => {
  const home = mkdtempSync(join(tmpdir(), "home-"));
  writeFileSync(join(home, "config.json"), JSON.stringify({ joinToken: "file", workerEndpoint: "h:1" }));
  expect(readConfig([], { ORLOJ_HOME: home }).worker).toMatchObject({
    joinToken: "file",
    endpoints: ["h:1"],
    slots: 4,
  });
  const changed = { ORLOJ_HOME: home, ORLOJ_JOIN_TOKEN: "env", ORLOJ_WORKER_ENDPOINTS: "h:2,h:3" };
  expect(readConfig([], changed).worker).toMatchObject({ joinToken: "env", endpoints: ["h:2", "h:3"] });
  const flags = ["--server", "[::1]:4", "--token", "flag", "--slots", "9", "--label", "region=eu", "--label", "a=b=c"];
  expect(readConfig(flags, changed).worker).toMatchObject({
    joinToken: "flag",
    endpoints: ["[::1]:4"],
    slots: 9,
    labels: { region: "eu", a: "b=c" },
  });
  rmSync(home, { recursive: true });
});

test("the local worker port is the default endpoint", () => {
  expect(readConfig([], env).worker.endpoints).toEqual(["127.0.0.1:7602"]);
});

test.each<[string, string[], Record<string, string>]>([
  ["an unknown variable", [], { ORLOJ_JION_TOKEN: "x" }],
  ["no join token", [], { ORLOJ_JOIN_TOKEN: "" }],
  ["a certificate without CA and key", ["--cert", "w.crt"], {}],
  ["files of a certificate that are not there", ["--ca", "a", "--cert", "b", "--key", "c"], {}],
  ["an unknown flag", ["--slot", "3"], {}],
  ["slots that are no number", ["--slots", "many"], {}],
  ["too many slots", ["--slots", "1001"], {}],
  ["an endpoint without port", ["--server", "host"], {}],
  ["a label without value", ["--label", "region"], {}],
  ["an unknown log level", [], { ORLOJ_LOG_LEVEL: "loud" }],
  ["a memory that is no number", [], { ORLOJ_TOOL_MEMORY_MIB: "1GiB" }],
  ["a model endpoint that is no address", [], { ORLOJ_ANTHROPIC_BASE_URL: "api.example" }],
  ["a drain window without unit", ["--drain-window", "20"], {}],
])("%s is refused with what to do, and no secret", (_, argv, changes) => {
  let message = "";
  try {
    readConfig(argv, { ...env, ...changes });
  } catch (error) {
    message = String(error);
  }
  expect(message).toMatch(/CONFIG_INVALID|DomainError/);
  expect(message).not.toContain("jt");
});

test("secrets of the environment provider are not unknown variables", () => {
  expect(() => readConfig([], { ...env, ORLOJ_SECRET_PAY_TOKEN: "x" })).not.toThrow();
});
