// `-o yaml` round-trips: what is printed reads back as the manifest that is stored, letter by letter, and steers no terminal.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { manifestsYaml, manifestYaml } from "../../cli/yaml_output.ts";
import { canonicalJson, type Json } from "../../kit/json.ts";
import { documentOf } from "../../server/manifests/document.ts";
import { parseFile } from "../../server/manifests/parse.ts";
import type { Manifest } from "../../server/manifests/specs.ts";
import { toJson } from "../../server/manifests/tree.ts";
import { validateFiles } from "../../server/manifests/validate.ts";

const EXAMPLES = join(import.meta.dirname, "../../examples");
const FILES = (readdirSync(EXAMPLES, { recursive: true }) as string[])
  .filter((name) => /(?<!\.policytest)\.yaml$/.test(name))
  .map((name) => ({ file: name, bytes: readFileSync(join(EXAMPLES, name)) }));

function manifestsOf(files: readonly { file: string; bytes: Uint8Array }[]): Manifest[] {
  return validateFiles(files.map(parseFile), () => undefined).manifests.map(({ manifest }) => manifest);
}

test("every example, stored and printed, is applied again as it was", () => {
  const stored = manifestsOf(FILES).map((manifest) => canonicalJson(documentOf(manifest)));
  expect(stored.length).toBeGreaterThan(30);
  const again = manifestsOf([{ file: "printed.yaml", bytes: Buffer.from(manifestsYaml(stored)) }]);
  expect(again.map((manifest) => canonicalJson(documentOf(manifest)))).toEqual(stored);
});

test("begins with what it is and how it is called", () => {
  const text = manifestYaml(
    '{"apiVersion":"orloj.dev/v1","kind":"Agent","metadata":{"labels":{},"name":"a","namespace":"n"},"spec":{}}',
  );
  expect(text).toBe(
    "apiVersion: orloj.dev/v1\nkind: Agent\nmetadata:\n  name: a\n  namespace: n\n  labels: {}\nspec: {}\n",
  );
});

test.each([
  "\u001b[31mred\u001b[0m",
  "a\u202eb",
  "tab\tand\nline",
  "\u0085next\u2028line",
  "yes",
  "1e3",
  "0x10",
  "${{ input.a }}",
  " leading",
  "trailing ",
  "a: b # c",
  "",
  "null",
  "2026-01-01",
  "line one\n\n  indented\nlast\n",
])("%j is printed safely and reads back", (text) => {
  const document: Json = { kind: "Agent", spec: { text, [`key ${text}`]: text } };
  const printed = manifestYaml(JSON.stringify(document));
  expect(printed).not.toMatch(
    /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/u,
  );
  expect(parse(printed)).toEqual(document);
  const read = parseFile({ file: "printed.yaml", bytes: Buffer.from(printed) });
  expect([read.diagnostics, read.documents.map(toJson)]).toEqual([[], [document]]);
});
