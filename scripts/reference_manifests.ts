// Makes docs/reference/manifests.md: every field of every kind with type, bounds, default and meaning, from the shapes that editors and
// `orloj explain` have. Called by reference.ts, and by test/docs/reference.test.ts, which holds the page to it. Pure.

import type { JsonObject } from "../kit/json.ts";
import { boundsOf, defaultOf, type Field, fieldNames, fieldsOf, typeOf } from "../server/manifests/shapes/fields_of.ts";
import { schemaOf } from "../server/manifests/shapes/kinds.ts";
import type { Shape } from "../server/manifests/shapes/shape.ts";
import { KINDS, type Kind } from "../server/manifests/specs.ts";

const HEAD = `# Reference of the manifests

Made by \`npm run reference\` from the shapes that \`orloj schema\` writes and \`orloj explain\` tells; [manifests.md](../manifests.md) says how it
fits together. \`[]\` stands for the items of a list, \`*\` for the keys of a map. Every map knows the keys listed here and no others.
`;

/** The page. */
export function manifestReference(): string {
  const index = KINDS.map((kind) => `| [${kind}](#${kind.toLowerCase()}) | ${schemaOf(kind)["description"]} |`);
  return [HEAD, "| kind | |", "|---|---|", ...index, "", ...KINDS.map(sectionOf), metadataSection()].join("\n");
}

function sectionOf(kind: Kind): string {
  const schema = schemaOf(kind);
  const defs = (schema["$defs"] ?? {}) as JsonObject;
  const spec = (schema["properties"] as JsonObject)["spec"] as Shape;
  const lines = [
    `## ${kind}`,
    "",
    `${schema["description"]} Fields of \`spec\`:`,
    "",
    ...tableOf(rowsOf(spec, defs, "")),
  ];
  // Conditions hold conditions: they have a table of their own.
  for (const [name, shape] of Object.entries(defs)) {
    const description = String((shape as Shape)["description"]);
    lines.push(`### ${name}`, "", description, "", ...tableOf(rowsOf(shape as Shape, defs, "")));
  }
  return lines.join("\n");
}

function metadataSection(): string {
  const metadata = (schemaOf("Agent")["properties"] as JsonObject)["metadata"] as Shape;
  return ["## Metadata", "", "Of every kind, in `metadata`:", "", ...tableOf(rowsOf(metadata, {}, ""))].join("\n");
}

function rowsOf(shape: Shape, defs: JsonObject, prefix: string): string[][] {
  return fieldsOf(shape, defs).flatMap((field) => rowsOfField(field, defs, prefix));
}

function rowsOfField({ name, shape, required }: Field, defs: JsonObject, prefix: string): string[][] {
  const path = `${prefix}${name}`;
  const bounds = boundsOf(shape);
  const fallback = defaultOf(shape);
  const type = typeOf(shape, defs);
  const row = [
    `\`${path}\``,
    bounds === "" ? type : `${type}: ${bounds}`,
    required ? "required" : fallback === undefined ? "" : `\`${fallback}\``,
    String(shape["description"] ?? ""),
  ];
  // What is written once has a table of its own.
  const names = fieldNames(shape, defs);
  const apart = Object.values(defs).some((def) => fieldNames(def as Shape, defs) === names);
  return [row, ...(apart ? [] : rowsOf(shape, defs, `${path}${inside(type)}`))];
}

function inside(type: string): string {
  if (type.startsWith("list of") || type.includes(" or list of")) return "[].";
  return type.startsWith("map of") ? ".*." : ".";
}

function tableOf(rows: readonly string[][]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const lines = [line(["field", "type", "default", "meaning"]), "|---|---|---|---|", ...rows.map(line), ""];
  return lines.map((text) => text.replace(/ +\|/g, " |"));
}
