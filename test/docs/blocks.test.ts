// What the harness of the documentation reads out of a page, and how it compares: blocks, tags, output, exit codes.
import { expect, test } from "vitest";
import { commandBlocks, fencesOf } from "./blocks.ts";
import { expectCodes } from "./page_run.ts";
import { difference, mask } from "./shown_output.ts";

const fence = (info: string, text: string) => `\`\`\`${info}\n${text}\n\`\`\`\n`;
const PAGE = [
  "# Page",
  fence("sh", "orloj runs"),
  fence("yaml", "a: 1"),
  fence("bash limit=90s", "orloj dev\ncd x"),
].join("\n");

test("commands are found with their lines and limits, other languages are fences alone", () => {
  expect(commandBlocks(PAGE)).toEqual([
    {
      line: 2,
      hidden: false,
      script: "orloj runs\n",
      shown: undefined,
      notRun: undefined,
      background: false,
      limitSeconds: 60,
    },
    {
      line: 10,
      hidden: false,
      script: "orloj dev\ncd x\n",
      shown: undefined,
      notRun: undefined,
      background: false,
      limitSeconds: 90,
    },
  ]);
  expect(fencesOf(PAGE).map(({ language }) => language)).toEqual(["sh", "yaml", "bash"]);
});

test("commands in a comment prepare the block after them", () => {
  const blocks = commandBlocks(`<!-- docs-test: before\nmkdir a\n-->\n\n${fence("sh", "ls a")}`);
  expect(blocks.map(({ line, hidden, script }) => [line, hidden, script])).toEqual([
    [1, true, "mkdir a\n"],
    [5, false, "ls a\n"],
  ]);
});

test("a text block is the output of the commands directly before it, and of no others", () => {
  const shown = (between: string) => commandBlocks(`${fence("sh", "a")}${between}${fence("text", "out")}`)[0]?.shown;
  expect(shown("\n\n")).toBe("out\n");
  expect(shown("\nIt prints:\n")).toBeUndefined();
  expect(commandBlocks(`${fence("sh", "a")}${fence("", "out")}`)[0]?.shown).toBeUndefined();
});

test("a console block holds commands and output", () => {
  expect(commandBlocks(fence("console", "$ echo a\na\n$ true"))[0]).toMatchObject({
    script: "echo a\ntrue\n",
    shown: "a\n",
  });
  expect(() => commandBlocks(fence("console", "echo a"))).toThrow('line 1: a console block begins with "$ "');
});

test.each([
  ["sh needs=docker,root", "needs docker,root"],
  ['sh run=no reason="takes an hour"', "takes an hour"],
])("%s is not run, and says why", (info, notRun) => {
  expect(commandBlocks(fence(info, "a"))[0]).toMatchObject({ notRun });
});

test.each([
  ["sh needs=luck", 'line 1: needs "luck" is none of docker'],
  ["sh run=no", 'line 1: run=no needs reason="…"'],
  ['sh reason="because"', "line 1: a reason without run=no"],
  ["sh limit=forever", 'line 1: "limit=forever" is no tag'],
  ["sh skip", 'line 1: "skip" is no tag'],
])("%s is refused", (info, message) => {
  expect(() => commandBlocks(fence(info, "a"))).toThrow(message);
});

test("a fence that is not closed is named by its line", () => {
  expect(() => fencesOf("text\n```sh\norloj runs\n")).toThrow("line 2: this fence is not closed");
});

test.each([
  ["run_01jd000abc SUCCEEDED  in 12ms", "run_01jxyz999 SUCCEEDED in 3.4s"],
  ["at 2026-03-03T16:00:00.000Z", "at 2027-01-01T00:00:00Z"],
  ["digest 0123abcd99", "digest sha256:ffeeddccbbaa00"],
  ["http://127.0.0.1:7601", "http://127.0.0.1:40123"],
])("%s and %s are the same but for what is another each time", (one, other) => {
  expect(mask(one)).toBe(mask(other));
});

test.each([
  ["a\nb\n", "a\n\nb\n", true],
  ["a\n…\nd\n", "a\nb\nc\nd\n", true],
  ["a … c\n", "a and b and c\n", true],
  ["a\n", "a\nb\n", false],
  ["a\nb\n", "a\n", false],
  ["a\n…\n", "b\n", false],
  ["SUCCEEDED\n", "FAILED\n", false],
  ["a.c\n", "abc\n", false],
])("shown %j, printed %j: fits is %j", (shown, printed, fits) => {
  expect(difference(shown, printed) === undefined).toBe(fits);
});

test("what does not fit is told with the line and with what was printed", () => {
  expect(difference("a\nb\n", "a\nc\n")).toBe('nothing fits the shown line "b"; printed:\na\nc');
});

test("a line is held to the exit code that its comment names, and others are left alone", () => {
  expect(expectCodes("orloj runs   # exits early\n")).toBe("orloj runs   # exits early\n");
  expect(expectCodes("orloj wait   # exit 4: a policy said no\n")).toContain('[ "$docs_code" = 4 ]');
});
