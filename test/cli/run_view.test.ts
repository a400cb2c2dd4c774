// The renderers of a run, as pure functions: drawing, list, lines, live area, safety of text.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { describeRecord } from "../../cli/audit_text.ts";
import { duration, table } from "../../cli/format.ts";
import { drawGraph } from "../../cli/graph_drawing.ts";
import { LiveArea } from "../../cli/live.ts";
import { mergeSnapshot, renderRun, transitionLines } from "../../cli/run_view.ts";
import { columnsOf, cutTo, safeJson, safeLine, safeText } from "../../cli/sanitize.ts";
import { palette } from "../../cli/style.ts";
import { watchRun } from "../../cli/watch_run.ts";
import { systemClock } from "../../kit/clock.ts";
import { AuditRecordSchema } from "../../proto/gen/orloj/v1/common_pb.ts";
import { NodeState, TaskSchema, TaskState } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { runOf, succeeded } from "../sdk/scripted_server.ts";

const plain = palette(false);
const START_MS = 1_700_000_000_000;
const OPTIONS = { columns: 100, rows: 40, nowMs: START_MS + 1_500, paint: plain };

const nodesOf = (names: string) =>
  names.split(" ").map((name) => ({ name, label: name, tone: "plain" as const, kind: "agent" as const }));
const edgesOf = (text: string) =>
  text.split(" ").map((edge) => {
    const [from = "", to = ""] = edge.split(">");
    return { from, to };
  });
const draw = (names: string, edges: string, columns = 100, rows = 60) =>
  drawGraph(nodesOf(names), edgesOf(edges), { columns, rows }, plain);
const taskOf = (fields: MessageInitShape<typeof TaskSchema>) => create(TaskSchema, { item: -1, attempt: 1, ...fields });

test("a diamond is drawn with its branches side by side", () => {
  expect(draw("a b c d", "a>b a>c b>d c>d")).toEqual([
    "    ╭───╮",
    "    │ a │",
    "    ╰───╯",
    "  ╭───┴───╮",
    "  ▼       ▼",
    "╭───╮   ╭───╮",
    "│ b │   │ c │",
    "╰───╯   ╰───╯",
    "  ╰───┬───╯",
    "      ▼",
    "    ╭───╮",
    "    │ d │",
    "    ╰───╯",
  ]);
});

test("an edge over a layer passes beside the boxes of that layer", () => {
  const lines = draw("a b c", "a>b b>c a>c") ?? [];
  const middle = lines.find((line) => line.includes("│ b │"));
  expect(middle).toMatch(/│ b │ +│$/);
  expect(lines.filter((line) => line.includes("▼"))).toHaveLength(2);
});

test("loops do not hang the layout and leave the order of the layers as it was", () => {
  expect(draw("a b c", "a>b b>c c>a b>b")).toEqual(draw("a b c", "a>b b>c"));
});

test("boxes shrink to one row when rows are short, and the drawing is refused when it does not fit at all", () => {
  expect(draw("a b", "a>b", 100, 4)).toEqual(["[ a ]", "  ▼", "[ b ]"]);
  expect(draw("a b", "a>b", 100, 2)).toBeUndefined();
  expect(draw("a b c d e f", "a>b a>c a>d a>e a>f", 20)).toBeUndefined();
});

test("every node of a random graph is drawn exactly once, within the columns promised", () => {
  let state = 7;
  const next = (below: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state % below;
  };
  for (let round = 0; round < 100; round += 1) {
    const count = 1 + next(12);
    const names = Array.from({ length: count }, (_, index) => `n${String(index).padStart(2, "0")}`);
    const edges = Array.from({ length: next(20) }, () => ({
      from: names[next(count)] as string,
      to: names[next(count)] as string,
    }));
    const lines = drawGraph(nodesOf(names.join(" ")), edges, { columns: 400, rows: 400 }, plain) ?? [];
    const text = lines.join("\n");
    for (const name of names) expect(text.split(name)).toHaveLength(2);
  }
});

test("the view shows state, durations, tries and decisions, and a list when the terminal is narrow", () => {
  const run = runOf("run_1", { conditions: ["Parked"], tags: { "customer-id": "123" } });
  const tasks = [
    taskOf({ id: "t1", node: "triage", state: TaskState.LEASED, attempt: 2, createTime: timestampFromMs(START_MS) }),
  ];
  const event = create(AuditRecordSchema, {
    id: 1n,
    kind: "decision",
    taskId: "t1",
    recordJson:
      '{"detail":{"allowed":false,"reason":"forbidden","checkpoint":"tool.call","tool":"deploy","verdicts":[]}}',
  });
  const view = mergeSnapshot(undefined, { run, tasks, events: [event] });
  const text = renderRun(view, OPTIONS).join("\n");
  expect(text).toContain("support/refund-flow  run_1  ● RUNNING  1.5s  Parked");
  expect(text).toContain("requester dev · tags customer-id=123");
  expect(text).toContain("│ ● triage  active 1.5s try 2 │");
  expect(text).toContain("│ ○ reply  pending │");
  expect(text).toMatch(/triage +decision +DENIED forbidden at tool.call +tool=deploy/);
  const narrow = renderRun(view, { ...OPTIONS, columns: 24 }).join("\n");
  expect(narrow).not.toContain("╭");
  expect(narrow).toContain("○ reply  pending");
});

test("edges of the first snapshot stay when later ones have none", () => {
  const first = mergeSnapshot(undefined, { run: runOf("run_1"), tasks: [], events: [] });
  const second = mergeSnapshot(first, { run: runOf("run_1", { edges: [] }), tasks: [], events: [] });
  expect(second.run.edges).toHaveLength(1);
});

test("colours are only added when asked for, and never change the text", () => {
  const view = mergeSnapshot(undefined, { run: succeeded("run_1"), tasks: [], events: [] });
  const coloured = renderRun(view, { ...OPTIONS, paint: palette(true) });
  expect(coloured.join("")).toContain("\u001b[32m");
  const stripped = coloured.map((line) => line.replace(/\u001b\[[0-9;]*m/g, ""));
  expect(stripped).toEqual(renderRun(view, OPTIONS));
});

test("control characters from the server never reach the terminal", () => {
  const evil = "a\u001b[2J\u009b\u202eb\u0000\r\nc\u007f";
  const run = runOf("run_1", {
    workflow: evil,
    conditions: [evil],
    tags: { [evil]: evil },
    nodes: [{ name: evil, state: NodeState.FAILED }],
    failure: { class: evil, message: evil },
  });
  const events = [
    create(AuditRecordSchema, { kind: `tool.${evil}`, recordJson: JSON.stringify({ detail: { [evil]: evil } }) }),
  ];
  const text = renderRun(mergeSnapshot(undefined, { run, tasks: [], events }), OPTIONS).join("");
  expect(text).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
});

test("sanitising makes unsafe characters visible and keeps JSON the same value", () => {
  expect(safeLine("a\tb\nc\u001bd\u202e\ud800")).toBe("a b c\\x1bd\\u202e\ufffd");
  expect(safeText("a\r\nb\u0007")).toBe("a\nb\\x07");
  const value = { text: "\u009b\u202e\u007fä" };
  expect(safeJson(JSON.stringify(value))).not.toMatch(/[\u007f-\u009f\u202e]/);
  expect(JSON.parse(safeJson(JSON.stringify(value)))).toEqual(value);
  expect([columnsOf("漢字a"), cutTo("漢字abc", 5), cutTo("abc", 3)]).toEqual([5, "漢字…", "abc"]);
});

test("tables align columns and cut what is too long", () => {
  expect(
    table(
      ["A", "B"],
      [
        ["x", "y".repeat(20)],
        ["long one", { state: "FAILED" }],
      ],
      plain,
      10,
    ),
  ).toEqual(["A         B", "x         yyyyyyyyy…", "long one  FAILED"]);
});

test("durations read as people say them", () => {
  expect([5, 1_540, 65_000, 3_660_000, 90_000_000].map(duration)).toEqual(["5ms", "1.5s", "1m05s", "1h01m", "1d1h"]);
});

test("a record whose JSON is broken still has its kind and subject", () => {
  const text = describeRecord(create(AuditRecordSchema, { kind: "x", taskId: "t1", recordJson: "{" }), new Map());
  expect(text).toMatchObject({ kind: "x", subject: "t1", detail: "" });
});

test("the live area goes back exactly over its last drawing and never exceeds the rows", () => {
  const writes: string[] = [];
  const area = new LiveArea({ write: (text) => writes.push(text), size: () => ({ columns: 80, rows: 4 }) });
  area.draw(["1", "2"]);
  area.draw(["1", "2"]);
  area.draw(["1", "2", "3", "4", "5"]);
  area.finish(["end"]);
  const row = "\u001b[2K\n";
  expect(writes).toEqual([
    "\u001b[?7l1\n2\u001b[?7h\n",
    `\u001b[2A\r${row}${row}\u001b[2A\u001b[?7l⋮\n4\n5\u001b[?7h\n`,
    `\u001b[3A\r${row}${row}${row}\u001b[3Aend\n`,
  ]);
});

test("watching in place leaves the last drawing when the snapshots fail", async () => {
  const writes: string[] = [];
  async function* snapshots() {
    yield { run: runOf("run_1"), tasks: [], events: [] };
    throw new Error("lost");
  }
  const screen = { write: (text: string) => void writes.push(text), size: () => ({ columns: 80, rows: 40 }) };
  const watching = watchRun(snapshots(), { clock: systemClock(), paint: plain, screen, print: () => {} });
  await expect(watching).rejects.toThrow("lost");
  expect(writes).toHaveLength(2);
  expect(writes[1]).toContain("│ ● triage  active │");
});

test("a run that gets a condition says so in a line, once", () => {
  const before = { run: runOf("run_1"), tasks: [], events: [] };
  const parked = { ...before, run: { ...runOf("run_1"), conditions: ["Parked"] } };
  const told = (lines: string[]) => lines.filter((line) => line.includes("Parked"));
  expect(told(transitionLines(before, parked, 0))).toHaveLength(1);
  expect(told(transitionLines(parked, parked, 0))).toEqual([]);
});
