// Carries out attacks, one a time, and judges what the verifier says about each: found, and the first bad record named with its kind.
// Called by main.ts and the test. Every attack goes through the real database, the real export, and the verifier of the CLI;
// every one on a file, and one of twenty others, through a file as `orloj audit verify` reads it.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { verifyFile } from "../../cli/audit_verify.ts";
import { type Random, seededRandom } from "../../kit/random.ts";
import type { Finding } from "../../server/audit/findings.ts";
import { TrailVerifier, type VerifierOptions } from "../../server/audit/trail_verifier.ts";
import type { Attack, Attacker, Expected } from "./attack.ts";
import { END_ATTACKS } from "./attack_ends.ts";
import { FILE_ATTACKS } from "./attack_file.ts";
import { HEAD_ATTACKS } from "./attack_heads.ts";
import { RECORD_ATTACKS } from "./attack_records.ts";
import { SEGMENT_ATTACKS } from "./attack_segments.ts";
import { chance } from "./dice.ts";
import { type Ground, openGround } from "./ground.ts";
import { goOn, makeWorld, type World } from "./world.ts";

const ATTACKS = { ...RECORD_ATTACKS, ...SEGMENT_ATTACKS, ...HEAD_ATTACKS, ...END_ATTACKS, ...FILE_ATTACKS };
const PER_WORLD = 250;
const MISSES_SHOWN = 20;

/** What says what is wrong with lines: the verifier of the product, or one that a test has blinded. */
export type Verify = (lines: readonly string[], options: VerifierOptions) => Finding | undefined;

/** How much to do. */
export interface CampaignOptions {
  readonly mutations: number;
  readonly seed: number;
  /** An empty database with every migration. */
  readonly databaseUrl: string;
  readonly verify?: Verify;
  readonly progress?: (line: string) => void;
}

/** What came of it. */
export interface Result {
  readonly mutations: number;
  readonly found: number;
  readonly first_bad_named: number;
  /** Trails, and sealed records in them; each was whole before it was attacked. */
  readonly trails: number;
  readonly records: number;
  /** Mutations by attack. */
  readonly attacks: Readonly<Record<string, number>>;
  /** Mutations by the kind that the first finding has. */
  readonly kinds: Readonly<Record<string, number>>;
  /** What was not found, or not named. */
  readonly misses: readonly string[];
}

const verifyLines: Verify = (lines, options) => {
  const verifier = new TrailVerifier(options);
  for (const line of lines) verifier.line(line);
  return verifier.end().first;
};

/** Runs a campaign. @throws Error when a trail that nobody touched does not verify */
export async function tamper(options: CampaignOptions): Promise<Result> {
  const ground = await openGround(options.databaseUrl);
  const folder = await mkdtemp(join(tmpdir(), "orloj-tamper-"));
  try {
    const campaign = new Campaign(ground, join(folder, "trail.ndjson"), options);
    return await campaign.run();
  } finally {
    await ground.close();
    await rm(folder, { recursive: true, force: true });
  }
}

class Campaign {
  readonly #ground: Ground;
  readonly #file: string;
  readonly #options: CampaignOptions;
  readonly #random: Random;
  readonly #counts = { found: 0, named: 0, trails: 0, records: 0 };
  readonly #attacks: Record<string, number> = {};
  readonly #kinds: Record<string, number> = {};
  readonly #misses: string[] = [];

  constructor(ground: Ground, file: string, options: CampaignOptions) {
    this.#ground = ground;
    this.#file = file;
    this.#options = options;
    this.#random = seededRandom(options.seed);
  }

  async run(): Promise<Result> {
    const { mutations, progress = () => undefined } = this.#options;
    for (let done = 0; done < mutations; ) {
      const world = await makeWorld(this.#ground, this.#random, this.#counts.trails);
      this.#counts.trails += 1;
      this.#counts.records += world.records.length;
      const lines = await this.#ground.lines();
      const whole = verifyLines(lines, this.#given(world, true));
      if (whole !== undefined) throw new Error(`a trail that nobody touched does not verify: ${JSON.stringify(whole)}`);
      const count = Math.min(PER_WORLD, mutations - done);
      for (let index = 0; index < count; index += 1) await this.#attack(world, lines);
      done += count;
      progress(`${done} of ${mutations}: ${this.#counts.found} found, ${this.#counts.named} named`);
    }
    const { found, named, trails, records } = this.#counts;
    const results = { attacks: this.#attacks, kinds: this.#kinds, misses: this.#misses };
    return { mutations, found, first_bad_named: named, trails, records, ...results };
  }

  async #attack(world: World, lines: readonly string[]): Promise<void> {
    const [name, attack] = this.#draw(world);
    const found = await this.#found(world, attack, lines);
    this.#attacks[name] = (this.#attacks[name] ?? 0) + 1;
    if (found !== undefined) {
      this.#counts.found += 1;
      this.#kinds[found.kind] = (this.#kinds[found.kind] ?? 0) + 1;
    }
    if (found !== undefined && isNamed(found, attack.expected)) this.#counts.named += 1;
    else if (this.#misses.length < MISSES_SHOWN) {
      const wanted = JSON.stringify(attack.expected);
      const miss = `${name}, trail ${this.#counts.trails}: expected ${wanted}, found ${JSON.stringify(found)}`;
      this.#misses.push(miss);
      this.#options.progress?.(`missed: ${miss}`);
    }
  }

  #draw(world: World): [string, Attack] {
    const all = Object.entries<readonly [number, Attacker]>(ATTACKS);
    const total = all.reduce((sum, [, [weight]]) => sum + weight, 0);
    for (;;) {
      let left = this.#random.next() * total;
      const [name, [, attacker]] = all.find(([, [weight]]) => {
        left -= weight;
        return left < 0;
      }) as (typeof all)[number];
      const attack = attacker(world, this.#random);
      if (attack !== undefined) return [name, attack];
    }
  }

  async #found(world: World, attack: Attack, lines: readonly string[]): Promise<Finding | undefined> {
    const options = this.#given(world, attack.needsHeads === true || chance(this.#random, 0.67));
    const verify = this.#options.verify ?? verifyLines;
    if (attack.file !== undefined) return await this.#inFile(attack.file(lines), options);
    const { store, key } = this.#ground;
    const tampered = await this.#ground.attacked(attack.statements, async () => {
      if (attack.goesOn === true) await goOn(store, key, this.#random);
      return await this.#ground.lines();
    });
    if (!chance(this.#random, 0.05)) return verify(tampered, options);
    return await this.#inFile(Buffer.from(tampered.map((line) => `${line}\n`).join("")), options);
  }

  // As `orloj audit verify` reads a file; a blinded verifier gets the same lines.
  async #inFile(content: Buffer, options: VerifierOptions): Promise<Finding | undefined> {
    if (this.#options.verify !== undefined) return this.#options.verify(content.toString().split("\n"), options);
    await writeFile(this.#file, content);
    return (await verifyFile(this.#file, new TrailVerifier(options))).first;
  }

  #given({ key, heads }: World, withHeads: boolean): VerifierOptions {
    return { keys: new Map([[key.name, key.publicKey]]), ...(withHeads && { heads }) };
  }
}

function isNamed({ kind, sequence }: Finding, expected: Expected): boolean {
  const through = expected.through ?? expected.sequence;
  return expected.kinds.includes(kind) && sequence >= expected.sequence && sequence <= through;
}
