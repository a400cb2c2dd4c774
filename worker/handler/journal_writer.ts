// Writes the facts of a handler's task one after the other, each at the next place of the journal; what they are about runs side by side.
// Made by run_handler.ts for each task, used by tool_calls.ts, records.ts, and through them by agent/tool_call.ts as its port.
// The server journals by itself what it answers from what it knows (a cached result, refused arguments), so a question counts as a fact.

import { orStopped } from "../agent/stop.ts";
import type { TaskPort, ToolCallRequest, ToolDecision, ToolReport, Turn } from "../agent/task.ts";
import type { ToolPort } from "../agent/tool_call.ts";

/** See the file header. Everything rejects with the signal's reason once that aborts. */
export class JournalWriter implements ToolPort {
  readonly #port: TaskPort;
  readonly #signal: AbortSignal;
  #sequence: number;
  #last: Promise<unknown> = Promise.resolve();

  /** @param recorded entries that are in the journal already. */
  constructor(port: TaskPort, recorded: number, signal: AbortSignal) {
    this.#port = port;
    this.#sequence = recorded;
    this.#signal = signal;
  }

  /** Records a turn; resolves with the sequence that it took. */
  appendTurn(turn: Turn): Promise<number> {
    return this.#inOrder(async () => {
      const sequence = this.#sequence + 1;
      await this.#port.recordTurn(sequence, turn);
      this.#sequence = sequence;
      return sequence;
    });
  }

  callTool(request: ToolCallRequest): Promise<ToolDecision> {
    return this.#inOrder(async () => {
      const decision = await this.#port.callTool(request);
      if (decision.kind === "cached" || decision.kind === "invalidArguments") this.#sequence += 1;
      return decision;
    });
  }

  /** A report that takes a place (journalSequence above 0) takes the next one. */
  recordToolResult(report: ToolReport): Promise<void> {
    if (report.journalSequence === 0) return this.#port.recordToolResult(report);
    const write = async () => {
      const journalSequence = this.#sequence + 1;
      await this.#port.recordToolResult({ ...report, journalSequence });
      this.#sequence = journalSequence;
    };
    // A task that stopped meanwhile has no journal to go on with; the ledger takes what is true all the same.
    return this.#inOrder(write, () => this.#port.recordToolResult({ ...report, journalSequence: 0 }));
  }

  leaseSound(signal: AbortSignal): Promise<void> {
    return this.#port.leaseSound(signal);
  }

  #inOrder<Fact>(write: () => Promise<Fact>, whenStopped?: () => Promise<void>): Promise<Fact> {
    const writing = this.#last.then(() => {
      if (!this.#signal.aborted) return orStopped(write(), this.#signal);
      whenStopped?.().catch(() => {});
      throw this.#signal.reason;
    });
    this.#last = writing.catch(() => {});
    return writing;
  }
}
