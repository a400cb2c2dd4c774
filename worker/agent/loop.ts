// Runs one task of an agent with a model: does what next_action.ts says until the agent is finished, recording each fact before the next step.
// Called through runtimes.ts with a task, a port for its facts and a signal that stops it.
// Order per turn: the model answers → the turn is recorded → each tool call is decided, run, recorded → the next turn.
// A task with a journal continues after its last entry: recorded turns are not asked again, recorded results not called again.

import type { Clock } from "../../kit/clock.ts";
import { canonicalJson, isJsonObject, type Json, type JsonObject } from "../../kit/json.ts";
import type { Random } from "../../kit/random.ts";
import type { Redactor } from "../../kit/redactor.ts";
import { compileStringTemplate } from "../../language/template.ts";
import { ModelError, type ModelMessage, type ModelRequest } from "../model/adapter.ts";
import type { ModelAdapters } from "../model/registry.ts";
import type { ToolExecutors } from "../tool/executor.ts";
import { nextAction } from "./next_action.ts";
import { observe } from "./observer.ts";
import { outputOf } from "./output.ts";
import { repairRequest, repairTurn } from "./repair.ts";
import { orStopped } from "./stop.ts";
import type { AgentTask, JournalEntry, RecordedResult, TaskEnd, TaskPort, Turn } from "./task.ts";
import { driveToolCall } from "./tool_call.ts";
import type { AgentView } from "./view.ts";
import { PromptError, withinTime } from "./within_time.ts";

/** What running tasks needs. */
export interface LoopDependencies {
  readonly models: ModelAdapters;
  readonly executors: ToolExecutors;
  readonly clock: Clock;
  readonly random: Random;
  /** Learns the secrets of this process's tasks; what models and tools say passes through it before anything is done with it. */
  readonly redactor: Redactor;
}

/** Runs a task to its end; never rejects. */
export async function runTask(
  task: AgentTask,
  port: TaskPort,
  signal: AbortSignal,
  dependencies: LoopDependencies,
): Promise<TaskEnd> {
  for (const secret of [task.modelSecret, ...task.agentSecrets]) dependencies.redactor.learn(secret);
  return await withinTime(task, signal, dependencies, (both) => advance(task, port, both, dependencies));
}

async function advance(
  task: AgentTask,
  port: TaskPort,
  signal: AbortSignal,
  dependencies: LoopDependencies,
): Promise<TaskEnd> {
  const journal: JournalEntry[] = [...task.journal];
  const callsLost = Math.max(0, task.toolCallsSpent - journal.filter((entry) => entry.kind === "result").length);
  for (;;) {
    signal.throwIfAborted();
    const action = nextAction(journal, task.agent.limits, callsLost);
    if (action.kind === "fail")
      return { kind: "failed", class: action.class, message: action.message, retryable: false };
    const refused = refusedArguments(task.agent, journal);
    if (refused !== undefined) return { kind: "failed", class: "ToolFailed", message: refused, retryable: false };
    const answered = action.kind === "finish" ? outputOf(task.agent, action.text) : undefined;
    const ask = action.kind === "ask" ? action : answered && repairTurn(task.agent, journal, answered);
    if (ask !== undefined) {
      await port.leaseSound(signal);
      const turn = await askModel(task, journal, ask.turn, signal, dependencies);
      await orStopped(port.recordTurn(ask.sequence, turn), signal);
      journal.push({ kind: "turn", sequence: ask.sequence, turn });
      continue;
    }
    if (action.kind !== "call") return answered as TaskEnd;
    const tool = task.agent.tools.find((candidate) => candidate.name === action.call.name);
    const end = await driveToolCall({ ...action, tool }, { ...dependencies, port, signal, observer: task.observer });
    if (end.kind === "dropped") return { kind: "dropped" };
    if (end.kind === "failed") {
      const wait = end.retryAfterMs === undefined ? {} : { retryAfterMs: end.retryAfterMs };
      return { kind: "failed", class: "ToolFailed", message: end.message, retryable: true, ...wait };
    }
    const { sequence, turnSequence, callIndex, call } = action;
    journal.push({ kind: "result", sequence, turnSequence, callIndex, tool: call.name, outcome: end.outcome });
  }
}

// Read from the journal, so that a task that is resumed after the refusal ends like one that was not interrupted.
function refusedArguments(agent: AgentView, journal: readonly JournalEntry[]): string | undefined {
  const last = journal.at(-1);
  if (last?.kind !== "result" || last.outcome.ok || last.outcome.errorClass !== "InvalidArguments") return undefined;
  const { onInvalid } = agent.tools.find((tool) => tool.name === last.tool) ?? {};
  return onInvalid && `tool ${last.tool} failed with InvalidArguments: ${last.outcome.errorMessage}`;
}

async function askModel(
  task: AgentTask,
  journal: readonly JournalEntry[],
  turn: number,
  signal: AbortSignal,
  dependencies: LoopDependencies,
): Promise<Turn> {
  const { agent } = task;
  const adapter = agent.model === undefined ? undefined : dependencies.models[agent.model.provider];
  if (agent.model === undefined || adapter === undefined) {
    throw new ModelError("ModelAuth", `this worker has no adapter for the model of agent ${agent.name}`);
  }
  const { model } = agent;
  const activity = { of: "model", provider: model.provider, model: model.name, turn } as const;
  return await observe(
    task.observer,
    activity,
    async () => {
      const asked = adapter.ask(questionOf(task, model, journal, turn, signal));
      return withoutSecrets(await orStopped(asked, signal), dependencies.redactor);
    },
    ({ toolCalls, usage }) => ({ facts: { toolCalls: toolCalls.length, ...usage } }),
  );
}

function questionOf(
  task: AgentTask,
  model: NonNullable<AgentView["model"]>,
  journal: readonly JournalEntry[],
  turn: number,
  signal: AbortSignal,
): ModelRequest {
  const { agent } = task;
  return {
    model,
    secret: task.modelSecret,
    headers: task.agentMeans?.kind === "model" ? task.agentMeans.headers : {},
    systemPrompt: agent.systemPrompt,
    messages: conversation(agent, promptOf(task), journal),
    tools: agent.tools.filter((tool) => !task.withheldTools.includes(tool.name)),
    ...(agent.outputSchema === undefined ? {} : { outputSchema: agent.outputSchema }),
    turn,
    input: task.input,
    results: lastResults(journal),
    signal,
  };
}

// A provider may echo its key, and a model may be told a secret by somebody else.
function withoutSecrets(turn: Turn, redactor: Redactor): Turn {
  return {
    ...turn,
    text: redactor.text(turn.text),
    toolCalls: turn.toolCalls.map(({ name, arguments: args }) => {
      const clean = redactor.json(args);
      return { name: redactor.text(name), arguments: isJsonObject(clean) ? clean : args };
    }),
  };
}

/** Renders the agent's prompt over {input}; without one, the input as canonical JSON. */
export function promptOf(task: Pick<AgentTask, "agent" | "input">): string {
  const { prompt } = task.agent;
  if (prompt === undefined) return canonicalJson(task.input);
  const compiled = compileStringTemplate(prompt, { variables: ["input"] });
  const text = compiled.ok
    ? compiled.value.evaluateString({ input: task.input })
    : { ok: false as const, error: compiled.errors[0]?.message ?? "it does not compile" };
  if (!text.ok) throw new PromptError(`the prompt of agent ${task.agent.name} cannot be rendered: ${text.error}`);
  return text.value;
}

/** The conversation that a journal tells, beginning with the prompt. An answer in it was not accepted: the model is told why. */
export function conversation(agent: AgentView, prompt: string, journal: readonly JournalEntry[]): ModelMessage[] {
  const messages: ModelMessage[] = [{ role: "user", text: prompt }];
  for (const entry of journal) {
    if (entry.kind === "turn") {
      const { text, toolCalls } = entry.turn;
      messages.push({ role: "assistant", text, toolCalls, turn: entry.sequence });
      if (toolCalls.length === 0) messages.push({ role: "user", text: repairRequest(agent, text) });
    } else {
      messages.push({
        role: "tool",
        turn: entry.turnSequence,
        callIndex: entry.callIndex,
        name: entry.tool,
        text: canonicalJson(toldResult(entry.outcome)),
      });
    }
  }
  return messages;
}

function lastResults(journal: readonly JournalEntry[]): JsonObject {
  const results: JsonObject = {};
  for (const entry of journal) if (entry.kind === "result") results[entry.tool] = toldResult(entry.outcome);
  return results;
}

function toldResult(outcome: RecordedResult): Json {
  if (outcome.ok) return outcome.result;
  return { error: { class: outcome.errorClass, message: outcome.errorMessage } };
}
