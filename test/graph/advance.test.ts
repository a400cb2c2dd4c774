// How runs advance, case by case; the last test fails while any transition of the tables is unexercised.

import { afterAll, describe, expect, test, vi } from "vitest";
import type { FailureValue, TaskEnd } from "../../server/graph/types.ts";
import { NODE_TRANSITIONS, RUN_TRANSITIONS, type RunCause } from "../../server/queue/states.ts";
import { Driven, type GraphSketch } from "./graph_fixture.ts";

const seen = vi.hoisted(() => new Map<object, Set<string>>());
vi.mock("../../server/queue/states.ts", async (original) => {
  const actual = await original<typeof import("../../server/queue/states.ts")>();
  const nextState: typeof actual.nextState = (table, state, event) => {
    const next = actual.nextState(table, state, event);
    seen.set(table, (seen.get(table) ?? new Set()).add(`${state}.${event}`));
    return next;
  };
  return { ...actual, nextState };
});

const FAILURE: FailureValue = { class: "ModelUnavailable", message: "no answer" };
const SEQUENCE: GraphSketch = {
  nodes: { a: { q: "${{ input.q }}" }, b: { text: "${{ nodes.a.output.text }}!" } },
  edges: ["a -> b"],
  output: { answer: "${{ nodes.b.output }}" },
};
const BRANCHES: GraphSketch = {
  nodes: {
    triage: null,
    billing: null,
    tech: null,
    join: {
      billing: "${{ has(nodes.billing.output) ? nodes.billing.output : 'none' }}",
      tech: "${{ has(nodes.tech.output) ? nodes.tech.output : 'none' }}",
    },
  },
  edges: [
    'triage -> billing: output.route == "billing" || output.route == "both"',
    'triage -> tech: output.route == "tech" || output.route == "both"',
    "billing -> join",
    "tech -> join",
  ],
  output: "${{ nodes.join.output }}",
};
const OTHERWISE: GraphSketch = {
  nodes: { a: null, b: null, c: null, d: null },
  edges: ["a -> b: output.n > 1", "a -> c otherwise", "a -> d"],
};
const PARALLEL: GraphSketch = { nodes: { a: null, b: null, c: null }, edges: ["a -> c", "b -> c"] };

describe("sequence", () => {
  test("each node gets its input from what came before, and the output is evaluated at the end", () => {
    const run = new Driven(SEQUENCE, { q: "why" }).start();
    expect(run.made).toEqual([{ node: "a", iteration: 0, item: -1, agent: "agent_a", input: { q: "why" } }]);
    expect(run.nodeStates()).toEqual({ a: "ACTIVE", b: "PENDING" });
    run.succeed("a", { text: "so" });
    expect(run.inputOf("b")).toEqual({ text: "so!" });
    run.succeed("b", { z: 1 });
    expect(run.state.run).toBe("SUCCEEDED");
    expect(run.output).toEqual({ answer: { z: 1 } });
    expect(run.nodeStates()).toEqual({ a: "SUCCEEDED", b: "SUCCEEDED" });
  });

  test("changed rows are only those that changed, in plan order", () => {
    const run = new Driven(SEQUENCE, { q: "why" }).start().succeed("a", { text: "" });
    expect(run.last?.changed.map((row) => row.node)).toEqual(["a", "b"]);
    run.succeed("b");
    expect(run.last?.changed.map((row) => [row.node, row.state, row.openTasks])).toEqual([["b", "SUCCEEDED", 0]]);
  });

  test("a node without input gets the system's input, with the defaults of its agent's schema", () => {
    const properties = { q: { type: "string" }, depth: { type: "integer", default: 2 } };
    const run = new Driven(
      { nodes: { a: null }, agents: { a: { inputSchema: { type: "object", properties } } } },
      { q: "x" },
    );
    expect(run.start().inputOf("a")).toEqual({ q: "x", depth: 2 });
  });

  test("iteration is bound at index 0 of 0 without last", () => {
    const input = { i: "${{ iteration.index }}", m: "${{ iteration.max }}", l: "${{ has(iteration.last) }}" };
    expect(new Driven({ nodes: { a: input } }).start().inputOf("a")).toEqual({ i: 0, m: 0, l: false });
  });
});

describe("branches and joins", () => {
  test.each<[string, string[], unknown]>([
    ["billing", ["billing"], { billing: "B", tech: "none" }],
    ["tech", ["tech"], { billing: "none", tech: "T" }],
    ["both", ["billing", "tech"], { billing: "B", tech: "T" }],
  ])("route %s takes all edges whose condition holds and skips the others", (route, taken, input) => {
    const run = new Driven(BRANCHES).start().succeed("triage", { route });
    expect([...run.open].sort()).toEqual(taken);
    for (const node of taken) run.succeed(node, node === "billing" ? "B" : "T");
    expect(run.inputOf("join")).toEqual(input);
    run.succeed("join", "J");
    expect([run.state.run, run.output]).toEqual(["SUCCEEDED", "J"]);
  });

  test("a join waits for all its edges", () => {
    const run = new Driven(PARALLEL).start().succeed("b");
    expect(run.nodeStates()["c"]).toBe("PENDING");
    expect(run.succeed("a").nodeStates()["c"]).toBe("ACTIVE");
  });

  test.each<[number, string[]]>([
    [2, ["b", "d"]],
    [1, ["c", "d"]],
  ])("otherwise is taken only if no condition holds, an edge without one always: n = %d", (n, open) => {
    expect([...new Driven(OTHERWISE).start().succeed("a", { n }).open].sort()).toEqual(open);
  });

  test("skipping spreads until a node with a taken edge", () => {
    const run = new Driven({
      nodes: { a: null, b: null, c: null, d: null, e: null },
      edges: ["a -> b: output.go", "b -> c", "c -> d", "a -> e otherwise", "e -> d"],
    });
    run.start().succeed("a", { go: false });
    expect(run.nodeStates()).toEqual({ a: "SUCCEEDED", b: "SKIPPED", c: "SKIPPED", d: "PENDING", e: "ACTIVE" });
    expect(run.succeed("e").nodeStates()["d"]).toBe("ACTIVE");
  });

  test("a run whose last node is skipped succeeds", () => {
    const run = new Driven({ nodes: { a: null, b: null, c: null }, edges: ["a -> b: false", "a -> c"] });
    expect(run.start().succeed("a").succeed("c").state.run).toBe("SUCCEEDED");
  });

  test("null is an output like any other", () => {
    const run = new Driven({
      nodes: { a: null },
      output: { got: "${{ has(nodes.a.output) || nodes.a.output == null }}" },
    });
    expect(run.start().succeed("a", null).output).toEqual({ got: true });
  });

  test("a property that the schema calls a number is one, whatever its value", () => {
    const outputSchema = { type: "object", properties: { score: { type: "number" } } };
    const sketch = {
      nodes: { a: null, b: null },
      edges: ["a -> b: output.score * 2.0 > 3.0"],
      agents: { a: { outputSchema } },
    };
    expect(new Driven(sketch).start().succeed("a", { score: 2 }).nodeStates()["b"]).toBe("ACTIVE");
  });
});

describe("failures", () => {
  const cases: [string, GraphSketch, (run: Driven) => Driven, string, RegExp, Record<string, string>][] = [
    [
      "NoRoute",
      BRANCHES,
      (run) => run.succeed("triage", { route: "biling" }),
      "NoRoute",
      /^node triage: no condition/,
      { triage: "FAILED", billing: "CANCELLED", tech: "CANCELLED", join: "CANCELLED" },
    ],
    [
      "ConditionError",
      BRANCHES,
      (run) => run.succeed("triage", {}),
      "ConditionError",
      /^node triage: when of the edge triage → billing: .*route/,
      { triage: "FAILED", billing: "CANCELLED", tech: "CANCELLED", join: "CANCELLED" },
    ],
    [
      "InputInvalid by template",
      SEQUENCE,
      (run) => run.succeed("a", {}),
      "InputInvalid",
      /^node b: text: .*nodes\.a\.output\.text/,
      { a: "SUCCEEDED", b: "FAILED" },
    ],
    [
      "InputInvalid by schema",
      {
        ...SEQUENCE,
        agents: { b: { inputSchema: { type: "object", properties: { text: { maxLength: 2, type: "string" } } } } },
      },
      (run) => run.succeed("a", { text: "long" }),
      "InputInvalid",
      /^node b: text: must NOT have more than 2 characters/,
      { a: "SUCCEEDED", b: "FAILED" },
    ],
    [
      "failed task",
      SEQUENCE,
      (run) => run.fail("a"),
      "ModelUnavailable",
      /^node a: no answer$/,
      { a: "FAILED", b: "CANCELLED" },
    ],
    [
      "OutputInvalid by template",
      { nodes: { a: null }, output: "${{ nodes.a.output.x }}" },
      (run) => run.succeed("a", {}),
      "OutputInvalid",
      /^output of the system: .*nodes\.a\.output\.x/,
      { a: "SUCCEEDED" },
    ],
    [
      "OutputInvalid by the workflow's schema",
      { nodes: { a: null }, output: "${{ nodes.a.output }}", workflowOutputSchema: { type: "string" } },
      (run) => run.succeed("a", 1),
      "OutputInvalid",
      /^output of the system: must be string$/,
      { a: "SUCCEEDED" },
    ],
  ];
  test.each(cases)(
    "%s without a live task ends the run at once",
    (_name, sketch, drive, failureClass, message, nodes) => {
      const run = drive(new Driven(sketch, { q: "why" }).start());
      expect([run.state.run, run.state.cause]).toEqual(["FAILED", "failed"]);
      expect(run.state.failure).toEqual({ class: failureClass, message: expect.stringMatching(message) });
      expect(run.nodeStates()).toEqual(nodes);
      expect(run.last).toMatchObject({ tasks: [], stopLiveTasks: false });
      expect(run.output).toBeUndefined();
    },
  );

  test("an entry whose input is invalid ends the run, and no task of its siblings is ever made", () => {
    const run = new Driven({ nodes: { a: null, b: "${{ input.missing }}", c: null } }).start();
    expect(run.nodeStates()).toEqual({ a: "CANCELLED", b: "FAILED", c: "CANCELLED" });
    expect([run.state.run, run.made, run.last?.stopLiveTasks]).toEqual(["FAILED", [], false]);
  });

  test("a failure beside live tasks stops them, and the run ends when the last of them has", () => {
    const run = new Driven(PARALLEL).start().fail("a");
    expect([run.state.run, run.last?.stopLiveTasks]).toEqual(["CANCELLING", true]);
    expect(run.nodeStates()).toEqual({ a: "FAILED", b: "ACTIVE", c: "CANCELLED" });
    run.end("b", { type: "cancelled" });
    expect([run.state.run, run.last?.stopLiveTasks]).toEqual(["FAILED", false]);
    expect(run.nodeStates()["b"]).toBe("CANCELLED");
  });

  test("NoRoute shows as a condition while the run stops", () => {
    const sketch = { nodes: { a: null, b: null, x: null }, edges: ["a -> b: output.go"] };
    const run = new Driven(sketch).start().succeed("a", { go: false });
    expect([run.state.run, run.last?.conditions]).toEqual(["CANCELLING", ["NoRoute"]]);
    expect(run.succeed("x").last?.conditions).toEqual([]);
  });

  test.each<[TaskEnd, string, boolean]>([
    [{ type: "succeeded", output: 1 }, "SUCCEEDED", false],
    [{ type: "failed", failure: FAILURE }, "FAILED", true],
    [{ type: "denied", failure: FAILURE }, "DENIED", true],
    [{ type: "parked", failure: FAILURE }, "CANCELLED", true],
    [{ type: "cancelled" }, "CANCELLED", false],
  ])("a late outcome %j is recorded as %s and changes neither cause nor successors", (end, state, hasFailure) => {
    const run = new Driven(PARALLEL).start().fail("a").end("b", end);
    expect(run.nodeStates()).toMatchObject({ b: state, c: "CANCELLED" });
    expect(run.state.nodes.get("b")?.failure !== undefined).toBe(hasFailure);
    expect([run.state.run, run.state.cause, run.state.failure?.message]).toEqual([
      "FAILED",
      "failed",
      "node a: no answer",
    ]);
  });
});

describe("denied, parked, stopped", () => {
  test("a denied task ends the run POLICY_DENIED", () => {
    const run = new Driven(SEQUENCE, { q: "" })
      .start()
      .end("a", { type: "denied", failure: { class: "PolicyDenied", message: "no" } });
    expect([run.state.run, run.state.failure]).toEqual([
      "POLICY_DENIED",
      { class: "PolicyDenied", message: "node a: no" },
    ]);
    expect(run.nodeStates()).toEqual({ a: "DENIED", b: "CANCELLED" });
  });

  test("a parked node keeps the run RUNNING and shown as Parked while its siblings go on", () => {
    const run = new Driven(PARALLEL).start().end("a", { type: "parked", failure: FAILURE });
    expect([run.state.run, run.last?.conditions]).toEqual(["RUNNING", ["Parked"]]);
    run.succeed("b");
    expect([run.state.run, run.last?.conditions, run.nodeStates()["c"]]).toEqual(["RUNNING", ["Parked"], "PENDING"]);
    run.apply({ type: "stopped", cause: "cancelled", failure: { class: "Cancelled", message: "by ann" } });
    expect([run.state.run, run.nodeStates()["a"], run.last?.conditions]).toEqual(["CANCELLED", "CANCELLED", []]);
  });

  test("a parked node that is replayed goes on: its run is Parked no more, and ends by what the new task does", () => {
    const run = new Driven(PARALLEL).start().end("a", { type: "parked", failure: FAILURE });
    run.apply({ type: "replayed", node: "a", iteration: 0 });
    expect([run.nodeStates()["a"], run.last?.conditions, run.last?.tasks]).toEqual(["ACTIVE", [], []]);
    run.apply({ type: "replayed", node: "a", iteration: 0 });
    expect(run.last?.changed).toEqual([]);
    run.end("a", { type: "parked", failure: FAILURE }).apply({ type: "replayed", node: "a", iteration: 0 });
    run.succeed("a").succeed("b").succeed("c");
    expect(run.state.run).toBe("SUCCEEDED");
  });

  test("a parked node that is given up fails, and its run with the failure that parked it", () => {
    const run = new Driven(PARALLEL).start().end("a", { type: "parked", failure: FAILURE });
    run.apply({ type: "discarded", node: "a", iteration: 0, failure: FAILURE });
    expect([run.nodeStates()["a"], run.state.run, run.last?.stopLiveTasks]).toEqual(["FAILED", "CANCELLING", true]);
    run.end("b", { type: "cancelled" });
    expect([run.state.run, run.state.failure]).toEqual([
      "FAILED",
      { ...FAILURE, message: `node a: ${FAILURE.message}` },
    ]);
  });

  test.each<[RunCause, string]>([
    ["cancelled", "CANCELLED"],
    ["timed_out", "TIMED_OUT"],
    ["failed", "FAILED"],
    ["policy_denied", "POLICY_DENIED"],
  ])("the first cause %s decides the end state", (cause, state) => {
    const run = new Driven(PARALLEL).start().apply({ type: "stopped", cause, failure: FAILURE });
    expect([run.state.run, run.last?.stopLiveTasks]).toEqual(["CANCELLING", true]);
    run.apply({
      type: "stopped",
      cause: cause === "failed" ? "cancelled" : "failed",
      failure: { class: "Other", message: "" },
    });
    expect(run.last).toMatchObject({ changed: [], stopLiveTasks: false });
    run.succeed("a").end("b", { type: "cancelled" });
    expect([run.state.run, run.state.cause, run.state.failure]).toEqual([state, cause, FAILURE]);
    expect(run.open.size).toBe(0);
  });

  test("a run that is stopped before it started ends without a task", () => {
    const run = new Driven(SEQUENCE).apply({ type: "stopped", cause: "cancelled", failure: FAILURE });
    expect([run.state.run, run.made]).toEqual(["CANCELLED", []]);
    expect(run.start().state.run).toBe("CANCELLED");
  });

  test("a task cancelled on its own stops its run", () => {
    const run = new Driven(SEQUENCE, { q: "" }).start().end("a", { type: "cancelled" });
    expect([run.state.run, run.nodeStates()]).toEqual(["CANCELLED", { a: "CANCELLED", b: "CANCELLED" }]);
  });
});

describe("events that come too late", () => {
  const finished = () => new Driven(SEQUENCE, { q: "" }).start().succeed("a", { text: "" }).succeed("b");
  test.each<[string, () => Driven, (run: Driven) => Driven]>([
    ["a task end in an ended run", finished, (run) => run.fail("b")],
    ["a stop of an ended run", finished, (run) => run.apply({ type: "stopped", cause: "failed", failure: FAILURE })],
    ["a second start", finished, (run) => run.start()],
    [
      "a second end of a task",
      () => new Driven(SEQUENCE, { q: "" }).start().succeed("a", { text: "" }),
      (run) => run.fail("a"),
    ],
    ["an end of a node that is not ACTIVE", () => new Driven(SEQUENCE, { q: "" }).start(), (run) => run.succeed("b")],
    ["an end of an unknown node", () => new Driven(SEQUENCE, { q: "" }).start(), (run) => run.succeed("zzz")],
    [
      "an end of another iteration",
      () => new Driven(SEQUENCE, { q: "" }).start(),
      (run) => run.apply({ type: "task_ended", node: "a", iteration: 1, end: { type: "cancelled" } }),
    ],
  ])("%s changes nothing", (_name, prepare, late) => {
    const run = prepare();
    const before = run.state;
    late(run);
    expect(run.state).toEqual(before);
    expect(run.last).toMatchObject({ changed: [], tasks: [], stopLiveTasks: false });
  });
});

afterAll(() => {
  const tables = [RUN_TRANSITIONS, NODE_TRANSITIONS];
  for (const table of tables) {
    const rows = Object.entries(table).flatMap(([state, events]) =>
      Object.keys(events).map((event) => `${state}.${event}`),
    );
    expect([...(seen.get(table) ?? [])].sort(), "every transition is exercised").toEqual(rows.sort());
  }
});
