// The looks of `orloj doctor` on a real database: each trouble is made, found with what to do, and gone again when it is mended.

import { beforeEach, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { diagnose } from "../../server/commands/diagnose.ts";
import { absentSecrets, unattachedPolicies } from "../../server/commands/diagnose_catalog.ts";
import { clockLook } from "../../server/commands/diagnose_database.ts";
import { certificateLook, diskLook } from "../../server/commands/diagnose_host.ts";
import { lookAll } from "../../server/commands/findings.ts";
import { UNSCHEDULABLE_MS } from "../../server/commands/read_runs.ts";
import { Sealer } from "../../server/dispatch/sealer.ts";
import { resourceQueries } from "../../server/storage/resources.ts";
import { document } from "./command_manifests.ts";
import { commandStage, outcomeOf, TIMEOUT } from "./command_stage.ts";
import { stageSecrets } from "./stage_secrets.ts";

const clock = systemClock();
const stage = await commandStage();
const { database, store } = stage;
const host = {
  certificates: async () => [],
  disk: async () => ({ path: "/home", freeBytes: 5e9, totalBytes: 1e10 }),
};
const look = async () => {
  const context = { ...stage.context, clock, replicaId: "rep_1", version: "1.2.3", host };
  const { findings } = await diagnose(context);
  return {
    findings,
    of: (id: string) => findings.filter((one) => one.id === id),
    worst: (id: string) => findings.filter((one) => one.id === id).map(({ severity }) => severity),
  };
};
const session = async (id: string, more: { version?: string; runtimes?: string[] } = {}) =>
  await store.transaction((tx) =>
    tx.sessions.open(
      {
        ...{ id, instance_id: "i", name: `w-${id}`, identity: "id", labels: {}, handlers: [], slots: 7 },
        ...{ runtimes: more.runtimes ?? ["model", "tool"], version: more.version ?? "1.2.3", replica_id: "rep_1" },
      },
      "",
      60_000,
    ),
  );

beforeEach(async () => {
  await database.pool.query("delete from worker_session");
});

test("a sound control plane has a finding for every look, and none that is wrong but what the manifests lack", async () => {
  await session("ses_a");
  const { findings } = await look();
  // How busy the database of all tests is does not count here.
  const busy = ["database.latency", "database.connections"];
  const wrong = findings.filter(({ id, severity }) => severity !== "ok" && !busy.includes(id)).map(({ id }) => id);
  // The manifests of the stage name a secret that there is not, and a policy of a workflow that there is.
  expect([...new Set(wrong)]).toEqual(["secrets.absent"]);
  expect(findings.map(({ id }) => id)).toEqual(
    expect.arrayContaining([
      ...["database.version", "database.connections", "database.migrations", "database.latency", "database.vacuum"],
      ...["clock.database", "certificate.validity", "disk.space", "workers.connected", "queue.unschedulable"],
      ...[
        "runs.queued",
        "dead-letters.open",
        "policies.unattached",
        "audit.sealing",
        "audit.signing",
        "audit.last_segment",
      ],
    ]),
  );
  for (const { severity, nextStep, message } of findings) {
    expect(message).not.toBe("");
    expect(nextStep === "").toBe(severity === "ok");
  }
});

test("workers: none, of another release, and lost without a successor", async () => {
  expect((await look()).worst("workers.none")).toEqual(["warning"]);
  await session("ses_a", { version: "1.1.0" });
  await session("ses_b");
  await database.pool.query("update worker_session set state = 'lost' where id = 'ses_b'");
  const found = await look();
  expect(found.of("workers.version")).toMatchObject([
    { subject: "w-ses_a", message: expect.stringContaining("1.1.0") },
  ]);
  expect(found.of("workers.lost")).toMatchObject([{ subject: "w-ses_b", severity: "warning" }]);
  expect(found.of("workers.none")).toEqual([]);
});

test("queued tasks that no connected worker may take are an error that names what is missing; a fitting worker mends it", async () => {
  const runId = await stage.start("zoned");
  expect((await look()).worst("queue.unschedulable")).toEqual(["ok"]);
  await database.pool.query(
    "update task set create_time = clock_timestamp() - $2 * interval '1 ms' where run_id = $1",
    [...[runId, UNSCHEDULABLE_MS + 5_000]],
  );
  await session("ses_a");
  const [finding] = (await look()).of("queue.unschedulable");
  expect(finding).toMatchObject({ severity: "error", subject: "runtime model, label zone=gpu" });
  expect(finding?.message).toContain("1 queued task that no connected worker may take");
  await database.pool.query(`update worker_session set labels = '{"zone": "gpu"}'`);
  expect((await look()).worst("queue.unschedulable")).toEqual(["ok"]);
  await stage.claimAs("ses_a");
});

test("parked tasks are a warning after an hour, and an error after a week", async () => {
  const runId = await stage.start("parked");
  for (const round of [1, 2]) {
    const { assigned } = await stage.claimAs("ses_a");
    for (const one of assigned.filter(({ task }) => task.run_id === runId)) await stage.settle(outcomeOf(one, TIMEOUT));
    const [task] = await stage.tasksOf(runId);
    if (round === 1) await stage.makeDue(task?.id ?? "");
    if (round === 1) await stage.settle({ type: "wake", taskId: task?.id ?? "" });
  }
  const aged = async (interval: string) => {
    await database.pool.query(`update dead_letter set park_time = clock_timestamp() - $1::interval`, [interval]);
    return (await look()).of("dead-letters.open");
  };
  expect(await aged("1 minute")).toMatchObject([{ severity: "ok", message: expect.stringContaining("1 parked task") }]);
  expect(await aged("2 hours")).toMatchObject([{ severity: "warning", subject: "default" }]);
  expect(await aged("8 days")).toMatchObject([
    { severity: "error", nextStep: expect.stringContaining("orloj dead-letters list -n default") },
  ]);
});

test("a schema that lacks a migration, or has one of a later release, is told", async () => {
  const { rows } = await database.pool.query<{ name: string }>("select max(name) as name from orloj_migration");
  const newest = rows[0]?.name ?? "";
  await database.pool.query("delete from orloj_migration where name = $1", [newest]);
  expect((await look()).of("database.migrations")).toMatchObject([
    { severity: "error", message: `the database lacks ${newest}`, nextStep: expect.stringContaining("orloj migrate") },
  ]);
  await database.pool.query("insert into orloj_migration (name) values ($1), ('9999_later')", [newest]);
  expect((await look()).of("database.migrations")).toMatchObject([
    { severity: "warning", message: expect.stringContaining("9999_later") },
  ]);
  await database.pool.query("delete from orloj_migration where name = '9999_later'");
});

test("a changed record of the last sealed segment is found", async () => {
  const sealer = new Sealer(stage.context, clock);
  while ((await sealer.once()) !== "idle");
  expect((await look()).worst("audit.last_segment")).toEqual(["ok"]);
  const { rows } = await database.pool.query<{ id: bigint }>(
    "select last_id as id from audit_segment order by number desc limit 1",
  );
  const id = rows[0]?.id;
  const edit = async (actor: string) => {
    const client = await database.pool.connect();
    await client.query("begin");
    await client.query("set local session_replication_role = replica");
    await client.query("update audit_event set actor = actor || $2 where id = $1", [id, actor]);
    await client.query("commit");
    client.release();
  };
  await edit("x");
  expect((await look()).of("audit.last_segment")).toMatchObject([
    {
      severity: "error",
      message: expect.stringMatching(/^segment \d+: edited: /),
      nextStep: expect.stringContaining("orloj audit verify"),
    },
  ]);
});

test("policies that nothing fits, and library policies that nobody uses, decide nothing and are told; others are not", async () => {
  const policy = (name: string, attachTo: object[], more: object = {}) =>
    document("Policy", name, {
      ...{ mode: "enforce", attachTo, checkpoints: ["tool.call"], allow: { match: { "requester.groups": ["x"] } } },
      ...more,
    });
  await stage.applyAll([
    policy("by-label", [{ kind: "Tool", selector: { tier: "gold" } }]),
    policy("by-namespace", [{ kind: "Namespace", name: "default" }]),
    policy("library-used", []),
    policy("library-idle", []),
    policy("user", [{ kind: "Tool", name: "look" }], { allow: { policyRef: "library-used" } }),
  ]);
  const rows = await store.read(({ db }) => resourceQueries(db).all());
  const found = unattachedPolicies(rows);
  expect(found.map(({ subject }) => subject).sort()).toEqual([
    "Policy default/by-label",
    "Policy default/library-idle",
  ]);
  const labelled = rows.map((row) => (row.name === "write" ? { ...row, labels: { tier: "gold" } } : row));
  expect(unattachedPolicies(labelled).map(({ subject }) => subject)).toEqual(["Policy default/library-idle"]);
});

test("secrets that are named and absent, or forbidden, are told by name, never by value", async () => {
  const rows = await store.read(({ db }) => resourceQueries(db).all());
  const absent = absentSecrets(rows, stage.context.secrets);
  expect(absent).toMatchObject([{ id: "secrets.absent", severity: "error", subject: "sink/absent" }]);
  const all = new Map([...stage.secrets, ["sink/absent", "there-now"]]);
  expect(absentSecrets(rows, stageSecrets(all).secrets)).toMatchObject([{ id: "secrets.present", severity: "ok" }]);
  const forbidden = absentSecrets(rows, stageSecrets(all, {}).secrets);
  expect(new Set(forbidden.map(({ id }) => id))).toEqual(new Set(["secrets.forbidden"]));
  expect(JSON.stringify([...absent, ...forbidden])).not.toMatch(/canary|there-now/);
});

test("certificates: far from their end, near it, past it, not begun, unreadable", async () => {
  const DAY = 86_400_000;
  const now = clock.now();
  const fact = (from: number, to: number) => ({
    ...{
      use: "API listener",
      file: "server.crt",
      validFrom: new Date(now + from * DAY),
      validTo: new Date(now + to * DAY),
    },
  });
  const facts = [
    fact(-1, 90),
    fact(-1, 29),
    fact(-9, -1),
    fact(1, 90),
    { use: "API listener", file: "x", problem: "gone" },
  ];
  const findings = await certificateLook({ ...host, certificates: async () => facts }, clock).run();
  expect(findings.map(({ severity }) => severity)).toEqual(["ok", "warning", "error", "error", "error"]);
  expect(findings[1]?.message).toBe("API listener: it expires in 29 days");
});

test("a disk that fills up, a clock that is off, and a look that cannot look", async () => {
  const disk = (freeBytes: number) =>
    diskLook({ disk: async () => ({ path: "/h", freeBytes, totalBytes: 100 }) }).run();
  expect((await Promise.all([disk(50), disk(9), disk(2)])).flat().map(({ severity }) => severity)).toEqual([
    ...["ok", "warning", "error"],
  ]);
  const off = (ms: number) => clockLook(store, { ...clock, now: () => clock.now() + ms }).run();
  expect((await Promise.all([off(0), off(-3_000), off(60_000)])).flat().map(({ severity }) => severity)).toEqual([
    ...["ok", "warning", "error"],
  ]);
  const broken = { name: "disk.space", run: () => Promise.reject(new Error("no such device")) };
  expect(await lookAll([broken])).toMatchObject([
    { id: "disk.space.unreadable", severity: "error", message: "this could not be looked at: no such device" },
  ]);
});
