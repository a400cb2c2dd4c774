// untilAborted: items, end, abort, and what it does to its source.

import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import { untilAborted } from "../../server/rpc/until_aborted.ts";

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

test("passes items on and removes its listener when the source ends", async () => {
  const { signal } = new AbortController();
  async function* source() {
    yield* [1, 2, 3];
  }
  expect(await collect(untilAborted(source(), signal))).toEqual([1, 2, 3]);
  expect(getEventListeners(signal, "abort")).toEqual([]);
});

test("a silent source is left with the reason of the abort, and told to stop", async () => {
  const controller = new AbortController();
  let stopped = false;
  const source: AsyncIterable<number> = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise(() => undefined),
      return: async () => {
        stopped = true;
        return { done: true, value: undefined };
      },
    }),
  };
  const collecting = collect(untilAborted(source, controller.signal));
  controller.abort(new Error("enough"));
  await expect(collecting).rejects.toThrow("enough");
  expect(stopped).toBe(true);
});

test("an error of the source comes through, and a failing return does not", async () => {
  const source: AsyncIterable<number> = {
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.reject(new Error("broken")),
      return: () => Promise.reject(new Error("return failed")),
    }),
  };
  await expect(collect(untilAborted(source, new AbortController().signal))).rejects.toThrow("broken");
});

test("a consumer that leaves stops the source", async () => {
  const { signal } = new AbortController();
  let stopped = false;
  async function* source() {
    try {
      for (;;) yield 1;
    } finally {
      stopped = true;
    }
  }
  for await (const item of untilAborted(source(), signal)) {
    expect(item).toBe(1);
    break;
  }
  await Promise.resolve();
  expect(stopped).toBe(true);
  expect(getEventListeners(signal, "abort")).toEqual([]);
});
