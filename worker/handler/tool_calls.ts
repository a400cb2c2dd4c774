// The tool calls of handler code: answered from the record, or recorded and made, by the same driver as those of models.
// Behind `ctx.tools`; made by run_handler.ts for each task. Calls made in the same turn of the event loop are recorded as one turn, without a
// text, before any of them is decided: the server decides only what the journal asks for.
// Never runs anything itself: agent/tool_call.ts does.

import { canonicalJson, isJsonObject, type Json, type JsonObject } from "../../kit/json.ts";
import { KIB } from "../../kit/units.ts";
import type { AgentTask, RecordedResult, RequestedCall } from "../agent/task.ts";
import { driveToolCall, type ToolCallContext } from "../agent/tool_call.ts";
import type { ToolView } from "../agent/view.ts";
import { ToolError } from "./errors.ts";
import type { JournalWriter } from "./journal_writer.ts";
import { plainJson } from "./plain_json.ts";
import type { Recall } from "./recall.ts";
import type { Scope } from "./scope.ts";

/** Bytes of arguments in one turn; further calls take another one, so that a turn fits into a frame. */
const TURN_BYTES_MAX = 128 * KIB;
/** A result takes a place in the journal; which one, the journal's writer says. */
const TAKES_A_PLACE = 1;

/** What the calls of one task need. */
export interface ToolCallsOptions {
  readonly task: AgentTask;
  readonly scope: Scope;
  readonly recall: Recall;
  readonly writer: JournalWriter;
  /** For the driver: its port is the writer, its signal the task's own, so that a call in flight ends when only the code has to. */
  readonly driving: ToolCallContext;
}

/** Where a call stands in the journal. */
interface Place {
  readonly turnSequence: number;
  readonly callIndex: number;
}

interface Waiting extends Pick<PromiseWithResolvers<Place>, "resolve" | "reject"> {
  readonly call: RequestedCall;
}

/** See the file header. */
export class ToolCalls {
  readonly #options: ToolCallsOptions;
  #spent: number;
  #group: Waiting[] = [];

  constructor(options: ToolCallsOptions) {
    this.#options = options;
    this.#spent = Math.max(options.task.toolCallsSpent, options.recall.results);
  }

  /**
   * Calls a tool.
   *
   * @throws ToolError when the tool failed and the agent is to know; TypeError for arguments that are no JSON object.
   */
  async call(tool: ToolView, given: unknown): Promise<Json> {
    const { recall, driving } = this.#options;
    const args = driving.redactor.json(argumentsOf(tool.name, given)) as JsonObject;
    const recorded = recall.takeCall(tool.name, args);
    if (recorded?.outcome !== undefined) return resultOf(tool.name, recorded.outcome);
    this.#count();
    // The recorded arguments are what the server holds the call to.
    const call = { name: tool.name, arguments: recorded?.arguments ?? args };
    const place = recorded ?? (await this.#place(call));
    const { turnSequence, callIndex } = place;
    const end = await driveToolCall({ turnSequence, callIndex, call, tool, sequence: TAKES_A_PLACE }, driving);
    if (end.kind === "recorded") return resultOf(tool.name, end.outcome);
    throw this.#options.scope.end(
      end.kind === "dropped" ? { kind: "dropped" } : { ...end, class: "ToolFailed", retryable: true },
    );
  }

  #count(): void {
    const { task, scope } = this.#options;
    const { maxToolCalls } = task.agent.limits;
    if (this.#spent >= maxToolCalls) {
      const message = `the agent used its ${maxToolCalls} tool calls`;
      throw scope.end({ kind: "failed", class: "ToolCallLimit", message, retryable: false });
    }
    this.#spent += 1;
  }

  // With the others that are made before the event loop goes round.
  #place(call: RequestedCall): Promise<Place> {
    const { promise, resolve, reject } = Promise.withResolvers<Place>();
    this.#group.push({ call, resolve, reject });
    if (this.#group.length === 1) setImmediate(() => this.#record());
    return promise;
  }

  #record(): void {
    for (const turn of turnsOf(this.#group.splice(0))) {
      const toolCalls = turn.map(({ call }) => call);
      this.#options.writer.appendTurn({ text: "", toolCalls }).then(
        (turnSequence) => {
          for (const [callIndex, { resolve }] of turn.entries()) resolve({ turnSequence, callIndex });
        },
        (error: unknown) => {
          for (const { reject } of turn) reject(error);
        },
      );
    }
  }
}

function turnsOf(group: readonly Waiting[]): Waiting[][] {
  const turns: Waiting[][] = [];
  let bytes = 0;
  for (const waiting of group) {
    const more = Buffer.byteLength(canonicalJson(waiting.call.arguments), "utf8");
    const last = turns.at(-1);
    if (last === undefined || bytes + more > TURN_BYTES_MAX) {
      turns.push([waiting]);
      bytes = more;
    } else {
      last.push(waiting);
      bytes += more;
    }
  }
  return turns;
}

function argumentsOf(tool: string, given: unknown): JsonObject {
  const args = plainJson(given === undefined ? {} : given, `the argument of ${tool}`);
  if (!isJsonObject(args)) throw new TypeError(`the argument of ${tool} must be an object, as its inputSchema says`);
  return args;
}

// A copy: code may change what it was given, and may be given it twice.
function resultOf(tool: string, outcome: RecordedResult): Json {
  if (outcome.ok) return structuredClone(outcome.result);
  throw new ToolError(tool, outcome.errorClass, outcome.errorMessage);
}
