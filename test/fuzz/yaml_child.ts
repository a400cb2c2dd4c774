// One batch of hostile documents in a process of its own, so that an abort is seen as an exit. Started by yaml_batches.ts.
// Each goes through the pool in which the server reads untrusted manifests, and a share of them through the same modules in this
// thread, as the CLI does. Arguments: seed, first document, count. Says each number before it begins, and a JSON line at the end.

import { writeSync } from "node:fs";
import { systemClock } from "../../kit/clock.ts";
import { DomainError, messageOf } from "../../kit/errors.ts";
import { parseFile } from "../../server/manifests/parse.ts";
import { type LoadStored, ManifestPool } from "../../server/manifests/pool.ts";
import { lookupIn } from "../../server/manifests/references.ts";
import { type Validation, validateFiles } from "../../server/manifests/validate.ts";
import { startProbe } from "../harness/loop_probe.ts";
import { Documents } from "./documents.ts";

const DIRECT_EVERY = 20;
const WARM_UP = 4;
const [seed, from, count] = process.argv.slice(2).map(Number) as [number, number, number];
const documents = new Documents(seed);
const pool = new ManifestPool(systemClock());
const probe = startProbe();
// What the documents refer to is there, so that the checks of graphs and types are reached.
const catalog = validateFiles(documents.examples.map(parseFile), lookupIn([])).manifests.map(
  ({ manifest }) => manifest,
);
const load: LoadStored = async (keys) =>
  catalog.filter(({ kind, metadata }) => keys.some((key) => key.kind === kind && key.name === metadata.name));
const problems: { index: number; problem: string }[] = [];
let slowest = 0;
let tooSlow = 0;
let valid = 0;

const note = (index: number, problem: string | undefined) => {
  if (problem !== undefined) problems.push({ index, problem });
};

pool.start();
// Before anything is measured: the thread runs, and the largest documents have been read once.
await pool.validate([{ file: "warm.yaml", bytes: Buffer.from("a: 1") }], async () => []);
for (const bytes of documents.fixed.slice(-WARM_UP)) await pool.parse([{ file: "warm.yaml", bytes }]).catch(() => []);
probe.reset();
for (let index = from; index < from + count; index += 1) {
  writeSync(1, `${index}\n`);
  const started = performance.now();
  try {
    const answer = await pool.validate([{ file: "fuzz.yaml", bytes: documents.at(index) }], load);
    note(index, wrongWith(answer));
    if (answer.diagnostics.length === 0) valid += 1;
  } catch (error) {
    if (error instanceof DomainError && error.reason === "MANIFEST_TOO_SLOW") tooSlow += 1;
    else note(index, messageOf(error));
  }
  slowest = Math.max(slowest, performance.now() - started);
}
const sample = { ...probe.read() };
await pool.stop();
for (let index = from; index < from + count; index += DIRECT_EVERY) {
  writeSync(1, `${index}\n`);
  const parsed = parseFile({ file: "fuzz.yaml", bytes: documents.at(index) });
  note(index, wrongWith(validateFiles([parsed], lookupIn(catalog))));
  if (Reflect.ownKeys(Object.prototype).length !== 12 || "polluted" in {}) note(index, "Object.prototype was changed");
}
writeSync(1, `${JSON.stringify({ problems, slowest, tooSlow, valid, sample })}\n`);

/** A validation is sound if it has manifests or findings, and each finding has a code, words and a place. */
function wrongWith({ diagnostics }: Validation): string | undefined {
  const bad = diagnostics.find(
    ({ code, message, line, column }) => !/^[EW]-[A-Z0-9-]+$/.test(code) || message === "" || line < 1 || column < 1,
  );
  return bad === undefined ? undefined : `a finding without code, words or place: ${JSON.stringify(bad)}`;
}
