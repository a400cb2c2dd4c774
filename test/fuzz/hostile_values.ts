// Hostile protobuf messages of any type, made from its descriptor: wrong phases, huge and negative numbers, texts that break stores and
// parsers, deep JSON. Known ids are mixed in, so that the checks behind the first one are reached. Used by frames.ts and api_calls.ts.

import { create, type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import type { Random } from "../../kit/random.ts";

const DEPTH_MAX = 4;
/** Share of values that a session may end for; a session whose every frame ends it reaches nothing behind the first check. */
const HARSH_SHARE = 0.02;
const JSONS = [
  ...[
    "{}",
    "[]",
    "null",
    "{",
    '"',
    "1e999",
    "-0",
    "NaN",
    '{"__proto__":{"polluted":true}}',
    '{"a":1,"a":2}',
    '"\\ud800"',
  ],
  ...['"\\u0000"', '{"text":"","toolCalls":[]}', '{"text":"x","toolCalls":[{"name":"echo","arguments":{}}]}'],
  ...['{"text":1,"toolCalls":{}}', '{"toolCalls":[{"name":"__proto__","arguments":[]}]}', `[${"9".repeat(400)}]`],
  ...["[".repeat(5_000), '{"a":'.repeat(2_000), `${"[".repeat(200)}${"]".repeat(200)}`, `"${"x".repeat(70_000)}"`],
];
const TEXTS = [
  ...[
    "",
    " ",
    "\0",
    "a\0b",
    "\uD800",
    "x\uDFFFy",
    "\uFEFF",
    "\u202Eevil",
    "é".repeat(300),
    "x".repeat(5_000),
    "'; drop table run; --",
  ],
  ...[
    "__proto__",
    "constructor",
    "toString",
    "*",
    "default",
    "../../etc/passwd",
    "run_1",
    "task_1",
    "ses_1",
    "-1",
    "%s%n",
    "\r\n",
    "model",
  ],
];
const MILD_JSONS = [
  ...[
    "{}",
    "[]",
    "null",
    "1e308",
    "-0",
    '{"__proto__":{"polluted":true}}',
    '{"a":1,"a":2}',
    '{"text":"","toolCalls":[]}',
  ],
  ...[
    '{"text":"x","toolCalls":[{"name":"echo","arguments":{}}]}',
    '{"toolCalls":[{"name":"__proto__","arguments":[]}]}',
  ],
  ...[
    `[${"9".repeat(300)}]`,
    `${"[".repeat(5_000)}${"]".repeat(5_000)}`,
    `"${"x".repeat(70_000)}"`,
    '{"text":1,"toolCalls":{}}',
  ],
];
const MILD_INT64 = [0n, 1n, 2n, 1_000_000n, 1n << 52n];
const INT32 = [0, 1, -1, 2, 63, 64, 1_000, 1_001, 2_147_483_647, -2_147_483_648];
const INT64 = [0n, 1n, -1n, 1n << 52n, (1n << 52n) + 1n, 1n << 53n, (1n << 63n) - 1n, -(1n << 63n)];

export const pick = <T>(random: Random, items: readonly T[]): T => items[Math.floor(random.next() * items.length)] as T;

/** Makes messages; `known` are ids and tokens that the server gave out. */
export class HostileValues {
  readonly #random: Random;
  readonly #known: () => readonly string[];

  constructor(random: Random, known: () => readonly string[]) {
    this.#random = random;
    this.#known = known;
  }

  message(type: DescMessage, depth = 0): Message {
    const fields: Record<string, unknown> = {};
    for (const member of type.members) {
      if (member.kind === "oneof") {
        const field = pick(this.#random, member.fields);
        if (!this.#harsh()) fields[member.localName] = { case: field.localName, value: this.#one(field, depth) };
      } else if (this.#random.next() < 0.85) fields[member.localName] = this.#field(member, depth);
    }
    return create(type, fields);
  }

  #field(field: DescField, depth: number): unknown {
    const count = depth > DEPTH_MAX ? 0 : pick(this.#random, [0, 1, 1, 1, 2, 3, 20]);
    if (field.fieldKind === "list") return Array.from({ length: count }, () => this.#one(field, depth));
    if (field.fieldKind === "map") {
      return Object.fromEntries(Array.from({ length: count }, () => [this.text("key"), this.#one(field, depth)]));
    }
    return this.#one(field, depth);
  }

  #one(field: DescField, depth: number): unknown {
    if (field.message) return depth > DEPTH_MAX ? create(field.message) : this.message(field.message, depth + 1);
    if (field.enum) return pick(this.#random, [0, 1, 2, 3, 99, -1]);
    switch (field.scalar) {
      case ScalarType.STRING:
        return this.text(field.name);
      case ScalarType.BOOL:
        return this.#random.next() < 0.5;
      case ScalarType.BYTES:
        return this.#random.bytes(Math.floor(this.#random.next() * 64));
      case ScalarType.INT64:
        return pick(this.#random, this.#harsh() ? INT64 : MILD_INT64);
      case ScalarType.DOUBLE:
        return pick(this.#random, [0, -1, 1e308, Number.NaN, Number.POSITIVE_INFINITY]);
      case ScalarType.INT32:
        return pick(this.#random, INT32);
      default:
        throw new Error(`no hostile values for field ${field.name} of scalar type ${field.scalar}`);
    }
  }

  #harsh(): boolean {
    return this.#random.next() < HARSH_SHARE;
  }

  /** A text for a field of that name. */
  text(name: string): string {
    if (name.endsWith("json")) return pick(this.#random, this.#harsh() ? JSONS : MILD_JSONS);
    const known = this.#known();
    if (known.length > 0 && this.#random.next() < 0.6) return pick(this.#random, known);
    return this.#random.next() < 0.1
      ? Buffer.from(this.#random.bytes(24)).toString("latin1")
      : pick(this.#random, TEXTS);
  }
}
