// The renewer: sessions that hold nothing renew together and cost little, and none that holds a task waits for them.

import { sql } from "kysely";
import { expect, test } from "vitest";
import { Renewer } from "../../server/dispatch/renewer.ts";
import { manualClock } from "../rpc/manual_clock.ts";
import { dispatchStage } from "./dispatch_stage.ts";

const stage = await dispatchStage();
const { idleFlushMs, flushMs } = stage.timing;
const renewal = (sequence: bigint, tokens: string[] = []) =>
  ({ case: "renew", value: { sequence, tokens, lastAssignSequence: 0n } }) as const;

test("a session that holds a task is flushed soon, whoever waits already; one that holds none waits for others", () => {
  const clock = manualClock();
  const flushed: number[] = [];
  class Counting extends Renewer {
    override async flush(): Promise<void> {
      flushed.push(clock.monotonic());
    }
  }
  const renewer = new Counting(stage.context, () => stage.registry, clock, stage.timing);
  const [idle, busy] = [{ held: new Map() }, { held: new Map([["t", {}]]) }] as unknown as Parameters<
    Renewer["pending"]
  >[0][];
  renewer.pending(idle as never);
  clock.advance(idleFlushMs - 1);
  renewer.pending(idle as never);
  expect(flushed).toEqual([]);
  clock.advance(1);
  expect(flushed).toEqual([idleFlushMs]);
  renewer.pending(idle as never);
  renewer.pending(busy as never);
  renewer.pending(idle as never);
  clock.advance(idleFlushMs * 2);
  expect(flushed).toEqual([idleFlushMs, idleFlushMs + flushMs]);
  expect(clock.pending).toBe(0);
});

test("of a session that was found to hold nothing, no lease is looked for again until it is told of one", async () => {
  const worker = await stage.connected();
  for (const sequence of [1n, 2n]) {
    await worker.send(renewal(sequence));
    await stage.renewer.flush();
    expect((await worker.take("renewAck")).sequence).toBe(sequence);
  }
  await sql`alter table lease rename to lease_away`.execute(stage.database.db);
  await worker.send(renewal(3n));
  await stage.renewer.flush();
  expect((await worker.take("renewAck")).sequence).toBe(3n);
  await sql`alter table lease_away rename to lease`.execute(stage.database.db);
  expect(worker.session.hasNothing).toBe(true);
  await worker.send({ case: "turns", value: { turns: [] } });
  expect(worker.session.hasNothing).toBe(false);
});
