// Exports of a real trail: they verify, whole and narrowed, while others write, seal, sign and remove; and who read what is on record.

import { generateKeyPairSync } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { DomainError } from "../../kit/errors.ts";
import { type Checkpoint, signingKey } from "../../server/audit/checkpoint.ts";
import { type ExportLine, readLine } from "../../server/audit/export_lines.ts";
import { type ExportRequest, exportAudit } from "../../server/commands/export_audit.ts";
import { exportedAudit, listAudit, watchAudit } from "../../server/commands/read_audit.ts";
import { removeExpiredAudit } from "../../server/commands/remove_expired.ts";
import { signAudit } from "../../server/commands/sign_audit.ts";
import { HeadKeeper, type HeadSink } from "../../server/dispatch/head_keeper.ts";
import { Sealer } from "../../server/dispatch/sealer.ts";
import { createStore, type Store } from "../../server/storage/store.ts";
import { keysOf, newKey, verifyLines } from "../audit/trail_lines.ts";
import { ana, commandStage, DONE, outcomeOf } from "./command_stage.ts";
import { storeEvents, turnEvent } from "./stored_run.ts";

const stage = await commandStage();
const { store, context } = stage;
const key = newKey();
const clock = systemClock();
const exported: Checkpoint[] = [];
const sinkInto = (heads: Checkpoint[]): HeadSink => ({
  last: () => undefined,
  onlyNewest: false,
  write: (head) => void heads.push(head),
});
const keeper = new HeadKeeper(context, clock, key, sinkInto(exported));
let runId = "";

async function sealAll(sealer = new Sealer(context, clock)): Promise<void> {
  while ((await sealer.once()) !== "idle");
}

async function linesOf(request: ExportRequest = {}, from: Store = store): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of exportAudit(from, key, request)) lines.push(line.slice(0, -1));
  return lines;
}

const verify = (lines: readonly string[], heads = exported) => verifyLines(lines, { keys: keysOf(key), heads });
const parsed = (lines: readonly string[]) => lines.map((line) => readLine(line) as ExportLine);

beforeAll(async () => {
  runId = await stage.start("one", {
    trace: { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7", sampled: true },
  });
  await sealAll();
  await keeper.look();
  const { assigned } = await stage.claimAs("ses_a");
  await stage.settle(...assigned.map((one) => outcomeOf(one, DONE)));
  await storeEvents(
    store,
    Array.from({ length: 1_200 }, (_, index) => turnEvent("other", index)),
  );
  await sealAll();
  await keeper.look();
});

test("an export verifies, and its unsealed tail is counted", async () => {
  await storeEvents(store, [turnEvent("tail", 1), turnEvent("tail", 2)]);
  const result = verify(await linesOf());
  expect(result).toMatchObject({ findings: [], unsigned: 0, unsealed: 2, heads: 2, firstSequence: 1 });
  expect(result.records).toBe(result.lastSequence);
  expect(result.records).toBeGreaterThan(1_200);
  await sealAll();
  await keeper.look();
});

test("every record of a run says for whom and in which trace, whoever caused it", async () => {
  const mine = parsed(await linesOf({ runId })).filter((line) => line.type === "record");
  const seen = mine.map(({ kind, actor, onBehalfOf, traceId }) => ({ kind, actor, onBehalfOf, traceId }));
  const whom = { onBehalfOf: "ana", traceId: "4bf92f3577b34da6a3ce929d0e0e4736" };
  expect(seen).toEqual([
    { kind: "run.created", actor: "ana", ...whom },
    { kind: "task.leased", actor: expect.any(String), ...whom },
    { kind: "task.succeeded", actor: expect.any(String), ...whom },
  ]);
});

test("an export of one run keeps the hashes of the others, verifies, and shows an edit but not that a record was left out", async () => {
  const lines = await linesOf({ runId });
  expect(verify(lines)).toMatchObject({ findings: [], records: 3, filter: { runId } });
  const edited = lines.map((line) => line.replace("run.created", "run.refused"));
  expect(verify(edited).first).toMatchObject({ kind: "edited" });
  expect(verify(await linesOf({ runId: "run_none" }))).toMatchObject({ findings: [], records: 0 });
});

test("an export of a time begins and ends with whole segments, at a signed head", async () => {
  const heads = await store.read(({ checkpoints }) => checkpoints.list(0, 10));
  const [first, second] = heads as [Checkpoint, Checkpoint];
  const early = verify(await linesOf({ endTime: new Date(first.time) }));
  expect(early).toMatchObject({ findings: [], firstSequence: 1, lastSequence: first.lastSequence, unsealed: 0 });
  const late = verify(await linesOf({ startTime: new Date(Date.parse(first.time) + 1) }));
  expect(late.findings).toEqual([]);
  expect(late.firstSequence).toBeGreaterThan(1);
  expect(late.firstSequence).toBeLessThanOrEqual(first.lastSequence + 1);
  expect(late.lastSequence).toBeGreaterThanOrEqual(second.lastSequence);
  expect(verify(await linesOf({ startTime: new Date("2100-01-01") }))).toMatchObject({ findings: [], records: 0 });
});

test("what is sealed and not yet signed is signed when it is exported; a key that signed nothing verifies nothing", async () => {
  await storeEvents(store, [turnEvent("late", 1)]);
  await sealAll();
  expect(verify(await linesOf())).toMatchObject({ findings: [], unsigned: 1 });
  const lines: string[] = [];
  const audit = { key, sign: () => keeper.look() };
  for await (const line of exportedAudit(context, audit, ana, {})) lines.push(line.slice(0, -1));
  expect(verify(lines)).toMatchObject({ findings: [], unsigned: 0 });
  expect(verifyLines(lines, { keys: keysOf(newKey()) }).first).toMatchObject({ kind: "unsigned", sequence: 1 });
});

test("each read of the trail is one record, with who asked for what; a read that cannot be recorded gives nothing", async () => {
  const since = (await store.read((queries) => queries.segments.look())).newestId;
  const filter = { namespace: "", runId, taskId: "", kinds: ["task."] };
  await listAudit(context, ana, filter, { pageSize: 2, pageToken: "" });
  const aborted = new AbortController();
  const watch = watchAudit(
    { ...context, changes: { watchAudit: () => ({ next: async () => aborted.abort(), close() {} }) } } as never,
    ana,
    filter,
    undefined,
    aborted.signal,
  );
  for await (const _ of watch) expect.unreachable();
  for await (const _ of exportedAudit(context, { key, sign: async () => undefined }, ana, { runId }));
  const records = await store.read(({ segments }) => segments.records(since, "9".repeat(18), 10));
  expect(records.map(({ kind, actor, record }) => [kind, actor, JSON.parse(record).detail])).toEqual([
    ["audit.read", "ana", { how: "list", filter: { runId, kinds: ["task."] } }],
    ["audit.read", "ana", { how: "watch", filter: { runId, kinds: ["task."] } }],
    ["audit.read", "ana", { how: "export", filter: { runId } }],
  ]);
  const refusing: Store = {
    ...store,
    read: (fn) =>
      store.read((queries) =>
        fn({ ...queries, audit: { insert: () => Promise.reject(new DomainError("STORAGE_UNAVAILABLE", "full")) } }),
      ),
  };
  const reading = listAudit({ ...context, store: refusing }, ana, filter, { pageSize: 2, pageToken: "" });
  await expect(reading).rejects.toThrow("full");
  const exporting = exportedAudit({ ...context, store: refusing }, { key, sign: async () => undefined }, ana, {});
  await expect(exporting.next()).rejects.toThrow("full");
});

test("with 50 writers, two sealers and two replicas that sign: no gap, no fork, in order, and what was exported meanwhile verifies", async () => {
  let writing = true;
  const heads: Checkpoint[] = [];
  const keepers = [keeper, new HeadKeeper(stage.replica(), clock, key, sinkInto(heads))];
  const sealers = [new Sealer(context, clock), new Sealer(stage.replica(), clock)];
  const background = [
    ...sealers.map(async (sealer) => {
      while (writing) await sealer.once();
    }),
    ...keepers.map(async (each) => {
      while (writing) await each.look();
    }),
  ];
  const writers = Array.from({ length: 50 }, async (_, writer) => {
    for (let turn = 0; turn < 6; turn += 1) {
      await storeEvents(store, [turnEvent(`run_${writer}`, turn), turnEvent(`run_${writer}`, turn + 100)]);
    }
  });
  const meanwhile = verify(await linesOf(), []);
  await Promise.all(writers);
  writing = false;
  await Promise.all(background);
  await Promise.all(sealers.map((sealer) => sealAll(sealer)));
  for (const each of keepers) await each.look();
  expect(meanwhile.findings).toEqual([]);
  const lines = await linesOf();
  const result = verify(lines);
  expect(result).toMatchObject({ findings: [], unsigned: 0 });
  const records = parsed(lines).filter((line) => line.type === "record");
  const written = records.filter(({ runId: of }) => /^run_\d+$/.test(of));
  expect(written).toHaveLength(600);
  expect(records.map(({ id }) => BigInt(id))).toEqual(
    records.map(({ id }) => BigInt(id)).toSorted((a, b) => Number(a - b)),
  );
  expect(heads.map(({ number }) => number)).toEqual(exported.map(({ number }) => number));
  expect(heads).toEqual(exported);
});

test("two replicas that sign one head: one checkpoint", async () => {
  await storeEvents(store, [turnEvent("both", 1)]);
  await sealAll();
  const signed = await Promise.all([signAudit(store, key, undefined), signAudit(store, key, undefined)]);
  expect(signed.filter((one) => one === "signed")).toHaveLength(1);
  expect(await signAudit(store, key, exported.at(-1))).toBe("current");
  await keeper.look();
  expect(verify(await linesOf()).findings).toEqual([]);
});

test("after retention removed its beginning the trail verifies from there, and an export that it overtakes says so", async () => {
  const running = exportAudit(store, key, {});
  expect((await running.next()).value).toContain('"type":"trail"');
  while (await removeExpiredAudit(store, 0));
  await expect(
    (async () => {
      for await (const _ of running);
    })(),
  ).rejects.toMatchObject({ reason: "VERSION_CHANGED" });
  const left = await store.read(({ checkpoints }) => checkpoints.list(0, 1_000));
  expect(left).toHaveLength(1);
  await sealAll();
  await keeper.look();
  const result = verify(await linesOf());
  expect(result.findings).toEqual([]);
  expect(result.firstSequence).toBeGreaterThan(1_200);
});

test("a database that is set back behind its exported heads is not signed again", async () => {
  const known = exported.at(-1) as Checkpoint;
  const other = createStore((await (await import("../harness/database.ts")).testDatabase()).db);
  expect(await signAudit(other, key, known)).toBe("lost");
  await storeEvents(other, [turnEvent("anew", 1)]);
  await sealAll(new Sealer({ ...context, store: other }, clock));
  const { privateKey } = generateKeyPairSync("ed25519");
  const another = signingKey(privateKey.export({ type: "pkcs8", format: "pem" }) as string, "another");
  expect(await signAudit(other, another, undefined)).toBe("signed");
  const [anew] = await other.read(({ checkpoints }) => checkpoints.list(0, 1));
  expect(await signAudit(other, key, { ...(anew as Checkpoint), signature: known.signature })).toBe("lost");
  expect(await signAudit(other, key, anew)).toBe("current");
});
