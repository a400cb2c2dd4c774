// What shares a batch, what becomes of a batch that fails, and what a full queue answers.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BatchWriter, Coalescer, type CoalescerOptions } from "../../kit/coalescer.ts";

const LOST = new Error("the database is lost");
const OPTIONS: CoalescerOptions = {
  batchMax: 100,
  waitingMax: 100,
  isShared: (error) => error === LOST,
  overflow: () => new Error("full"),
};

/** Some turns of the event loop: every batch that may begin has begun. */
async function turns(): Promise<void> {
  for (let count = 0; count < 5; count += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** A writer whose batches end when the test says so. */
function heldWriter() {
  const batches: { readonly items: readonly string[]; readonly end: () => void }[] = [];
  const write: BatchWriter<string, string> = (items) =>
    new Promise((resolve) => batches.push({ items, end: () => resolve(items.map((item) => `${item} written`)) }));
  return { batches, write, sizes: () => batches.map((batch) => batch.items.length) };
}

/** A writer that throws for a batch with one of the bad items in it, and remembers every batch it saw. */
function strictWriter(bad: (item: string) => boolean) {
  const tried: string[][] = [];
  const committed: string[] = [];
  const write: BatchWriter<string, string> = async (items) => {
    tried.push([...items]);
    const guilty = items.find(bad);
    if (guilty !== undefined) throw new Error(`${guilty} is bad`);
    committed.push(...items);
    return items.map((item) => `${item} written`);
  };
  return { tried, committed, write };
}

/** What became of each promise, in order: the result, or the message of the error. */
async function outcomes(promises: readonly Promise<string>[]): Promise<string[]> {
  const settled = await Promise.allSettled(promises);
  return settled.map((end) => (end.status === "fulfilled" ? end.value : `! ${(end.reason as Error).message}`));
}

describe("batches", () => {
  test("items added in the same turn share the first batch, each with its own result", async () => {
    const writer = heldWriter();
    const coalescer = new Coalescer(writer.write, OPTIONS);
    const answers = ["a", "b", "c"].map((item) => coalescer.add(item));
    expect(writer.batches).toEqual([]);
    await turns();
    expect(writer.batches.map((batch) => batch.items)).toEqual([["a", "b", "c"]]);
    writer.batches[0]?.end();
    expect(await outcomes(answers)).toEqual(["a written", "b written", "c written"]);
  });

  test("what comes while a batch gathers shares it", async () => {
    const writer = heldWriter();
    let gathered: () => void = () => undefined;
    const gather = () => new Promise<void>((resolve) => (gathered = resolve));
    const coalescer = new Coalescer(writer.write, { ...OPTIONS, gather });
    const first = coalescer.add("a");
    await turns();
    expect(writer.batches).toEqual([]);
    const answers = [first, coalescer.add("b"), coalescer.add("c")];
    let drained = false;
    const ended = coalescer.drained().then(() => (drained = true));
    await turns();
    expect([writer.batches, drained]).toEqual([[], false]);
    gathered();
    await turns();
    expect(writer.sizes()).toEqual([3]);
    writer.batches[0]?.end();
    expect(await outcomes(answers)).toEqual(["a written", "b written", "c written"]);
    await ended;
  });

  test("what arrives while a batch is in flight waits and shares the next", async () => {
    const writer = heldWriter();
    const coalescer = new Coalescer(writer.write, OPTIONS);
    const answers = [coalescer.add("a")];
    await turns();
    answers.push(coalescer.add("b"));
    await turns();
    answers.push(coalescer.add("c"));
    await turns();
    expect(writer.batches.map((batch) => batch.items)).toEqual([["a"]]);
    writer.batches[0]?.end();
    expect(await answers[0]).toBe("a written");
    await turns();
    expect(writer.batches.map((batch) => batch.items)).toEqual([["a"], ["b", "c"]]);
    writer.batches[1]?.end();
    expect(await outcomes(answers)).toEqual(["a written", "b written", "c written"]);
    expect(coalescer.stats).toEqual({ batches: 2, items: 3, splits: 0 });
  });

  test("a batch holds batchMax items; the rest follow in order, one batch after another", async () => {
    const writer = heldWriter();
    const coalescer = new Coalescer(writer.write, { ...OPTIONS, batchMax: 2 });
    const answers = ["a", "b", "c", "d", "e"].map((item) => coalescer.add(item));
    for (const expected of [["a", "b"], ["c", "d"], ["e"]]) {
      await turns();
      const batch = writer.batches.at(-1);
      expect(batch?.items).toEqual(expected);
      batch?.end();
      await turns();
    }
    expect(await outcomes(answers)).toEqual(["a", "b", "c", "d", "e"].map((item) => `${item} written`));
    expect(writer.sizes()).toEqual([2, 2, 1]);
  });

  test("with lanes, as many batches as lanes are in flight and no more", async () => {
    const writer = heldWriter();
    const coalescer = new Coalescer(writer.write, { ...OPTIONS, batchMax: 1, lanes: 2 });
    const answers = ["a", "b", "c", "d"].map((item) => coalescer.add(item));
    await turns();
    expect(writer.batches.map((batch) => batch.items)).toEqual([["a"], ["b"]]);
    writer.batches[1]?.end();
    expect(await answers[1]).toBe("b written");
    await turns();
    expect(writer.batches.map((batch) => batch.items)).toEqual([["a"], ["b"], ["c"]]);
    writer.batches[0]?.end();
    writer.batches[2]?.end();
    await turns();
    writer.batches[3]?.end();
    expect(await outcomes(answers)).toEqual(["a", "b", "c", "d"].map((item) => `${item} written`));
  });

  test("a second lane takes what arrives while the first is busy", async () => {
    const writer = heldWriter();
    const coalescer = new Coalescer(writer.write, { ...OPTIONS, lanes: 2 });
    const first = coalescer.add("a");
    await turns();
    const second = coalescer.add("b");
    await turns();
    expect(writer.batches.map((batch) => batch.items)).toEqual([["a"], ["b"]]);
    for (const batch of writer.batches) batch.end();
    expect(await outcomes([first, second])).toEqual(["a written", "b written"]);
  });
});

describe("failures", () => {
  test("a result that is an Error rejects that item alone, without a second write", async () => {
    let writes = 0;
    const coalescer = new Coalescer<string, string>(async (items) => {
      writes += 1;
      return items.map((item) => (item === "b" ? new Error("b is refused") : item));
    }, OPTIONS);
    expect(await outcomes(["a", "b", "c"].map((item) => coalescer.add(item)))).toEqual(["a", "! b is refused", "c"]);
    expect(writes).toBe(1);
    expect(coalescer.stats.splits).toBe(0);
  });

  test("a batch that fails is halved until the guilty item is alone; the others succeed", async () => {
    const writer = strictWriter((item) => item === "d");
    const coalescer = new Coalescer(writer.write, OPTIONS);
    const answers = ["a", "b", "c", "d", "e"].map((item) => coalescer.add(item));
    expect(await outcomes(answers)).toEqual(["a written", "b written", "c written", "! d is bad", "e written"]);
    expect(writer.tried.map((items) => items.join(""))).toEqual(["abcde", "abc", "de", "d", "e"]);
    expect(coalescer.stats.splits).toBe(2);
  });

  test("whichever items are guilty, exactly those fail and every other is written once", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }), async (guilty) => {
        const names = guilty.map((bad, index) => `${index}${bad ? "!" : ""}`);
        const writer = strictWriter((item) => item.endsWith("!"));
        const coalescer = new Coalescer(writer.write, { ...OPTIONS, batchMax: 7 });
        const ends = await outcomes(names.map((name) => coalescer.add(name)));
        expect(ends).toEqual(names.map((name) => (name.endsWith("!") ? `! ${name} is bad` : `${name} written`)));
        expect(writer.committed).toEqual(names.filter((name) => !name.endsWith("!")));
      }),
      { numRuns: 50 },
    );
  });

  test("an error that every item shares fails the batch whole, after one write", async () => {
    let writes = 0;
    const coalescer = new Coalescer<string, string>(async () => {
      writes += 1;
      throw LOST;
    }, OPTIONS);
    const ends = await Promise.allSettled(["a", "b", "c"].map((item) => coalescer.add(item)));
    expect(ends.map((end) => end.status === "rejected" && end.reason === LOST)).toEqual([true, true, true]);
    expect(writes).toBe(1);
    expect(coalescer.stats.splits).toBe(0);
  });

  test("an error shared halfway through a split fails only what was not written before", async () => {
    let writes = 0;
    const coalescer = new Coalescer<string, string>(async (items) => {
      writes += 1;
      if (writes === 1) throw new Error("one of them is bad");
      if (writes === 3) throw LOST;
      return items;
    }, OPTIONS);
    const ends = await outcomes(["a", "b", "c", "d"].map((item) => coalescer.add(item)));
    expect(ends).toEqual(["a", "b", `! ${LOST.message}`, `! ${LOST.message}`]);
    expect(writes).toBe(3);
  });

  test("a writer that throws at once, and a batch that failed, do not stop the next batch", async () => {
    let writes = 0;
    const coalescer = new Coalescer<string, string>((items) => {
      writes += 1;
      if (writes === 1) throw new Error("thrown before any promise");
      return Promise.resolve(items);
    }, OPTIONS);
    await expect(coalescer.add("a")).rejects.toThrow("thrown before any promise");
    expect(await coalescer.add("b")).toBe("b");
  });
});

describe("overflow", () => {
  test("an item that finds waitingMax items waiting is rejected and never written; the others are", async () => {
    const writer = strictWriter(() => false);
    const coalescer = new Coalescer(writer.write, { ...OPTIONS, waitingMax: 2 });
    const answers = ["a", "b", "c"].map((item) => coalescer.add(item));
    expect(await outcomes(answers)).toEqual(["a written", "b written", "! full"]);
    expect(writer.committed).toEqual(["a", "b"]);
    expect(await coalescer.add("d")).toBe("d written");
  });

  test("items in flight do not count as waiting", async () => {
    const writer = heldWriter();
    const coalescer = new Coalescer(writer.write, { ...OPTIONS, waitingMax: 1 });
    const inFlight = coalescer.add("a");
    await turns();
    const waiting = coalescer.add("b");
    await expect(coalescer.add("c")).rejects.toThrow("full");
    writer.batches[0]?.end();
    await inFlight;
    await turns();
    writer.batches[1]?.end();
    expect(await waiting).toBe("b written");
  });
});

describe("drained", () => {
  test("resolves at once when nothing was added", async () => {
    await new Coalescer(strictWriter(() => false).write, OPTIONS).drained();
  });

  test("resolves only when nothing waits and every lane is idle, for all who ask", async () => {
    const writer = heldWriter();
    const coalescer = new Coalescer(writer.write, { ...OPTIONS, batchMax: 1, lanes: 2 });
    const answers = ["a", "b", "c"].map((item) => coalescer.add(item));
    let drained = 0;
    const asked = [0, 1].map(() => coalescer.drained().then(() => (drained += 1)));
    await turns();
    for (const index of [0, 1, 2]) {
      expect(drained).toBe(0);
      writer.batches[index]?.end();
      await turns();
    }
    expect(drained).toBe(2);
    await Promise.all([...asked, ...answers]);
  });

  test("resolves after a batch that failed", async () => {
    const coalescer = new Coalescer(strictWriter(() => true).write, OPTIONS);
    const ends = outcomes([coalescer.add("a"), coalescer.add("b")]);
    await coalescer.drained();
    expect(await ends).toEqual(["! a is bad", "! b is bad"]);
  });
});
