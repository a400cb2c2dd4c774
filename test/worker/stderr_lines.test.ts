// What a process writes to standard error, as lines: whole, without secrets however they come, and little of a flood.

import { expect, test } from "vitest";
import { Redactor } from "../../kit/redactor.ts";
import { END_BYTES_MAX, SHOWN_BYTES_MAX, StderrLines } from "../../worker/tool/stderr_lines.ts";

const SECRET = "canary-4711-of-two\nlines-of-a-key";

function lines(...secrets: string[]) {
  const redactor = new Redactor();
  for (const secret of secrets) redactor.learn(secret);
  const told: string[] = [];
  return { told, stderr: new StderrLines(redactor, (line) => void told.push(line)) };
}

test("lines are told as they come, in whatever pieces, and the rest at the end", () => {
  const { told, stderr } = lines();
  for (const piece of ["one\ntw", "o\r\n", "thr", "ee ü"]) stderr.take(Buffer.from(piece));
  expect(told).toEqual(["one", "two"]);
  stderr.end();
  expect(told).toEqual(["one", "two", "three ü"]);
});

test("a character that comes in two pieces is one", () => {
  const { told, stderr } = lines();
  const bytes = Buffer.from("grün\n");
  stderr.take(bytes.subarray(0, 3));
  stderr.take(bytes.subarray(3));
  stderr.end();
  expect(told).toEqual(["grün"]);
});

test("a secret is left out, also one of several lines that comes byte by byte", () => {
  const { told, stderr } = lines(SECRET);
  for (const byte of Buffer.from(`before\nkey: ${SECRET}\nafter\n${"filler\n".repeat(40)}`))
    stderr.take(Buffer.from([byte]));
  stderr.end();
  expect(told.slice(0, 3)).toEqual(["before", "key: [redacted]", "after"]);
  expect(told.join("\n")).not.toMatch(/canary|lines-of-a-key/);
});

test("of a flood the beginning and the end are told, and how much is missing, without a secret that the cut goes through", () => {
  const { told, stderr } = lines("canary-4711");
  const chunk = Buffer.from(`${"canary-4711 ".repeat(500)}\n`);
  const total = 2_000;
  for (let number = 0; number < total; number += 1) stderr.take(chunk);
  stderr.take(Buffer.from("the end\n"));
  stderr.end();
  const text = told.join("\n");
  expect(told.at(-1)).toBe("the end");
  expect(text).toMatch(/… \d+ bytes are left out …/);
  expect(text.length).toBeLessThan(SHOWN_BYTES_MAX + 2 * END_BYTES_MAX);
  expect(text).not.toContain("4711");
});
