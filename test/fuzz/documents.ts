// Hostile YAML documents, each a function of the seed and its number: valid manifests mutated token by token and byte by byte, and
// the fixed corpus. Used by the child that reads them and by the stage that sends them to a server; both make the same ones.

import { Buffer } from "node:buffer";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Random, seededRandom } from "../../kit/random.ts";
import type { SourceFile } from "../../server/manifests/parse.ts";
import { INVALID_MANIFESTS } from "../manifests/invalid_manifests.ts";
import { largeCorpus, smallCorpus } from "./corpus.ts";

const EXAMPLES = join(import.meta.dirname, "../../examples");
/** One document in so many is a large one. */
const LARGE_EVERY = 1_000;
const TOKEN = /\$\{\{|\}\}|[\w.-]+|\s+|[^\w\s]/g;
const SPICE = [
  ...["[", "]", "{", "}", ":", ": ", "- ", "? ", ",", "&a ", "*a", "|", ">", "!!str ", "%", "@", "`", "'", '"', "#"],
  ...["__proto__", "constructor", "<<", "yes", "on", "0x", "99999999999999999999", "-1", "1e999", ".nan", "null", "~"],
  ...[
    "\n",
    "\r\n",
    "\t",
    "\0",
    "\uFEFF",
    "\uD800",
    "\u2028",
    "é",
    "😀",
    "${{ ",
    " }}",
    "${{ nodes.a.output }}",
    "---\n",
    "...",
  ],
  ...[
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "Policy",
    "Agent",
    "name: ''",
    "{}",
    "[]",
    "a.b.c",
    "*",
    "../..",
    "(",
    ")",
  ],
];

const pick = <T>(random: Random, items: readonly T[]): T => items[Math.floor(random.next() * items.length)] as T;
const below = (random: Random, count: number): number => Math.floor(random.next() * count);

/** The documents of a seed. */
export class Documents {
  readonly #seed: number;
  readonly #small = smallCorpus();
  readonly #large = largeCorpus();
  readonly #sound: readonly string[];
  /** The files of examples/ as they are. */
  readonly examples: readonly SourceFile[];

  constructor(seed: number) {
    this.#seed = seed;
    const files = readdirSync(EXAMPLES, { recursive: true, encoding: "utf8" }).filter(
      (name) => name.endsWith(".yaml") && !name.endsWith(".policytest.yaml"),
    );
    this.examples = files.sort().map((file) => ({ file, bytes: readFileSync(join(EXAMPLES, file)) }));
    const examples = this.examples.flatMap(({ bytes }) => Buffer.from(bytes).toString().split(/^---$/m));
    this.#sound = [...examples, ...INVALID_MANIFESTS.map(({ yaml }) => yaml.replace("§", ""))];
  }

  /** The fixed documents, which come once before the mutated ones. */
  get fixed(): readonly Buffer[] {
    return [...this.#small, ...this.#large];
  }

  /** Document of that number. */
  at(index: number): Buffer {
    const random = seededRandom(Math.imul(this.#seed + 1, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b));
    if (index % LARGE_EVERY === LARGE_EVERY - 1) return pick(random, this.#large);
    if (index < this.#small.length) return this.#small[index] as Buffer;
    const kind = random.next();
    if (kind < 0.05) return flipped(random, pick(random, this.#small));
    const text = this.#mutated(random);
    return kind < 0.25 ? flipped(random, Buffer.from(text)) : Buffer.from(text);
  }

  #mutated(random: Random): string {
    const tokens = pick(random, this.#sound).match(TOKEN) ?? [];
    const other = pick(random, this.#sound).match(TOKEN) ?? [];
    for (let left = below(random, 8); left >= 0 && tokens.length > 0; left -= 1) {
      const at = below(random, tokens.length);
      const many = 1 + below(random, 6);
      switch (below(random, 7)) {
        case 0:
          tokens.splice(at, many);
          break;
        case 1:
          tokens.splice(at, 0, pick(random, SPICE));
          break;
        case 2:
          tokens[at] = pick(random, SPICE);
          break;
        case 3:
          tokens.splice(at, 0, ...tokens.slice(at, at + many * 4));
          break;
        case 4:
          tokens.splice(at, many, ...other.slice(below(random, other.length), below(random, other.length) + many));
          break;
        case 5:
          tokens[at] = (tokens[at] as string).repeat(1 + below(random, 60));
          break;
        default:
          tokens.splice(at, 0, pick(random, SPICE).repeat(1 + below(random, 400)));
      }
    }
    return tokens.join("");
  }
}

function flipped(random: Random, source: Buffer): Buffer {
  const bytes = Buffer.from(source);
  for (let left = 1 + below(random, 6); left > 0 && bytes.length > 0; left -= 1) {
    bytes[below(random, bytes.length)] = random.next() < 0.5 ? below(random, 256) : 0xc0 + below(random, 64);
  }
  return random.next() < 0.2 ? bytes.subarray(0, below(random, bytes.length + 1)) : bytes;
}
