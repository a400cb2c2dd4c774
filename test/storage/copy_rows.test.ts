// A database copied row by row into another cluster, as an upgrade to another major version of Postgres does it.

import { existsSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { expect, test, vi } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { choosePlace } from "../../server/storage/embedded/account.ts";
import { copyRows } from "../../server/storage/embedded/copy_rows.ts";
import { programsIn, upgradeMajor } from "../../server/storage/embedded/major_upgrade.ts";
import { findSoftware, prepareSoftware, thisPlatform } from "../../server/storage/embedded/software.ts";
import { startEmbedded } from "../../server/storage/embedded/start.ts";
import { bringUp } from "../../server/upgrade.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { testDatabase } from "../harness/database.ts";
import { temporaryFolder } from "../harness/folders.ts";

vi.setConfig({ testTimeout: 120_000 });

const clock = systemClock();
const log = () => undefined;

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  atEndOfFile(() => client.end());
  return client;
}

const FILL = `
  insert into audit_event (kind, namespace, run_id, task_id, actor, record)
    select 'run.created', 'default', 'run_' || n, '', 'ana', '{"text":"naïve ✓ \\t\\"' || n || '"}' from generate_series(1, 250) n;
  insert into resource (kind, namespace, name, generation, digest, labels, document)
    values ('Tool', 'default', 't', 3, 'sha256:0', '{"a": "b, (c)"}', E'{"x":"\\n,\\\\"}');
  insert into route (route, requirements) values ('r', '{"runtime": "model", "labels": {}}') on conflict do nothing;
  update sweep set seen_time = '2030-01-01T00:00:00.123456Z'`;

test("every row comes over as it was, sequences go on, and transaction ids are older than whatever runs", async () => {
  const [from, to] = [await testDatabase(), await testDatabase()];
  const [source, target] = [await connect(from.url), await connect(to.url)];
  await source.query(FILL);
  const copied = await copyRows(source, target);
  expect(copied.get("audit_event")).toBe(250);
  const text = async (client: pg.Client, query: string) => JSON.stringify((await client.query(query)).rows);
  for (const query of [
    "select id, time, kind, run_id, record from audit_event order by id",
    "select * from resource",
    "select * from sweep",
    "select * from revision order by name",
    "select last_value, is_called from audit_event_id_seq",
  ]) {
    expect(await text(target, query)).toBe(await text(source, query));
  }
  const ids = await target.query("select distinct transaction_id::text as id from audit_event");
  expect(ids.rows).toEqual([{ id: "3" }]);
  // The trail of the copy is guarded again, and goes on.
  await expect(target.query("delete from audit_event")).rejects.toThrow();
  const { rows } = await target.query(
    "insert into audit_event (kind, namespace, run_id, task_id, actor, record) values ('x', '', '', '', '', '{}') returning id::int",
  );
  expect(rows[0]?.id).toBeGreaterThan(250);
});

test("databases of two schemas are not copied, and nothing is changed", async () => {
  const [from, to] = [await testDatabase(), await testDatabase()];
  const [source, target] = [await connect(from.url), await connect(to.url)];
  await source.query("alter table resource add column extra text");
  await expect(copyRows(source, target)).rejects.toThrow("the schemas of the two databases differ");
});

test("an upgrade makes a new data directory beside the old one, with all of its rows, and leaves the old one as it was", async () => {
  const home = await temporaryFolder("u");
  const embedded = await startEmbedded({ home, clock, log });
  await bringUp(embedded.url, "the database", "auto");
  const source = new pg.Client({ connectionString: embedded.url });
  await source.connect();
  await source.query(FILL);
  await source.end();
  await embedded.stop();
  const place = await choosePlace(home, log);
  const software = await prepareSoftware(programsIn(findSoftware(thisPlatform())), place.base, place.account, log);
  const bring = (url: string, which: string) => bringUp(url, which, "auto");
  const { fresh, rows } = await upgradeMajor({ place, clock, from: software, to: software, bringUp: bring });
  expect(rows.get("audit_event")).toBe(250);
  expect(existsSync(join(fresh, "PG_VERSION"))).toBe(true);
  expect(existsSync(join(fresh, "postmaster.pid"))).toBe(false);
  const failing = { place, clock, from: software, to: software, bringUp: () => Promise.reject(new Error("no room")) };
  await expect(upgradeMajor(failing)).rejects.toThrow("no room");
  expect(existsSync(fresh)).toBe(false);
  const again = await startEmbedded({ home, clock, log });
  const kept = await connect(again.url);
  expect((await kept.query("select count(*)::int as count from audit_event")).rows).toEqual([{ count: 250 }]);
  await kept.end();
  await again.stop();
});
