// Security events: each refusal of a known caller, one record a minute for strangers with their number, bounded whatever comes.

import { expect, test } from "vitest";
import { MINUTE } from "../../kit/units.ts";
import { type Refusal, Refusals } from "../../server/commands/record_refusal.ts";
import { manualClock } from "../rpc/manual_clock.ts";
import { ana } from "./command_stage.ts";

const STRANGER: Refusal = { listener: "api", method: "a/B", reason: "CREDENTIALS_INVALID", peer: "10.0.0.1" };

function rig(insert: () => Promise<void> = async () => undefined) {
  const clock = manualClock();
  const records: { actor: string; detail: { count: number; peer: string } & Record<string, unknown> }[] = [];
  const errors: unknown[] = [];
  const queries = {
    audit: {
      async insert(rows: { record: string }[]) {
        await insert();
        records.push(...rows.map(({ record }) => JSON.parse(record)));
      },
    },
  };
  const context = {
    store: { read: (fn: (given: typeof queries) => Promise<void>) => fn(queries) },
    log: { error: (event: string, fields: object) => void errors.push({ event, ...fields }) },
  };
  const refusals = new Refusals(context as unknown as ConstructorParameters<typeof Refusals>[0], clock);
  return { clock, records, errors, refusals };
}

test("strangers get one record at once, and one for the rest of the minute", async () => {
  const { clock, records, refusals } = rig();
  for (let times = 0; times < 50; times += 1) await refusals.record(STRANGER);
  expect(records).toMatchObject([{ actor: "anonymous", detail: { ...STRANGER, count: 1 } }]);
  clock.advance(MINUTE);
  await refusals.stop();
  expect(records.map(({ detail }) => detail.count)).toEqual([1, 49]);
  await refusals.record(STRANGER);
  expect(records).toHaveLength(3);
});

test("listener, reason and address are counted apart; the method is not", async () => {
  const { records, refusals } = rig();
  const others = [{ listener: "worker" }, { reason: "CREDENTIALS_MISSING" }, { peer: "10.0.0.2" }, { method: "a/C" }];
  for (const other of [{}, ...others]) await refusals.record({ ...STRANGER, ...other });
  expect(records).toHaveLength(4);
  await refusals.stop();
  expect(records[4]?.detail).toMatchObject({ method: "a/C", count: 1 });
});

test("known callers are recorded each time, with the namespace that they reached for", async () => {
  const { records, refusals } = rig();
  for (let times = 0; times < 3; times += 1) {
    await refusals.record({ ...STRANGER, reason: "PERMISSION_DENIED", principal: ana, namespace: "prod" });
  }
  expect(records).toHaveLength(3);
  expect(records[0]).toMatchObject({ actor: "ana", namespace: "prod", detail: { principal: "ana", count: 1 } });
});

test("a flood from many addresses fills neither the trail nor memory, and nothing is left uncounted", async () => {
  const { clock, records, refusals } = rig();
  const attempts = 25_000;
  for (let peer = 0; peer < attempts; peer += 1)
    await refusals.record({ ...STRANGER, peer: `10.1.${peer >> 8}.${peer & 255}` });
  expect(records.length).toBeLessThan(1_100);
  expect(clock.pending).toBeLessThan(1_100);
  await refusals.stop();
  expect(clock.pending).toBe(0);
  expect(records.reduce((sum, { detail }) => sum + detail.count, 0)).toBe(attempts);
  expect(records.at(-1)?.detail.peer).toBe("others");
});

test("a trail that cannot be written is told to the log, and the refusal stands", async () => {
  const { errors, refusals } = rig(() => Promise.reject(new Error("away")));
  await refusals.record(STRANGER);
  expect(errors).toMatchObject([{ event: "security.unrecorded", peer: "10.0.0.1", error: "away" }]);
});
