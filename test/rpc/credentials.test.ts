// Credentials over the wire beyond being right or wrong: guessed by the thousand, sent in the wrong place, gone while a stream lasts.

import { createClient } from "@connectrpc/connect";
import { afterEach, beforeEach, expect, test } from "vitest";
import { HOUR } from "../../kit/units.ts";
import { WorkerService } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { WorkflowService } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { OrlojError } from "../../sdk/index.ts";
import type { Principal } from "../../server/commands/views.ts";
import { RECHECK_MS } from "../../server/rpc/authentication.ts";
import { FAILURES_A_SECOND, FAILURES_AT_ONCE } from "../../server/rpc/failed_attempts.ts";
import { type ManualClock, manualClock } from "./manual_clock.ts";
import { type Rig, readAll, startRig } from "./rig.ts";

const ANN: Principal = { id: "ann", kind: "user", groups: [], claims: {}, method: "token", roles: ["invoker"] };
let clock: ManualClock;
let rig: Rig;

beforeEach(async () => {
  clock = manualClock();
  // A ping that comes while the clock jumps would be late.
  rig = await startRig({ clock, limits: { pingIntervalMs: HOUR } });
  rig.plane.principals.set("tok-ann", ANN);
});
afterEach(() => rig.close());

const runs = (token: string) => createClient(WorkflowService, rig.transport({ token }));
const reasonOf = (call: Promise<unknown>) => call.then(() => "OK").catch((error) => OrlojError.from(error).reason);

test("guessing is turned away after a while, before anything is looked up; who was right before is not", async () => {
  const [guesses, ann] = [runs("tok-guess"), runs("tok-ann")];
  expect(await reasonOf(ann.listRuns({}))).toBe("OK");
  let looked = 0;
  const authenticate = rig.plane.authenticate.bind(rig.plane);
  rig.plane.authenticate = (credentials) => {
    looked += 1;
    return authenticate(credentials);
  };
  for (let times = 0; times < FAILURES_AT_ONCE; times += 1) {
    expect(await reasonOf(guesses.listRuns({}))).toBe("CREDENTIALS_INVALID");
  }
  expect(looked).toBe(FAILURES_AT_ONCE);
  for (let times = 0; times < 20; times += 1) expect(await reasonOf(guesses.listRuns({}))).toBe("TOO_MANY");
  expect(looked).toBe(FAILURES_AT_ONCE);
  expect(await reasonOf(ann.listRuns({}))).toBe("OK");
  expect(await reasonOf(runs("tok-admin").listRuns({}))).toBe("TOO_MANY");
  clock.advance(1_000);
  for (let times = 0; times < FAILURES_A_SECOND; times += 1) await reasonOf(guesses.listRuns({}));
  expect(looked).toBe(FAILURES_AT_ONCE + 1 + FAILURES_A_SECOND);
  // A token that was right and is no longer is counted as any other.
  rig.plane.principals.delete("tok-ann");
  expect(await reasonOf(ann.listRuns({}))).toBe("CREDENTIALS_INVALID");
  expect(await reasonOf(ann.listRuns({}))).toBe("TOO_MANY");
});

test("a token in the URL, in a body, or in another header is none, and is not logged", async () => {
  const path = "/orloj.v1.WorkflowService/ListRuns";
  for (const [where, head] of [
    [`${path}?access_token=tok-ann&token=tok-ann&authorization=Bearer%20tok-ann`, ""],
    [path, "cookie: authorization=tok-ann\r\nx-api-key: tok-ann\r\n"],
    [path, "proxy-authorization: Bearer tok-ann\r\n"],
  ] as const) {
    const text = `POST ${where} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n${head}content-length: 2\r\n\r\n{}`;
    expect(await readAll(rig.raw("api", text))).toMatch(/^HTTP\/1.1 401 /);
  }
  expect(JSON.stringify(rig.log)).not.toContain("tok-ann");
  for (const header of ["Basic tok-ann", "Bearer", "Bearer ", "tok-ann", "Bearer tok-ann, Bearer tok-ann"]) {
    const text = `POST ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\nauthorization: ${header}\r\ncontent-length: 2\r\n\r\n{}`;
    expect(await readAll(rig.raw("api", text)), header).toMatch(/^HTTP\/1.1 401 /);
  }
});

test("a stream ends soon after its credentials are gone, and not because nobody can tell", async () => {
  const watch = runs("tok-ann").watchRun({ runId: "run_1" })[Symbol.asyncIterator]();
  await watch.next();
  const { authenticate } = rig.plane;
  rig.plane.authenticate = () => Promise.reject(new Error("the database is away"));
  const look = async () => {
    clock.advance(RECHECK_MS);
    await new Promise((resolve) => setImmediate(resolve));
  };
  await look();
  expect(rig.plane.watchesOpen).toBe(1);
  rig.plane.authenticate = authenticate;
  await look();
  expect(rig.plane.watchesOpen).toBe(1);
  rig.plane.principals.set("tok-ann", { ...ANN, roles: [] });
  clock.advance(RECHECK_MS);
  await expect(
    (async () => {
      for (;;) if ((await watch.next()).done) return;
    })(),
  ).rejects.toThrow();
  expect(rig.plane.refusals).toMatchObject([
    { method: "orloj.v1.WorkflowService/WatchRun", reason: "PERMISSION_DENIED", principal: { id: "ann" } },
  ]);
});

test("a worker's session ends soon after its token is revoked", async () => {
  rig.plane.principals.set("tok-w1", { ...ANN, id: "w1", kind: "worker", roles: ["worker"] });
  async function* hello() {
    yield { frame: { case: "hello" as const, value: { protocolVersion: 1 } } };
    await new Promise(() => undefined);
  }
  const session = createClient(WorkerService, rig.transport({ port: "worker", token: "tok-w1" })).session(hello());
  const frames = session[Symbol.asyncIterator]();
  await frames.next();
  rig.plane.principals.delete("tok-w1");
  await clock.armed(RECHECK_MS);
  clock.advance(RECHECK_MS);
  await expect(frames.next()).rejects.toThrow();
  expect(rig.plane.refusals).toMatchObject([{ listener: "worker", reason: "CREDENTIALS_INVALID" }]);
});
