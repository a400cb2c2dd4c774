// Where the trace of a call is told: in a header or a variable, never over one that a manifest declares, and never where there is no place.

import { expect, test } from "vitest";
import type { ToolMeans } from "../../worker/tool/executor.ts";
import { tracedMeans } from "../../worker/tool/traced_means.ts";

const TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const http: ToolMeans = {
  kind: "http",
  method: "GET",
  url: "http://a/",
  headers: { a: "b" },
  allowPrivateNetwork: false,
};
const webhook: ToolMeans = {
  kind: "webhook",
  url: "http://a/",
  headers: {},
  body: new Uint8Array(),
  allowPrivateNetwork: false,
};
const command: ToolMeans = { kind: "command", argv: ["x"], env: { A: "b" }, workDir: "" };
const database: ToolMeans = {
  ...{ kind: "database", driver: "sqlite", place: "x", statement: "select 1", parameters: [], readOnly: true },
  ...{ rowsMax: 1, allowPrivateNetwork: false, requestId: "r" },
};
const mcp = (server: Extract<ToolMeans, { kind: "mcp" }>["server"]): ToolMeans => {
  return { kind: "mcp", server, tool: "t", arguments: {}, requestId: "r" };
};

test("requests get the header, processes the variable", () => {
  expect(tracedMeans(http, TRACE)).toMatchObject({ headers: { a: "b", traceparent: TRACE } });
  expect(tracedMeans(webhook, TRACE)).toMatchObject({ headers: { traceparent: TRACE } });
  expect(tracedMeans(command, TRACE)).toMatchObject({ env: { A: "b", TRACEPARENT: TRACE } });
  const remote = mcp({ kind: "remote", url: "http://a/", headers: {}, allowPrivateNetwork: false });
  expect(tracedMeans(remote, TRACE)).toMatchObject({ server: { headers: { traceparent: TRACE } } });
  const local = mcp({ kind: "local", argv: ["x"], env: {}, workDir: "" });
  expect(tracedMeans(local, TRACE)).toMatchObject({ server: { env: { TRACEPARENT: TRACE } } });
});

test("what the manifest declares stays, a database is left alone, and without a trace everything is", () => {
  const own = { ...http, headers: { TraceParent: "mine" } };
  expect(tracedMeans(own, TRACE)).toEqual(own);
  const variable = { ...command, env: { TRACEPARENT: "mine" } };
  expect(tracedMeans(variable, TRACE)).toEqual(variable);
  expect(tracedMeans(database, TRACE)).toBe(database);
  expect(tracedMeans(http, undefined)).toBe(http);
});
