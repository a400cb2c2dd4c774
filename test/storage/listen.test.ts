// Hints over NOTIFY: gathered into few notifications, heard by another connection, heard again after the connection was lost.

import { sql } from "kysely";
import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { seededRandom } from "../../kit/random.ts";
import { createHintListener, createHintNotifier } from "../../server/storage/listen.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { testDatabase } from "../harness/database.ts";

const database = await testDatabase({ migrated: false });

function listener() {
  const heard: (readonly string[])[] = [];
  const errors: Error[] = [];
  const service = createHintListener({
    replicaId: "rep_test",
    url: database.url,
    clock: systemClock(),
    random: seededRandom(1),
    onHint: (topics) => heard.push(topics),
    onError: (error) => errors.push(error),
  });
  atEndOfFile(() => service.stop());
  service.start();
  return { heard, errors, service };
}

const notifierOf = (replicaId: string) => createHintNotifier(database.pool, { replicaId, clock: systemClock() });

test("a burst of hints becomes one notification with each topic once", async () => {
  const { heard, service } = listener();
  await expect.poll(() => heard).toEqual([[]]);
  const notifier = notifierOf("rep_other");
  for (let index = 0; index < 1_000; index += 1) notifier.hint(index % 2 === 0 ? "ready" : "cancel");
  await notifier.drained();
  await expect.poll(() => heard).toEqual([[], ["ready", "cancel"]]);
  notifier.hint("ready");
  await expect.poll(() => heard.length).toBe(3);
  await service.stop();
});

test("a listener that lost its connection opens another, and says that hints may have been missed", async () => {
  const { heard, errors, service } = listener();
  await expect.poll(() => heard).toEqual([[]]);
  await sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'orloj-listen rep_test' AND datname = current_database()`.execute(database.db);
  await expect.poll(() => heard).toEqual([[], []]);
  expect(errors).toHaveLength(1);
  notifierOf("rep_other").hint("ready");
  await expect.poll(() => heard).toEqual([[], [], ["ready"]]);
  await service.stop();
});

test("a replica does not hear its own hints", async () => {
  const { heard, service } = listener();
  await expect.poll(() => heard).toEqual([[]]);
  const own = notifierOf("rep_test");
  own.hint("own");
  await own.drained();
  notifierOf("rep_other").hint("other");
  await expect.poll(() => heard).toEqual([[], ["other"]]);
  await service.stop();
});

test("hints that follow a notification wait for a pause to end, and share the next one", async () => {
  const { heard, service } = listener();
  await expect.poll(() => heard).toEqual([[]]);
  const pauses: (() => void)[] = [];
  const clock = { ...systemClock(), sleep: () => new Promise<void>((resolve) => void pauses.push(resolve)) };
  const notifier = createHintNotifier(database.pool, { replicaId: "rep_other", clock });
  notifier.hint("first");
  await expect.poll(() => pauses.length).toBe(1);
  notifier.hint("second");
  notifier.hint("third");
  notifierOf("rep_third").hint("meanwhile");
  await expect.poll(() => heard).toEqual([[], ["first"], ["meanwhile"]]);
  pauses[0]?.();
  await expect.poll(() => heard).toEqual([[], ["first"], ["meanwhile"], ["second", "third"]]);
  pauses[1]?.();
  await notifier.drained();
  await service.stop();
});
