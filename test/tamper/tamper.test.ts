// A short campaign of `npm run audit:tamper`: every attack is found and named; and a verifier that is blind, or misnames, fails it.

import { expect, test } from "vitest";
import { TrailVerifier } from "../../server/audit/trail_verifier.ts";
import { testDatabase } from "../harness/database.ts";
import { tamper, type Verify } from "./campaign.ts";

const verified: Verify = (lines, options) => {
  const verifier = new TrailVerifier(options);
  for (const line of lines) verifier.line(line);
  return verifier.end().first;
};

const campaign = async (mutations: number, verify?: Verify) =>
  await tamper({ mutations, seed: 7, databaseUrl: (await testDatabase()).url, ...(verify && { verify }) });

test("300 attacks of the owner of the database are found, and the first bad record of each is named with its kind", async () => {
  const result = await campaign(300);
  expect(result).toMatchObject({ mutations: 300, found: 300, first_bad_named: 300, misses: [] });
  expect(Object.keys(result.attacks).length).toBeGreaterThan(25);
  expect(Object.keys(result.kinds).sort()).toEqual([
    ...["edited", "forked", "inserted", "missing", "reordered", "truncated", "unsigned"],
  ]);
}, 120_000);

test("a verifier that sees nothing, does not look at records, names a wrong kind or a wrong place is itself found", async () => {
  const blind = await campaign(40, () => undefined);
  expect(blind).toMatchObject({ found: 0, first_bad_named: 0 });
  expect(blind.misses[0]).toContain("found undefined");
  const recordless: Verify = (lines, options) => {
    const found = verified(lines, options);
    return found?.kind === "edited" ? undefined : found;
  };
  const careless = await campaign(40, recordless);
  expect(careless.found).toBeLessThan(40);
  const misnaming: Verify = (lines, options) => {
    const found = verified(lines, options);
    return found && { ...found, kind: found.kind === "missing" ? "edited" : "missing" };
  };
  const wrongKind = await campaign(40, misnaming);
  expect(wrongKind.found).toBe(40);
  expect(wrongKind.first_bad_named).toBeLessThan(20);
  const misplacing: Verify = (lines, options) => {
    const found = verified(lines, options);
    return found && { ...found, sequence: found.sequence + 1_000 };
  };
  expect(await campaign(40, misplacing)).toMatchObject({ found: 40, first_bad_named: 0 });
}, 120_000);
