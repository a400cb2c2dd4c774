// The trail from a real server to a file that is verified without it: exported, tampered with in the database, and shut down.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runOrloj } from "../cli/run_orloj.ts";
import { testDatabase } from "../harness/database.ts";
import { startStage } from "./stage.ts";

test("a trail is exported and verified offline; an edit, and an end that was cut off with its heads, are named", async () => {
  const database = await testDatabase();
  const stage = await startStage({ databaseUrl: database.url });
  const { home, api } = stage.server;
  const { token } = JSON.parse(readFileSync(join(home, "config.json"), "utf8")) as { token: string };
  const orloj = (...words: string[]) =>
    runOrloj(words, { endpoint: api, env: { ORLOJ_TOKEN: token }, directory: home });
  const exportTo = async (name: string) => {
    const { code, out } = await orloj("audit", "export");
    expect(code).toBe(0);
    writeFileSync(join(home, name), out);
  };
  const verify = (name: string, ...more: string[]) =>
    orloj("audit", "verify", name, "--public-key", "key.pem", ...more);
  writeFileSync(join(home, "key.pem"), (await orloj("audit", "key")).out);

  const one = async () => {
    await exportTo("one.ndjson");
    return readFileSync(join(home, "one.ndjson"), "utf8");
  };
  await expect.poll(one, { timeout: 20_000, interval: 500 }).toContain('"type":"head"');
  const whole = await verify("one.ndjson", "--heads", "audit-heads.ndjson");
  expect(whole).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^verified: \d+ records in \d+ segments, 1 to \d+; [1-9]/),
  });
  expect(readFileSync(join(home, "one.ndjson"), "utf8")).toContain('\\"how\\":\\"export\\"');

  await database.pool.query("alter table audit_event disable trigger all");
  await database.pool.query("update audit_event set actor = 'nobody' where id = 1");
  await exportTo("two.ndjson");
  const edited = await verify("two.ndjson");
  expect(edited).toMatchObject({ code: 1, out: expect.stringMatching(/^edited: record 1, number 1, segment 1: /) });

  await stage.server.stop();
  const offline = await verify("one.ndjson", "--heads", "audit-heads.ndjson");
  expect(offline.code).toBe(0);
});
