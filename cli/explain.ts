// The verb `orloj explain`: what a kind or a field of it means, of what type it is, and what it is without being written.
// Called by main.ts. Asks no server: it tells of this version of the command.
// JSON: the same as one document, with the fields one step inside (with --recursive: all).

import type { Command } from "commander";
import type { Json, JsonObject } from "../kit/json.ts";
import { didYouMean } from "../server/manifests/diagnostics.ts";
import { boundsOf, defaultOf, type Field, fieldNames, fieldsOf, typeOf } from "../server/manifests/shapes/fields_of.ts";
import { schemaOf } from "../server/manifests/shapes/kinds.ts";
import type { Shape } from "../server/manifests/shapes/shape.ts";
import type { Kind } from "../server/manifests/specs.ts";
import type { Context } from "./context.ts";
import { UsageError } from "./failure.ts";
import { kindOf } from "./kinds.ts";

/** Deeper than any manifest. */
const DEPTH_MAX = 16;

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("explain")
    .description("Say what a kind or a field of a manifest means, with type, bounds and default.")
    .argument("<kind[.field]>", "kind, and the way to a field, such as tool.http.url; `spec` may be left out")
    .option("-r, --recursive", "list the fields inside as well, all the way down")
    .action((word: string, { recursive = false }: { readonly recursive?: boolean }) => {
      const [kindWord = "", ...names] = word.split(".");
      const kind = kindOf(kindWord) as Kind;
      const schema = schemaOf(kind);
      const defs = (schema["$defs"] ?? {}) as JsonObject;
      const place = find(kind, schema, names, defs);
      if (context.json) context.printJson(describe(place, defs, recursive ? DEPTH_MAX : 1, []));
      else show(context, place, defs, recursive);
    });
}

interface Place extends Field {
  readonly path: string;
}

function find(kind: Kind, schema: Shape, names: readonly string[], defs: JsonObject): Place {
  let place: Place = { path: kind, name: kind, shape: schema, required: true };
  for (const [index, name] of names.entries()) {
    const next = step(place, name, defs) ?? (index === 0 ? throughSpec(place, name, defs) : undefined);
    if (next === undefined) throw unknownField(place, name, defs);
    place = next;
  }
  return place;
}

function step(place: Place, name: string, defs: JsonObject): Place | undefined {
  const bare = name.replace(/\[\d*\]$/, "");
  const field = fieldsOf(place.shape, defs).find((candidate) => candidate.name === bare);
  return field && { ...field, path: `${place.path}.${bare}` };
}

function throughSpec(place: Place, name: string, defs: JsonObject): Place | undefined {
  const spec = step(place, "spec", defs);
  return spec && step(spec, name, defs);
}

function unknownField(place: Place, name: string, defs: JsonObject): UsageError {
  const atTop = place.path === place.name;
  const spec = atTop ? step(place, "spec", defs) : undefined;
  const known = [place, ...(spec === undefined ? [] : [spec])].flatMap(({ shape }) =>
    fieldsOf(shape, defs).map((field) => field.name),
  );
  const near = didYouMean(name, known);
  if (known.length === 0) {
    return new UsageError(
      `${place.path} has no fields: it is ${typeOf(place.shape, defs)}`,
      `orloj explain ${place.path}`,
    );
  }
  return new UsageError(`${place.path} has no field "${name}"`, near || `its fields are ${known.join(", ")}`);
}

function show(context: Context, place: Place, defs: JsonObject, recursive: boolean): void {
  const { paint } = context;
  const facts = [typeOf(place.shape, defs), place.required ? "required" : ""].filter((fact) => fact !== "");
  context.print(`${paint("bold", place.path)}  ${facts.join(", ")}`, "");
  context.print(`  ${String(place.shape["description"] ?? "")}`);
  const bounds = boundsOf(place.shape);
  const fallback = defaultOf(place.shape);
  if (bounds !== "") context.print(`  ${place.shape["enum"] === undefined ? "From" : "One of"}: ${bounds}`);
  if (fallback !== undefined) context.print(`  Default: ${fallback}`);
  const fields = fieldsOf(place.shape, defs);
  if (fields.length === 0) return;
  context.print("", paint("bold", "Fields"));
  context.print(
    ...fieldLines(fields, defs, {
      depth: 1,
      deepest: recursive ? DEPTH_MAX : 1,
      paint,
      above: [fieldNames(place.shape, defs)],
    }),
  );
  if (!recursive) context.next(`orloj explain ${place.path}.${fields.at(-1)?.name}, or --recursive`);
}

interface Listing {
  readonly depth: number;
  readonly deepest: number;
  readonly paint: Context["paint"];
  /** Field names of the places above: conditions hold conditions, whose fields are listed once. */
  readonly above: readonly string[];
}

function fieldLines(fields: readonly Field[], defs: JsonObject, { depth, deepest, paint, above }: Listing): string[] {
  const indent = "  ".repeat(depth);
  const width = Math.max(...fields.map(({ name }) => name.length));
  return fields.flatMap(({ name, shape, required }) => {
    const fallback = defaultOf(shape);
    const facts = [
      typeOf(shape, defs),
      required ? "required" : "",
      fallback === undefined ? "" : `default ${fallback}`,
    ];
    const fact = facts.filter((one) => one !== "").join(", ");
    const head = `${indent}${paint("bold", name)}${" ".repeat(width - name.length)}  ${paint("dim", `(${fact})`)}`;
    const lines = [`${head} ${String(shape["description"] ?? "")}`];
    const names = fieldNames(shape, defs);
    const inner = depth < deepest && !above.includes(names) ? fieldsOf(shape, defs) : [];
    if (inner.length === 0) return lines;
    return [...lines, ...fieldLines(inner, defs, { depth: depth + 1, deepest, paint, above: [...above, names] })];
  });
}

function describe(place: Place | Field, defs: JsonObject, depth: number, above: readonly string[]): JsonObject {
  const { shape, required, name } = place;
  const names = fieldNames(shape, defs);
  const fields = depth > 0 && !above.includes(names) ? fieldsOf(shape, defs) : [];
  return {
    ...("path" in place ? { path: place.path } : { name }),
    type: typeOf(shape, defs),
    required,
    description: String(shape["description"] ?? ""),
    ...(shape["default"] !== undefined && { default: shape["default"] as Json }),
    ...(boundsOf(shape) !== "" && { values: boundsOf(shape) }),
    ...(fields.length > 0 && { fields: fields.map((field) => describe(field, defs, depth - 1, [...above, names])) }),
  };
}
