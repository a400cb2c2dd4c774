// Where the CLI finds the server and which token it sends there.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findHome, resolveConnection } from "../../cli/connection.ts";
import { temporaryFolder } from "./run_orloj.ts";

function folderWithConfig(config: string) {
  const folder = temporaryFolder();
  mkdirSync(join(folder.path, ".orloj"));
  writeFileSync(join(folder.path, ".orloj/config.json"), config);
  return folder;
}

test("without anything the local default is used, with no token", () => {
  using folder = temporaryFolder();
  expect(resolveConnection({}, {}, folder.path)).toEqual({
    endpoint: "http://127.0.0.1:7601",
    token: undefined,
    home: join(folder.path, ".orloj"),
  });
});

test("flags win over the environment, the environment over config.json", () => {
  using folder = folderWithConfig('{"endpoint":"http://127.0.0.1:1","token":"c"}');
  const env = { ORLOJ_SERVER: "http://127.0.0.1:2", ORLOJ_TOKEN: "e" };
  const flags = { server: "http://127.0.0.1:3", token: "f" };
  expect(resolveConnection({}, {}, folder.path)).toMatchObject({ endpoint: "http://127.0.0.1:1", token: "c" });
  expect(resolveConnection({}, env, folder.path)).toMatchObject({ endpoint: "http://127.0.0.1:2", token: "e" });
  expect(resolveConnection(flags, env, folder.path)).toMatchObject({ endpoint: "http://127.0.0.1:3", token: "f" });
});

test("the token of config.json never goes to another host", () => {
  using folder = folderWithConfig('{"endpoint":"http://127.0.0.1:7601","token":"c"}');
  const tokenFor = (server: string) => resolveConnection({ server }, {}, folder.path).token;
  expect(tokenFor("http://localhost:7601")).toBe("c");
  expect(tokenFor("https://orloj.example.com")).toBeUndefined();
  expect(tokenFor("http://127.0.0.1.example.com:7601")).toBeUndefined();
});

test("ORLOJ_HOME wins over an .orloj found upwards", () => {
  using folder = folderWithConfig("{}");
  const deep = join(folder.path, "a/b");
  mkdirSync(deep, { recursive: true });
  expect(findHome({}, deep)).toBe(join(folder.path, ".orloj"));
  expect(findHome({ ORLOJ_HOME: "elsewhere" }, deep)).toBe(join(deep, "elsewhere"));
});

test.each(["ftp://x", "http://"])("endpoint %s is refused with one that would do", (server) => {
  expect(() => resolveConnection({ server }, {}, "/")).toThrow("is no http or https URL");
});

test("a config.json that is not JSON says so", () => {
  using folder = folderWithConfig("{");
  expect(() => resolveConnection({}, {}, folder.path)).toThrow("config.json is not JSON");
});
