// The fixed part of the hostile YAML: each line is a document that has broken a YAML reader somewhere. Used by documents.ts.
// Few documents are large, because each costs as much as a hundred small ones.

import { Buffer } from "node:buffer";

const MIB = 1_048_576;
const repeat = (unit: string, count: number) => unit.repeat(count);

function nested(): string[] {
  const units = ["[", "{a: ", "- ", "? ", "a:\n ", "[{", "- - ", "{[", "!!map {", '"a": [', "|\n ", "> "];
  const depths = [8, 31, 32, 33, 100, 450, 900, 5_000];
  return units.flatMap((unit) => depths.map((depth) => repeat(unit, depth)));
}

function indented(): string[] {
  return [33, 200, 1_000].map((depth) =>
    Array.from({ length: depth }, (_, level) => `${" ".repeat(level)}a:`).join("\n"),
  );
}

function aliases(): string[] {
  const bomb = Array.from(
    { length: 10 },
    (_, level) => `l${level}: &l${level} [${repeat(level === 0 ? "lol, " : `*l${level - 1}, `, 9)}]`,
  ).join("\n");
  return [bomb, "a: &a [*a]", "&a a: *a", "a: *nobody", "a: &a 1\nb: {<<: *a}", repeat("&a ", 500), "<<: {a: 1}"];
}

function keys(): string[] {
  const names = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "valueOf", "__defineGetter__"];
  return names.flatMap((name) => [
    `${name}: {polluted: true}`,
    `"${name}": {polluted: true}`,
    `apiVersion: orloj.dev/v1\nkind: Agent\nmetadata: {name: a, labels: {${name}: x}}\nspec: {${name}: {polluted: 1}}`,
    `a: {b: {${name}: {polluted: true}}}`,
    `? ${name}\n: polluted`,
    `kind: ${name}`,
    `apiVersion: orloj.dev/v1\nkind: ${name}\nmetadata: {name: ${name}}\nspec: {}`,
  ]);
}

function scalars(): string[] {
  const values = [
    "yes",
    "no",
    "on",
    "off",
    "Y",
    "0o17",
    "017",
    "1_000",
    "0x1F",
    "1:30:00",
    ".inf",
    "-.INF",
    ".nan",
    "~",
  ];
  const numbers = [
    "1e400",
    "-0",
    "9007199254740993",
    repeat("9", 400),
    `0x${repeat("f", 300)}`,
    `1.${repeat("0", 5_000)}1`,
  ];
  const strange = [
    "2001-01-01",
    "!!binary aGk=",
    "!!js/function >\n  x",
    "!<tag:x> a",
    "!!timestamp 1",
    "\u2028",
    "\u0085",
  ];
  return [...values, ...numbers, ...strange].flatMap((value) => [
    value,
    `apiVersion: orloj.dev/v1\nkind: Agent\nmetadata: {name: ${value}}\nspec: ${value}`,
    `${value}: ${value}\n${value}: 1`,
  ]);
}

function bytes(): Buffer[] {
  const text = "apiVersion: orloj.dev/v1\nkind: Agent\nmetadata: {name: a}\n";
  return [
    Buffer.from(""),
    Buffer.from(`\uFEFF${text}`),
    Buffer.from(`${text}\uFEFF`),
    Buffer.from(text, "utf16le"),
    Buffer.from(text.replaceAll("\n", "\r\n")),
    Buffer.from(text.replaceAll("\n", "\r")),
    Buffer.from(`${text}spec: "\0"`),
    Buffer.from([0xff, 0xfe, 0xfd]),
    Buffer.from([0x61, 0x3a, 0x20, 0xc0, 0x80]),
    Buffer.from([0x61, 0x3a, 0x20, 0xed, 0xa0, 0x80]),
    Buffer.from([0xf0, 0x9f, 0x98]),
    Buffer.from(repeat("---\n", 5_000)),
    Buffer.from(repeat("%YAML 1.2\n---\n", 50)),
    Buffer.from(repeat("...\n", 5_000)),
    Buffer.from(repeat("# c\n", 20_000)),
  ];
}

/** Every small document of the corpus. */
export function smallCorpus(): Buffer[] {
  const texts = [...nested(), ...indented(), ...aliases(), ...keys(), ...scalars()];
  return [...texts.map((text) => Buffer.from(text)), ...bytes()];
}

/** Documents of about a mebibyte. */
export function largeCorpus(): Buffer[] {
  const units = [
    "[",
    "a",
    "\n",
    "- a\n",
    "a: 1\n",
    "? ",
    '"',
    "\\",
    "{a: ",
    "a: &a *a\n",
    "---\n",
    "'",
    " ",
    "\t",
    "#",
    "${{ ",
  ];
  const large = units.map((unit) => repeat(unit, Math.floor((MIB - 8) / unit.length)));
  const distinct = Array.from({ length: 60_000 }, (_, index) => `k${index}: 1`).join("\n");
  return [...large, `a: ${repeat("x", MIB - 4)}`, `a: "${repeat("\\n", 400_000)}"`, distinct, repeat("x", MIB + 1)].map(
    (text) => Buffer.from(text),
  );
}
