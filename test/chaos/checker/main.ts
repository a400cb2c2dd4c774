// The checker as a program: `node test/chaos/checker/main.ts FOLDER` judges the evidence of a chaos run.
// Started by ../main.ts in a process of its own; may be run again on evidence that was kept.
// Prints one JSON object: a count for each invariant, the first violations with their witnesses, and the measures.

import { readFacts } from "./facts.ts";
import { INVARIANTS } from "./invariants.ts";
import { measure } from "./measures.ts";

const WITNESSES_MAX = 20;

const facts = await readFacts(process.argv[2] as string);
const found = Object.entries(INVARIANTS).map(([name, judge]) => [name, judge(facts)] as const);
const counts = Object.fromEntries(found.map(([name, violations]) => [name, violations.length]));
const violations = found.flatMap(([, all]) => all.slice(0, WITNESSES_MAX));
console.log(JSON.stringify({ counts, violations, measures: measure(facts) }));
