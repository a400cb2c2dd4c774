// The demo as a newcomer runs it: it ends by itself, and its last line holds what it promises.

import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../harness/folders.ts";
import { startProcess } from "../harness/processes.ts";

const LAST_LINE =
  /^demo: runs=(?<runs>\d+) succeeded=(?<succeeded>\d+) denied=(?<denied>\d+) tasks=(?<tasks>\d+) tool_calls=(?<calls>\d+) audit_records=(?<records>\d+)$/;

test("npm run demo ends with exit 0 and a last line that adds up, and leaves no file", async () => {
  const temporary = join(await temporaryFolder("d"), "t");
  await mkdir(temporary, { mode: 0o711 });
  const demo = startProcess("npm", ["run", "--silent", "demo"], { env: { TMPDIR: temporary } });
  const { code } = await demo.ended;
  const { stdout, stderr } = demo.output;
  expect({ code, stdout, stderr }).toMatchObject({ code: 0 });
  const last = LAST_LINE.exec(stdout.trimEnd().split("\n").at(-1) ?? "")?.groups;
  const { runs, succeeded, denied, tasks, calls, records } = Object.fromEntries(
    Object.entries(last ?? {}).map(([name, text]) => [name, Number(text)]),
  ) as Record<string, number>;
  expect(succeeded).toBeGreaterThanOrEqual(2);
  // One by a policy and one by structure; a refused invocation makes no run.
  expect(denied).toBeGreaterThanOrEqual(2);
  expect(runs).toBeGreaterThanOrEqual(succeeded as number);
  expect((succeeded as number) + (denied as number)).toBeGreaterThanOrEqual(runs as number);
  expect(tasks).toBeGreaterThanOrEqual(runs as number);
  expect(calls).toBeGreaterThan(0);
  expect(records).toBeGreaterThan(tasks as number);
  expect(stdout).toContain("scripted");
  for (const reason of ["not_permitted", "undeclared"]) expect(stdout).toContain(reason);
  expect(stdout).not.toMatch(/\u001b\[\d*[A-J]/);
  expect((await readdir(temporary)).filter((name) => name.startsWith("orloj"))).toEqual([]);
});
