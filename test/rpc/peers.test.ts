// Whom limits are counted for, and how; and the pace of streams.

import { expect, test } from "vitest";
import { paced } from "../../server/rpc/paced.ts";
import { PeerCounts } from "../../server/rpc/peer_counts.ts";
import { peerGroup } from "../../server/rpc/peer_group.ts";
import { Turns } from "../../server/rpc/turns.ts";
import { manualClock } from "./manual_clock.ts";

test.each([
  ["127.0.0.1", "127.0.0.1"],
  ["::ffff:10.1.2.3", "10.1.2.3"],
  ["::FFFF:10.1.2.3", "10.1.2.3"],
  ["::1", "0:0:0:0::/64"],
  ["2001:db8:0:1:a:b:c:d", "2001:db8:0:1::/64"],
  ["2001:0db8:0000:0001::9", "2001:db8:0:1::/64"],
  ["2001:db8::1", "2001:db8:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ["1:2:3:4:5:6:7::", "1:2:3:4::/64"],
  ["", ""],
])("%s counts as %s", (address, group) => {
  expect(peerGroup(address)).toBe(group);
});

test("a peer has its share, everybody together the whole", () => {
  const counts = new PeerCounts(3, 2);
  expect([counts.enter("::1"), counts.enter("::2"), counts.enter("::3")]).toEqual([
    undefined,
    undefined,
    "of one peer",
  ]);
  expect([counts.enter("10.0.0.1"), counts.enter("10.0.0.2")]).toEqual([undefined, "in all"]);
  counts.leave("::2");
  expect([counts.enter("10.0.0.2"), counts.enter("::1")]).toEqual([undefined, "in all"]);
});

test("calls that come together begin a few in a turn of the event loop, in their order", async () => {
  const turns = new Turns();
  const begun: number[] = [];
  for (let number = 0; number < 40; number += 1) turns.add(() => void begun.push(number));
  const seen: number[] = [];
  while (begun.length < 40) {
    await new Promise((resolve) => setImmediate(resolve));
    seen.push(begun.length);
  }
  expect(seen).toEqual([16, 32, 40]);
  expect(begun).toEqual(Array.from({ length: 40 }, (_, number) => number));
});

test("messages come a few in a turn of the event loop, and no faster than their rate", async () => {
  const clock = manualClock();
  async function* source() {
    for (let number = 1; number <= 200; number += 1) yield number;
  }
  let turns = 0;
  let ended = false;
  const count = () => {
    turns += 1;
    if (!ended) setImmediate(count);
  };
  setImmediate(count);
  const got: number[] = [];
  const reading = (async () => {
    for await (const number of paced(source(), clock, { atOnce: 150, perSecond: 10 })) got.push(number);
  })();
  await clock.armed(100);
  expect(got).toHaveLength(150);
  expect(turns).toBeGreaterThanOrEqual(4);
  clock.advance(100);
  await clock.armed(100);
  expect(got).toHaveLength(151);
  while (got.length < 200) {
    clock.advance(100);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await reading;
  ended = true;
  expect(got.at(-1)).toBe(200);
});
