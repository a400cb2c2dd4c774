// Order, bound, end and abort of the queue between a producer that must not wait and its one consumer.

import { getEventListeners } from "node:events";
import { describe, expect, test } from "vitest";
import { BoundedQueue } from "../../kit/bounded_queue.ts";

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const never = () => new AbortController().signal;

/** What a consumer got so far, and whether its iteration has ended. */
function consume<T>(queue: BoundedQueue<T>, signal: AbortSignal) {
  const seen = { items: [] as T[], ended: false };
  const done = (async () => {
    for await (const item of queue.items(signal)) seen.items.push(item);
    seen.ended = true;
  })();
  return { seen, done };
}

describe("a bounded queue", () => {
  test("gives items in the order they were pushed, to a consumer that comes later", async () => {
    const queue = new BoundedQueue<number>(10);
    for (const item of [1, 2, 3]) expect(queue.push(item)).toBe(true);
    queue.close();
    const { seen, done } = consume(queue, never());
    await done;
    expect(seen.items).toEqual([1, 2, 3]);
  });

  test("refuses what goes beyond its bound, and takes items again once one was consumed", async () => {
    const queue = new BoundedQueue<string>(2);
    expect([queue.push("a"), queue.push("b"), queue.push("c")]).toEqual([true, true, false]);
    expect(queue.length).toBe(2);
    const items = queue.items(never());
    expect((await items.next()).value).toBe("a");
    expect(queue.length).toBe(1);
    expect([queue.push("d"), queue.push("e")]).toEqual([true, false]);
    expect([(await items.next()).value, (await items.next()).value]).toEqual(["b", "d"]);
    await items.return(undefined);
  });

  test("wakes a waiting consumer for each push, also several in one turn", async () => {
    const queue = new BoundedQueue<number>(10);
    const { seen, done } = consume(queue, never());
    await turn();
    expect(seen.items).toEqual([]);
    queue.push(1);
    await turn();
    expect(seen.items).toEqual([1]);
    queue.push(2);
    queue.push(3);
    await turn();
    expect(seen.items).toEqual([1, 2, 3]);
    queue.close();
    await done;
  });

  test("delivers every value it took, whatever the value", async () => {
    const queue = new BoundedQueue<unknown>(10);
    const values = [0, "", false, null, undefined, Number.NaN];
    for (const value of values) expect(queue.push(value)).toBe(true);
    queue.close();
    const { seen, done } = consume(queue, never());
    await done;
    expect(seen.items).toEqual(values);
  });
});

describe("close", () => {
  test("delivers what is queued, then ends; later pushes are refused", async () => {
    const queue = new BoundedQueue<string>(5);
    queue.push("a");
    queue.push("b");
    queue.close();
    expect(queue.push("c")).toBe(false);
    const { seen, done } = consume(queue, never());
    await done;
    expect(seen).toEqual({ items: ["a", "b"], ended: true });
  });

  test("ends a consumer that waits, also when it comes in the same turn as a push", async () => {
    const empty = new BoundedQueue<string>(5);
    const waiting = consume(empty, never());
    await turn();
    empty.close();
    await waiting.done;
    expect(waiting.seen).toEqual({ items: [], ended: true });

    const pushed = new BoundedQueue<string>(5);
    const other = consume(pushed, never());
    await turn();
    pushed.push("last");
    pushed.close();
    await other.done;
    expect(other.seen.items).toEqual(["last"]);
  });
});

describe("abort", () => {
  test("ends a consumer that waits", async () => {
    const queue = new BoundedQueue<string>(5);
    const controller = new AbortController();
    const { seen, done } = consume(queue, controller.signal);
    await turn();
    controller.abort();
    await done;
    expect(seen).toEqual({ items: [], ended: true });
  });

  test("ends at once without delivering what is queued", async () => {
    const queue = new BoundedQueue<string>(5);
    queue.push("a");
    queue.push("b");
    const controller = new AbortController();
    const got: string[] = [];
    for await (const item of queue.items(controller.signal)) {
      got.push(item);
      controller.abort();
    }
    expect(got).toEqual(["a"]);
    expect(queue.length).toBe(1);
  });

  test("before the start gives nothing", async () => {
    const queue = new BoundedQueue<string>(5);
    queue.push("a");
    const { seen, done } = consume(queue, AbortSignal.abort());
    await done;
    expect(seen.items).toEqual([]);
  });

  test("leaves what is queued to the next consumer, also to one that begins in the same turn", async () => {
    const queue = new BoundedQueue<string>(5);
    const controller = new AbortController();
    const first = consume(queue, controller.signal);
    await turn();
    controller.abort();
    const second = consume(queue, never());
    await first.done;
    await turn();
    queue.push("for the second");
    await turn();
    expect(second.seen.items).toEqual(["for the second"]);
    queue.close();
    await second.done;
  });
});

test("a consumer that ended listens to its signal no longer, however it ended", async () => {
  const { signal } = new AbortController();
  const closed = new BoundedQueue<string>(5);
  closed.close();
  await consume(closed, signal).done;
  const left = new BoundedQueue<string>(5);
  left.push("a");
  for await (const item of left.items(signal)) {
    expect(item).toBe("a");
    break;
  }
  expect(getEventListeners(signal, "abort")).toEqual([]);
});
