// Plays the server for one task: keeps its journal, decides tool calls by a script, and can stop the task at any fact.
// Used by the tests of the agent loop.

import { canonicalJson, type Json } from "../../kit/json.ts";
import { TaskStopped } from "../../worker/agent/stop.ts";
import type {
  AgentTask,
  JournalEntry,
  TaskPort,
  ToolCallRequest,
  ToolDecision,
  ToolReport,
  Turn,
} from "../../worker/agent/task.ts";
import type { AgentView, ToolView } from "../../worker/agent/view.ts";
import type { ToolExecutors, ToolRun } from "../../worker/tool/executor.ts";

/** Decides a call; the n-th call of that request (from 1) is told apart by `asked`. */
export type Decide = (request: ToolCallRequest, asked: number) => Exclude<ToolDecision, { kind: "granted" }> | "grant";

/** A port that remembers. */
export class RecordingPort implements TaskPort {
  readonly journal: JournalEntry[];
  readonly requests: ToolCallRequest[] = [];
  readonly reports: ToolReport[] = [];
  /** Facts recorded so far, as "turn 1", "result 2". */
  readonly facts: string[] = [];
  /** Secrets that every grant carries. */
  secrets: readonly string[] = [];
  readonly #decide: Decide;
  readonly #asked = new Map<string, number>();
  readonly #granted = new Map<bigint, ToolCallRequest>();
  #callId = 0n;
  #crashAfter = Number.POSITIVE_INFINITY;

  constructor(journal: readonly JournalEntry[] = [], decide: Decide = () => "grant") {
    this.journal = [...journal];
    this.#decide = decide;
  }

  /** After that many facts every later one is never answered; the crash signal aborts. */
  crashAfter(facts: number): void {
    this.#crashAfter = facts;
  }

  async recordTurn(sequence: number, turn: Turn): Promise<void> {
    this.#fact(`turn ${sequence}`);
    this.journal.push({ kind: "turn", sequence, turn });
  }

  async callTool(request: ToolCallRequest): Promise<ToolDecision> {
    this.requests.push(request);
    const key = canonicalJson([request.turnSequence, request.callIndex]);
    const asked = (this.#asked.get(key) ?? 0) + 1;
    this.#asked.set(key, asked);
    const decision = this.#decide(request, asked);
    if (decision !== "grant") {
      this.#journalOf(request, decision);
      return decision;
    }
    this.#callId += 1n;
    this.#granted.set(this.#callId, request);
    const means = {
      kind: "command" as const,
      argv: [request.tool, canonicalJson(request.arguments)],
      env: {},
      workDir: "",
    };
    const grant = {
      callId: this.#callId,
      grantId: `grant${this.#callId}`,
      timeoutMs: 1_000,
      resultBytesMax: 1_000,
      secrets: this.secrets,
      means,
    };
    return { kind: "granted", grant };
  }

  async recordToolResult(report: ToolReport): Promise<void> {
    this.reports.push(report);
    if (report.journalSequence === 0) return;
    this.#fact(`result ${report.journalSequence}`);
    const { turnSequence, callIndex, tool } = this.#granted.get(report.callId) as ToolCallRequest;
    const outcome = report.outcome.ok
      ? report.outcome
      : { ok: false as const, errorClass: report.outcome.failure.class, errorMessage: report.outcome.failure.message };
    this.journal.push({ kind: "result", sequence: report.journalSequence, turnSequence, callIndex, tool, outcome });
  }

  async leaseSound(): Promise<void> {}

  // As the server does: what it answers itself it also journals itself.
  #journalOf(request: ToolCallRequest, decision: Exclude<ToolDecision, { kind: "granted" }>): void {
    const { turnSequence, callIndex, tool } = request;
    const place = { kind: "result" as const, sequence: this.journal.length + 1, turnSequence, callIndex, tool };
    if (decision.kind === "cached") this.journal.push({ ...place, outcome: { ok: true, result: decision.result } });
    if (decision.kind === "invalidArguments") {
      const outcome = { ok: false as const, errorClass: "InvalidArguments", errorMessage: decision.message };
      this.journal.push({ ...place, outcome });
    }
  }

  #fact(name: string): void {
    if (this.facts.length >= this.#crashAfter) throw new TaskStopped("lost");
    this.facts.push(name);
  }
}

/** Executors that run a function; effects are counted by the test. */
export function fakeExecutors(
  run: (tool: string, args: Json, signal: AbortSignal) => ToolRun | Promise<ToolRun>,
): ToolExecutors {
  const none = { run: () => Promise.reject(new Error("only commands here")) };
  return {
    http: none,
    webhook: none,
    database: none,
    mcp: none,
    command: {
      run: async ({ means, signal }) =>
        run(means.argv[0] as string, JSON.parse(means.argv[1] as string) as Json, signal),
    },
  };
}

/** A tool view. */
export function toolView(name: string, changes: Partial<ToolView> = {}): ToolView {
  return {
    name,
    description: `does ${name}`,
    inputSchema: { type: "object" },
    onError: "tell",
    retry: { on: [], maxAttempts: 1, backoff: { initialMs: 1, maxMs: 1, factor: 1, jitter: "none" } },
    ...changes,
  };
}

/** A task of a scripted agent. */
export function agentTask(agent: Partial<AgentView>, changes: Partial<AgentTask> = {}): AgentTask {
  return {
    taskId: "task_1",
    runId: "run_1",
    node: "n",
    attempt: 1,
    input: { question: "why" },
    journal: [],
    withheldTools: [],
    modelSecret: "",
    agentSecrets: [],
    toolCallsSpent: 0,
    ...changes,
    agent: {
      name: "a",
      runtime: "model",
      systemPrompt: "",
      repairAttempts: 0,
      limits: { maxTurns: 8, maxToolCalls: 8, timeoutMs: 60_000, maxOutputBytes: 1_000 },
      tools: [],
      ...agent,
    },
  };
}
