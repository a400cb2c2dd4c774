// Statements of database tools: arguments become parameters and nothing else.

import fc from "fast-check";
import { expect, test } from "vitest";
import type { Json } from "../../kit/json.ts";
import { type DatabaseMeansValue, renderMeans } from "../../server/grant/render.ts";
import type { ToolSpec } from "../../server/manifests/specs.ts";
import { databaseTool } from "./render_fixtures.ts";

const DSN = "postgres://reader:canary-4711@db.example/shop";

function rendered(tool: ToolSpec, args: Json, dsn = DSN) {
  const secrets: Record<string, string> = { "shop/dsn": dsn };
  return renderMeans(tool, args, (name, key) => secrets[`${name}/${key}`], { requestId: "auto:task_1/2/0", nowMs: 0 });
}

function database(tool: ToolSpec, args: Json): DatabaseMeansValue {
  const result = rendered(tool, args);
  if (!result.ok || result.means.kind !== "database") throw new Error(JSON.stringify(result));
  return result.means;
}

test("carries the statement as it is written, typed parameters, bounds, and the request id", () => {
  expect(database(databaseTool(), { id: 7, region: "west" })).toEqual({
    kind: "database",
    driver: "postgres",
    place: DSN,
    statement: "select * from orders where id = $1 and region = $2",
    parameters: [7, "eu-west"],
    readOnly: true,
    maxRows: 50,
    allowPrivateNetwork: true,
    requestId: "auto:task_1/2/0",
  });
});

test("any argument changes parameters only", () => {
  const tool = databaseTool({ statement: "select $1", parameters: ["${{ args.v }}"] });
  fc.assert(
    fc.property(fc.jsonValue({ noUnicodeString: false } as fc.JsonSharedConstraints), (value) => {
      const v = JSON.parse(JSON.stringify(value)) as Json;
      const result = rendered(tool, { v });
      if (!result.ok) {
        expect(v).toContain("\0");
        return;
      }
      expect(result.means).toMatchObject({ statement: "select $1", parameters: [v] });
    }),
    { numRuns: 500 },
  );
});

test("U+0000, which no text of Postgres holds, goes back to the model", () => {
  expect(rendered(databaseTool(), { id: "a\0b", region: "x" })).toMatchObject({ ok: false, class: "InvalidArguments" });
});

test("a secret that is no address is the tool's fault, and is not quoted", () => {
  const result = rendered(databaseTool(), { id: 1, region: "x" }, "canary://4711");
  expect(result).toMatchObject({ ok: false, class: "ToolInvalid", message: expect.stringContaining("database.dsn") });
  expect(JSON.stringify(result)).not.toContain("canary");
});

test("a SQLite file is what the manifest says", () => {
  const { dsn: _dsn, ...block } = databaseTool().database ?? { driver: "sqlite" };
  const tool = { ...databaseTool(), database: { ...block, driver: "sqlite", file: "shop.db" } } as ToolSpec;
  expect(database(tool, { id: 1, region: "x" })).toMatchObject({ driver: "sqlite", place: "shop.db" });
});
