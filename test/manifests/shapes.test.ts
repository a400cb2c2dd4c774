// The shapes (JSON Schemas) of the kinds against their readers: equal keys, types, words, bounds, and defaults, tried one place at a
// time on manifests that have every key; examples and the table of invalid manifests; and descriptions for everything.

import { readdirSync, readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { isJsonObject, type Json, type JsonObject } from "../../kit/json.ts";
import { Findings } from "../../server/manifests/diagnostics.ts";
import { documentOf } from "../../server/manifests/document.ts";
import { readDocument } from "../../server/manifests/kinds.ts";
import { schemaOf, schemaOfAny } from "../../server/manifests/shapes/kinds.ts";
import { OWN_KEYWORDS, type Shape } from "../../server/manifests/shapes/shape.ts";
import { KINDS, type Kind } from "../../server/manifests/specs.ts";
import { treeOf } from "../../server/manifests/tree.ts";
import { INVALID_MANIFESTS } from "./invalid_manifests.ts";
import { atPath, changed, type Path, placesOf, shapesAt } from "./shape_places.ts";

const ajv = new Ajv2020({ strict: true, strictRequired: false, strictTypes: false, allErrors: true });
ajv.addVocabulary([...OWN_KEYWORDS]);
const ANY = ajv.compile(schemaOfAny());
const BY_KIND = Object.fromEntries(KINDS.map((kind) => [kind, ajv.compile(schemaOf(kind))]));

/** Codes that say what a document without its neighbours and without its expressions says. */
const STRUCTURAL = ["E-TYPE", "E-UNKNOWN-KEY", "E-MISSING", "E-UNION", "E-DURATION"];

const FULL = documentsOf(readFileSync(new URL("full_manifests.yaml", import.meta.url), "utf8"));
const SCHEMAS = Object.fromEntries(KINDS.map((kind) => [kind, schemaOf(kind)]));

function documentsOf(text: string): JsonObject[] {
  return parseAllDocuments(text).map((document) => document.toJS() as JsonObject);
}

function findingsOf(document: Json) {
  const findings = new Findings("m.yaml");
  const read = readDocument(findings, treeOf(document));
  return { read, errors: findings.list.filter(({ severity }) => severity === "error") };
}

function structural(document: Json): string[] {
  return findingsOf(document)
    .errors.filter(({ code, message }) => STRUCTURAL.includes(code) || /is not one of|out of range/.test(message))
    .map(({ code, path, message }) => `${code} ${path}: ${message}`);
}

function fits(document: JsonObject): boolean {
  const kind = String(document["kind"]);
  const alone = BY_KIND[kind]?.(document) ?? false;
  expect([kind, ANY(document)], "the schema of any kind says what that of one says").toEqual([kind, alone]);
  return alone;
}

/** A structural finding is one that the schema shows; what the schema refuses, the reader does. */
function expectAgreement(where: string, document: JsonObject): void {
  const refused = structural(document);
  const fitting = fits(document);
  if (refused.length > 0) expect([where, refused, fitting]).toEqual([where, refused, false]);
  if (!fitting) expect([where, findingsOf(document).errors.length > 0]).toEqual([where, true]);
}

const nameOf = (document: JsonObject) => `${document["kind"]} ${(document["metadata"] as JsonObject)["name"]}`;

describe("documents", () => {
  test("every example and every full manifest fits", () => {
    const root = new URL("../../examples/", import.meta.url);
    const names = (readdirSync(root, { recursive: true }) as string[]).filter((name) =>
      /(?<!\.policytest)\.yaml$/.test(name),
    );
    const examples = names.flatMap((name) => documentsOf(readFileSync(new URL(name, root), "utf8")));
    expect(examples.length).toBeGreaterThan(30);
    const wrong = [...examples, ...FULL].filter((document) => !fits(document));
    expect(wrong.map((document) => [nameOf(document), ANY(document), ajv.errorsText(ANY.errors)])).toEqual([]);
    expect(FULL.flatMap((document) => findingsOf(document).errors)).toEqual([]);
  });

  test("what is stored, with its defaults filled in, fits as well", () => {
    for (const document of FULL) {
      const stored = documentOf(findingsOf(document).read!.manifest);
      expect([nameOf(document), fits(stored), ajv.errorsText(ANY.errors)]).toEqual([
        nameOf(document),
        true,
        expect.anything(),
      ]);
    }
  });

  const rows = INVALID_MANIFESTS.filter(({ code, severity }) => STRUCTURAL.includes(code) && severity === undefined);
  test.each(rows)("$code $name: an editor shows it as well", ({ yaml }) => {
    expect(rows.length).toBeGreaterThan(40);
    const documents = documentsOf(yaml.replace("§", ""));
    expect(documents.every((document) => ANY(document))).toBe(false);
  });
});

describe("shapes and readers agree", () => {
  test("the full manifests have every key of every shape", () => {
    const seen = new Set(FULL.flatMap((document) => placesOf(document).map((path) => keyOfShape(document, path))));
    const missing = KINDS.flatMap((kind) => allKeys(SCHEMAS[kind] as Shape, kind).filter((key) => !seen.has(key)));
    expect(missing).toEqual([]);
  });

  test.each(FULL.map((document) => [nameOf(document), document] as const))("%s: keys", (_, document) => {
    for (const path of placesOf(document)) {
      const value = atPath(document, path);
      const shape = shapeWithProperties(document, path);
      if (shape === undefined || !isJsonObject(value)) continue;
      const where = path.join(".");
      const extra = changed(document, [...path, "zzUnknownKey"], 1);
      expect([where, structural(extra).length > 0, fits(extra)]).toEqual([where, true, false]);
      const told = findingsOf(extra).errors.find(({ hint }) => hint.startsWith("known keys: "))?.hint ?? "";
      // The reader of a model knows apiKey only to refuse it as what it is.
      const known = told
        .slice("known keys: ".length)
        .split(", ")
        .filter((key) => key !== "apiKey");
      expect([where, known.sort()]).toEqual([where, Object.keys(shape["properties"] as JsonObject).sort()]);
      for (const key of Object.keys(value)) {
        expectAgreement(`${where} without ${key}`, changed(document, [...path, key], undefined));
      }
    }
  });

  test.each(FULL.map((document) => [nameOf(document), document] as const))("%s: types", (_, document) => {
    for (const path of placesOf(document).filter((place) => place.length > 0)) {
      for (const value of [null, true, 7, "zz top!", [], {}]) {
        expectAgreement(`${path.join(".")} = ${JSON.stringify(value)}`, changed(document, path, value));
      }
    }
  });

  test.each(FULL.map((document) => [nameOf(document), document] as const))("%s: words and bounds", (_, document) => {
    for (const path of placesOf(document)) {
      for (const shape of shapesAt(SCHEMAS[document["kind"] as Kind] as Shape, document, path)) {
        const where = path.join(".");
        const refusals = (value: Json) =>
          structural(changed(document, path, value)).filter((line) => /out of range|is not one of/.test(line));
        if (Array.isArray(shape["enum"])) {
          const [told = ""] = refusals("zz");
          expect([where, /is not one of (.*)$/.exec(told)?.[1]?.split(", ")]).toEqual([where, shape["enum"]]);
        }
        const { minimum, maximum } = shape;
        if (typeof minimum === "number" && typeof maximum === "number") {
          expect([where, refusals(minimum)]).toEqual([where, []]);
          // Another key may ask for less, as a provider does; then the schema says so too.
          expect([where, refusals(maximum).length === 0]).toEqual([where, fits(changed(document, path, maximum))]);
          expect([where, refusals(minimum - 1).length, refusals(maximum + 1).length]).toEqual([where, 1, 1]);
        }
        const bounds = [shape["x-minimum"], shape["x-maximum"]];
        if (typeof bounds[0] === "string" && typeof bounds[1] === "string") {
          expect([where, ...bounds.map((bound) => refusals(bound as string))]).toEqual([where, [], []]);
          const beyond = [`${milliseconds(bounds[0]) - 1}ms`, `${milliseconds(bounds[1]) / 1000 + 1}s`];
          if (milliseconds(bounds[0]) > 0) expect([where, refusals(beyond[0] as string).length]).toEqual([where, 1]);
          expect([where, refusals(beyond[1] as string).length]).toEqual([where, 1]);
        }
      }
    }
  });

  test.each(FULL.map((document) => [nameOf(document), document] as const))("%s: defaults", (_, document) => {
    for (const path of placesOf(document)) {
      for (const shape of shapesAt(SCHEMAS[document["kind"] as Kind] as Shape, document, path)) {
        if (shape["default"] === undefined) continue;
        const without = changed(document, path, undefined);
        // What cannot be left out here (a block that belongs to the value) has no default to compare.
        if (!fits(without)) continue;
        const stored = atPath(documentOf(findingsOf(without).read!.manifest), path);
        // `otherwise: false` is what an edge without it says, and is not written.
        expect([path.join("."), stored ?? false]).toEqual([path.join("."), shape["default"]]);
      }
    }
  });
});

test("every key has a description", () => {
  const bare = KINDS.flatMap((kind) =>
    propertiesIn(SCHEMAS[kind] as Shape, kind).filter(({ shape }) => typeof shape["description"] !== "string"),
  );
  expect(bare.map(({ path }) => path)).toEqual([]);
});

function milliseconds(text: string): number {
  const [, count, unit] = /^(\d+)(ms|s|m|h|d)$/.exec(text) as RegExpExecArray;
  return Number(count) * ({ ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[unit as string] as number);
}

function shapeWithProperties(document: JsonObject, path: Path): Shape | undefined {
  const shapes = shapesAt(SCHEMAS[document["kind"] as Kind] as Shape, document, path);
  return shapes.find((shape) => isJsonObject(shape["properties"]) && shape["additionalProperties"] === false);
}

/** Name of a place without the numbers of its lists and the names of free maps, as allKeys names it. */
function keyOfShape(document: JsonObject, path: Path): string {
  return [document["kind"], ...path.filter((step) => typeof step === "string")].join(".");
}

function propertiesIn(shape: Shape, path: string, depth = 0): { path: string; shape: Shape }[] {
  if (depth > 12) return [];
  const own = isJsonObject(shape["properties"]) && shape["additionalProperties"] === false ? shape["properties"] : {};
  const inner = [shape["items"], ...((shape["anyOf"] as Json[]) ?? [])].filter(isJsonObject);
  return [
    ...Object.entries(own).flatMap(([key, member]) => [
      { path: `${path}.${key}`, shape: member as Shape },
      ...propertiesIn(member as Shape, `${path}.${key}`, depth + 1),
    ]),
    ...inner.flatMap((member) => propertiesIn(member, path, depth + 1)),
  ];
}

function allKeys(shape: Shape, kind: string): string[] {
  return propertiesIn(shape, kind).map(({ path }) => path);
}
