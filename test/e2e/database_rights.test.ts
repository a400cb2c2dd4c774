// Rights in the database: a server works as a role that can add to the audit trail and change nothing in it; retention as another.
// On the embedded Postgres, whatever database the other tests use: only there roles can be made.

import { beforeAll, expect, test, vi } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { seededRandom } from "../../kit/random.ts";
import type { CommandContext } from "../../server/commands/context.ts";
import { Retention } from "../../server/dispatch/retention.ts";
import { Sealer } from "../../server/dispatch/sealer.ts";
import { type OpenDatabase, openDatabase } from "../../server/storage/database.ts";
import { embeddedRoles } from "../../server/storage/embedded/roles.ts";
import { startEmbedded } from "../../server/storage/embedded/start.ts";
import { createStore } from "../../server/storage/store.ts";
import { storeEvents, turnEvent } from "../commands/stored_run.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { databaseUrl } from "../harness/database.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { runOrloj, type ServerProcess, startServer } from "../harness/processes.ts";

vi.setConfig({ testTimeout: 60_000 });

const silent = () => undefined;
const log = { info: silent, warn: silent, error: silent } as unknown as CommandContext["log"];
let server: ServerProcess;
let ownerUrl = "";
let owner: OpenDatabase;

function open(url: string): OpenDatabase {
  const database = openDatabase({ url, poolMax: 2 });
  atEndOfFile(() => database.close());
  return database;
}

beforeAll(async () => {
  const home = await temporaryFolder("h");
  server = await startServer({ home, databaseUrl: "embedded" });
  const embedded = await startEmbedded({ home, clock: systemClock(), log: silent });
  atEndOfFile(async () => {
    await server.stop();
    await embedded.stop();
  });
  expect(embedded.how).toBe("reattached");
  ownerUrl = embedded.url;
  owner = open(ownerUrl);
});

test("a server on the embedded Postgres works as a role that owns nothing, and not as the owner", async () => {
  const { rows } = await owner.pool.query(
    "select distinct usename from pg_stat_activity where datname = 'orloj' and pid <> pg_backend_pid() order by 1",
  );
  expect(rows.map(({ usename }) => usename)).toEqual(["orloj_maintenance", "orloj_server"]);
  const { rows: owned } = await owner.pool.query(
    "select relname from pg_class join pg_roles r on r.oid = relowner where rolname in ('orloj_server', 'orloj_maintenance')",
  );
  expect(owned).toEqual([]);
  expect(await runOrloj(["audit", "list"], { server })).toMatchObject({ code: 0 });
});

test.for([
  "update audit_event set actor = 'eve'",
  "delete from audit_event",
  "truncate audit_event",
  "alter table audit_event disable trigger all",
  "alter table audit_event add column more text",
  "alter table audit_event owner to orloj_server",
  "drop trigger audit_event_append_only on audit_event",
  "drop table audit_event",
  "create trigger mine before insert on audit_event for each row execute function audit_is_append_only()",
  "set session_replication_role = replica",
  "set role orloj",
  "grant delete on audit_event to orloj_server; delete from audit_event",
  "create or replace function audit_is_append_only() returns trigger language plpgsql as $$ begin return null; end $$",
  "update audit_segment set head = previous_head",
  "delete from audit_segment",
  "truncate audit_segment",
  "update audit_checkpoint set signature = ''",
  "delete from audit_checkpoint",
  "update audit_removal set number = 1",
  "insert into audit_removal (number, last_id, last_sequence, head, retention_ms) values (0, 0, 0, '', 0)",
  "delete from audit_removal",
  "delete from orloj_migration",
  "create table mine (id int)",
])("the server's role may not: %s", async (statement) => {
  const { pool } = open((await embeddedRoles(ownerUrl)).server);
  await expect(pool.query(statement)).rejects.toMatchObject({ code: "42501" });
});

test.for([
  "insert into audit_segment select * from audit_segment",
  "update audit_event set actor = 'eve'",
  "delete from audit_event",
  "truncate audit_event",
  "alter table audit_event disable trigger all",
  "insert into run select * from run",
  "delete from task",
  "select * from access_token",
])("the maintenance role may not: %s", async (statement) => {
  const { pool } = open((await embeddedRoles(ownerUrl)).maintenance);
  const store = createStore(owner.db);
  await storeEvents(store, [turnEvent("there", 1)]);
  await expect(pool.query(statement)).rejects.toMatchObject({ code: "42501" });
});

test("retention removes sealed segments as the maintenance role, and leaves its record; as the server's role it removes none", async () => {
  const urls = await embeddedRoles(ownerUrl);
  const store = createStore(open(urls.server).db);
  const maintenance = createStore(open(urls.maintenance).db);
  await storeEvents(store, [turnEvent("old", 1), turnEvent("old", 2)]);
  const sealer = new Sealer({ store, log } as unknown as CommandContext, systemClock());
  while ((await sealer.once()) !== "idle");
  const nothing = { runsMs: 1e12, deadLettersMs: 1e12, auditMs: 0 };
  const sweepAs = (role: typeof store | undefined) =>
    new Retention({ store, log } as unknown as CommandContext, role, systemClock(), seededRandom(1), nothing).sweep();
  await expect(sweepAs(store)).rejects.toMatchObject({ metadata: { sqlstate: "42501" } });
  await sweepAs(undefined);
  expect(await store.read(({ segments }) => segments.beginning())).toMatchObject({ number: 0 });
  await sweepAs(maintenance);
  expect((await store.read(({ segments }) => segments.beginning())).number).toBeGreaterThan(0);
  const { rows } = await owner.pool.query("select kind, run_id from audit_event order by id desc limit 1");
  expect(rows).toEqual([{ kind: "retention.removed", run_id: "" }]);
});

test("orloj migrate grants two roles of yours what they need; a server works as them and says when it may not retain", async () => {
  await owner.pool.query("create role mine login password 'm'");
  await owner.pool.query("create role sweeper login password 's'");
  await owner.pool.query("create database other");
  const url = databaseUrl(ownerUrl, "other");
  const as = (username: string, password: string) => Object.assign(new URL(url), { username, password }).href;
  const tooEarly = await runOrloj(["migrate", "--database-url", as("mine", "m")]);
  expect(tooEarly).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^error\[E-CONFIG-INVALID\] this user may not change/),
  });
  const granted = await runOrloj([
    "migrate",
    "--database-url",
    url,
    "--server-role",
    "mine",
    "--maintenance-role",
    "sweeper",
  ]);
  expect(granted).toMatchObject({ code: 0, stdout: expect.stringMatching(/\ngranted mine\ngranted sweeper\n$/) });

  const alone = await startServer({ databaseUrl: as("mine", "m") });
  await alone.waitFor(/retention\.audit_off.*--maintenance-role/);
  expect(await runOrloj(["audit", "list"], { server: alone })).toMatchObject({ code: 0 });
  await alone.stop();
  const both = await startServer({
    databaseUrl: as("mine", "m"),
    args: ["--migrate", "check", "--maintenance-database-url", as("sweeper", "s")],
  });
  expect(both.output.stderr).not.toContain("retention.");
  await both.stop();
  const apart = await startServer({
    databaseUrl: as("mine", "m"),
    args: ["--maintenance-database-url", as("sweeper", "wrong")],
  });
  await apart.waitFor(/retention\.maintenance_unreachable/);
  await apart.stop();
});

test.for([
  [["--server-role", "nobody"], 1, /role "nobody" is not there: create it first/],
  [["--server-role", "orloj"], 1, /role "orloj" owns the tables, is a member of their owner, or is a superuser/],
  [["--server-role", "mine", "--check"], 2, /--check changes nothing/],
  [["--server-role", "mine", "--maintenance-role", "mine"], 2, /two different roles/],
] as const)("orloj migrate %j ends with %i", async ([args, code, stderr]) => {
  const ended = await runOrloj(["migrate", "--database-url", ownerUrl, ...args]);
  expect(ended).toMatchObject({ code, stdout: "", stderr: expect.stringMatching(stderr) });
});
