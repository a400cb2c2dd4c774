// Every error of the command says what to do next: usage errors where they are made, and each reason of the API.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { showError, UsageError } from "../../cli/failure.ts";
import { Code, ConnectError, OrlojError } from "../../sdk/index.ts";
import { CODES } from "../../server/rpc/error_map.ts";
import { runVerb, temporaryFolder } from "./run_orloj.ts";

const CLI = join(import.meta.dirname, "../../cli");
/** Reasons that only workers meet, never the command. */
const OF_WORKERS = ["LEASE_LOST", "PROTOCOL_VIOLATION"];

test.each(Object.keys(CODES).filter((reason) => !OF_WORKERS.includes(reason)))("%s names a next step", (reason) => {
  const error = new OrlojError("it is so", { reason, code: Code.Unknown, metadata: {} });
  expect(showError(error, "http://127.0.0.1:1").next).not.toBe("");
});

test("what is no reason of ours names a next step as well", () => {
  for (const error of [new ConnectError("odd", Code.Unknown), new TypeError("a bug"), "thrown text"]) {
    expect(showError(error, "http://127.0.0.1:1").next).not.toBe("");
  }
});

test("a usage error without advice of its own points at the help", () => {
  expect(showError(new UsageError("it is wrong"), "").next).toBe("orloj --help, or orloj VERB --help");
});

test("what a message already says is not said again as the next step", () => {
  const sources = readdirSync(CLI).filter((name) => name.endsWith(".ts"));
  const texts = sources.map((name) => readFileSync(join(CLI, name), "utf8"));
  const empty = texts.flatMap((text) => [...text.matchAll(/new UsageError\([^;]*, ""\)/g)].map(([found]) => found));
  expect(empty).toEqual([]);
});

test.each([
  ["a file that is not there", ["apply", "-f", "gone.yaml"]],
  ["a folder without manifests", ["apply", "-f", "proto/vendor"]],
  ["no file", ["diff"]],
  ["an unknown kind", ["explain", "agnt"]],
  ["an unknown field", ["explain", "agent.promt"]],
  ["prune without a set", ["apply", "-f", "-", "--prune"]],
  ["a name missing", ["edit", "agent"]],
  ["an unknown verb", ["aply"]],
  ["an unknown option", ["get", "agents", "--al"]],
  ["an unknown format", ["get", "agents", "-o", "xml"]],
  ["a folder that is not there", ["dev", "gone"]],
  ["parameters for nothing", ["dev", ".", "-p", "a=b"]],
  ["a home that would be watched", ["dev", ".", "--home", "state"]],
] as const)("%s: one line with a code and a next step, exit 2", async (_, words) => {
  using folder = temporaryFolder();
  const { code, out, err } = await runVerb([...words], { directory: folder.path, endpoint: "http://127.0.0.1:9" });
  expect({ code, out, err }).toEqual({
    code: 2,
    out: "",
    err: expect.stringMatching(/^error\[E-USAGE\] .+\. Next: .+\n$/),
  });
});
