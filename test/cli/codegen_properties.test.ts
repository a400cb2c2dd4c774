// Random schemas: whatever value a schema accepts, as the server fills and checks it, the compiler accepts as the generated type.
// All schemas of a run are compiled at once. A failure prints the seed, the schema, and the value.
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { Names } from "../../cli/codegen/names.ts";
import { type Declaration, schemaTypes } from "../../cli/codegen/schema_types.ts";
import type { Json, JsonObject } from "../../kit/json.ts";
import { compileSchema } from "../../language/json_schema.ts";
import { typeCheck } from "../harness/type_check.ts";
import { schemas } from "./random_schemas.ts";

vi.setConfig({ testTimeout: 120_000 });

const SCHEMAS = 100;
const VALUES = 6;

test("a value that fits a schema fits its type: before defaults are filled in as parameters, after that as a result", async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const names = new Names([]);
  const lines: string[] = [];
  const asked: string[] = [];
  let tried = 0;
  const declare = (declarations: readonly Declaration[]) =>
    lines.push(...declarations.flatMap(({ name, type }) => `export type ${name} = ${type.text};`.split("\n")));
  const assign = (schema: Json, type: string, value: Json) => {
    asked[lines.push(`export const v${lines.length}: ${type} = ${JSON.stringify(value)};`)] = JSON.stringify({
      schema,
      value,
    });
  };
  for (const [index, { schema, values }] of fc.sample(schemas, { numRuns: SCHEMAS, seed }).entries()) {
    const root = schema as JsonObject;
    const compiled = compileSchema(root);
    if (!compiled.ok) throw new Error(`seed ${seed}: ${compiled.error} in ${JSON.stringify(schema)}`);
    const [given, received] = [names.take(`Given${index}`), names.take(`Received${index}`)];
    declare(schemaTypes(root, given, "given", names));
    declare(schemaTypes(root, received, "received", names));
    for (const value of fc.sample(values, { numRuns: VALUES, seed })) {
      tried += 1;
      const filled = compiled.value.fill(value);
      if (compiled.value.check(filled) !== undefined) continue;
      assign(schema, given, value);
      assign(schema, received, filled);
    }
  }
  const { findings } = await typeCheck({ "values.ts": `${lines.join("\n")}\n` });
  const told = findings.slice(0, 3).map(({ line, message }) => `${message}\n${asked[line] ?? lines[line - 1]}`);
  expect(told, `seed ${seed}`).toEqual([]);
  // Most values are meant to fit; were none of them tried, nothing would have been shown.
  expect(asked.filter(Boolean).length, `seed ${seed}`).toBeGreaterThan(tried);
});
