// `orloj audit verify` as a process: without any server, it says what is wrong, where, and with which exit code; and what export and key print.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { type ChainRecord, type ChainSegment, GENESIS } from "../../server/audit/chain.ts";
import { publicPem } from "../../server/audit/checkpoint.ts";
import { headOf, linesOf, newKey, sealRecords } from "../audit/trail_lines.ts";
import { startScriptedServer } from "../sdk/scripted_server.ts";
import { runOrloj, temporaryFolder } from "./run_orloj.ts";

// Each test starts processes; a loaded machine may take seconds for one.
vi.setConfig({ testTimeout: 60_000 });

const key = newKey();
const subject = { namespace: "a", runId: "run_1", taskId: "", actor: "server", onBehalfOf: "ana", traceId: "" };
const records = Array.from(
  { length: 5 },
  (_, index): ChainRecord => ({
    ...{ id: String(index + 1), time: "2026-01-01T00:00:00.000000Z", kind: "decision" },
    ...{ ...subject, record: `{"n":${index}}` },
  }),
);
const first = sealRecords(GENESIS, records.slice(0, 2));
const second = sealRecords(first, records.slice(2));
const heads = [headOf(first, undefined, key)];
heads.push(headOf(second, heads[0], key));
const trail = { start: GENESIS, segments: [first, second] as ChainSegment[], records, heads };

function files() {
  const folder = temporaryFolder();
  const write = (name: string, lines: readonly string[]) =>
    writeFileSync(join(folder.path, name), lines.map((line) => `${line}\n`).join(""));
  write("trail.ndjson", linesOf(trail, key));
  write(
    "heads.ndjson",
    heads.map((head) => JSON.stringify({ type: "head", ...head })),
  );
  writeFileSync(join(folder.path, "key.pem"), publicPem(key.publicKey));
  const verify = (...words: string[]) =>
    runOrloj(["audit", "verify", ...words], { directory: folder.path, endpoint: "http://127.0.0.1:9" });
  return { folder, write, verify, [Symbol.dispose]: () => folder[Symbol.dispose]() };
}

test("a whole trail: exit 0, counts, and what the result cannot say", async () => {
  using at = files();
  const whole = await at.verify("trail.ndjson", "--public-key", "key.pem", "--heads", "heads.ndjson");
  expect(whole).toEqual({ code: 0, err: "", out: "verified: 5 records in 2 segments, 1 to 5; 2 signed heads\n" });
  const json = await at.verify("trail.ndjson", "--public-key", "key.pem", "-o", "json");
  expect(JSON.parse(json.out)).toMatchObject({ verified: true, first: null, records: 5, segments: 2, heads: 2 });
  const without = await at.verify("trail.ndjson", "--public-key", "key.pem");
  expect(without.err).toContain("Without --heads");
});

test("a changed trail: exit 1, the first bad record and the kind", async () => {
  using at = files();
  const edited = records.map((record) => (record.id === "4" ? { ...record, actor: "eve\u001b[2J" } : record));
  at.write("edited.ndjson", linesOf({ ...trail, records: edited }, key));
  at.write(
    "short.ndjson",
    linesOf({ ...trail, segments: [first], records: records.slice(0, 2), heads: heads.slice(0, 1) }, key),
  );
  at.write("cut.ndjson", linesOf(trail, key).slice(0, 3));
  const keys = ["--public-key", "key.pem", "--heads", "heads.ndjson"];
  const [one, two, three, json] = await Promise.all([
    at.verify("edited.ndjson", ...keys),
    at.verify("short.ndjson", ...keys),
    at.verify("cut.ndjson", ...keys),
    at.verify("edited.ndjson", ...keys, "-o", "json"),
  ]);
  expect(one).toMatchObject({
    code: 1,
    out: "edited: record 4, number 4, segment 2: the record is not the one that was sealed\n",
  });
  expect(two).toMatchObject({ code: 1, out: expect.stringMatching(/^truncated: record number 3, segment 2: /) });
  expect(three).toMatchObject({ code: 1, out: expect.stringMatching(/^truncated: record 2, number 2, segment 1: /) });
  expect(json.code).toBe(1);
  expect(JSON.parse(json.out)).toMatchObject({
    verified: false,
    first: { kind: "edited", id: "4", sequence: 4, segment: 2 },
  });
});

test("files that are not what they should be: exit 2 and what to do", async () => {
  using at = files();
  at.write("not_heads.ndjson", linesOf(trail, key));
  const [none, noKey, badKey, badHeads] = await Promise.all([
    at.verify("none.ndjson", "--public-key", "key.pem"),
    at.verify("trail.ndjson"),
    at.verify("trail.ndjson", "--public-key", "trail.ndjson"),
    at.verify("trail.ndjson", "--public-key", "key.pem", "--heads", "not_heads.ndjson"),
  ]);
  expect(none).toMatchObject({ code: 2, err: expect.stringContaining("none.ndjson cannot be read") });
  expect(noKey).toMatchObject({ code: 2, err: expect.stringContaining("--public-key") });
  expect(badKey).toMatchObject({
    code: 2,
    err: expect.stringContaining("trail.ndjson holds no public key: give an Ed25519"),
  });
  expect(badHeads).toMatchObject({ code: 2, err: expect.stringContaining("line 1 is no signed head") });
});

test("export prints what the server sends, narrowed as asked, and says what one run's export cannot show; key prints the PEM", async () => {
  const asked: unknown[] = [];
  await using server = await startScriptedServer({
    audit: {
      async *exportAuditRecords({ runId, startTime, endTime }) {
        asked.push([runId, startTime?.seconds, endTime === undefined]);
        yield { lines: '{"type":"trail"}\n{"type":"segment"}\n' };
        yield { lines: '{"type":"end"}\n' };
      },
      getAuditKey: () => ({ name: "0123456789abcdef", publicPem: "-----BEGIN PUBLIC KEY-----\n" }),
    },
  });
  const at = { endpoint: server.endpoint };
  const ended = await runOrloj(["audit", "export", "--run", "run_1", "--since", "2030-01-01T00:00:00Z"], at);
  expect(ended).toMatchObject({ code: 0, out: '{"type":"trail"}\n{"type":"segment"}\n{"type":"end"}\n' });
  expect(ended.err).toContain("not that none was left out");
  expect(asked).toEqual([["run_1", 1_893_456_000n, true]]);
  expect(await runOrloj(["audit", "key"], at)).toMatchObject({ code: 0, out: "-----BEGIN PUBLIC KEY-----\n" });
  const json = await runOrloj(["audit", "key", "-o", "json"], at);
  expect(JSON.parse(json.out)).toMatchObject({ name: "0123456789abcdef" });
});
