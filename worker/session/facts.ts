// Keeps every fact until the server acknowledged it: turns, tool calls (until decided), tool results, outcomes.
// Filled by task_port.ts and task_table.ts; session.ts hands acknowledgements in and offers all again after a reconnect.
// The order of first sending is kept on resending. Sending twice is harmless: facts are idempotent by (token, sequence) or id.

import { DomainError } from "../../kit/errors.ts";
import { FactVerdict, type ToolDecision } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { TaskStopped } from "../agent/stop.ts";
import type { FactItem, Outbox } from "./outbox.ts";

interface Pending {
  readonly item: FactItem;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** See the file header. */
export class Facts {
  readonly #outbox: Outbox;
  readonly #pending = new Map<string, Pending>();
  #idle: (() => void)[] = [];

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  /** Sends a tool call; resolves with its decision, rejects with TaskStopped("lost") when its lease is lost before. */
  decide(item: Extract<FactItem, { kind: "call" }>): Promise<ToolDecision> {
    return this.#send(item) as Promise<ToolDecision>;
  }

  /** Sends a fact; resolves with the verdict, rejects with TaskStopped("lost") when its lease is lost before. */
  record(item: Exclude<FactItem, { kind: "call" }>): Promise<FactVerdict> {
    return this.#send(item) as Promise<FactVerdict>;
  }

  #send(item: FactItem): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#pending.set(keyOf(item), { item, resolve, reject });
      this.#outbox.add(item);
    });
  }

  /** Offers every pending fact to the outbox again. */
  resend(): void {
    for (const { item } of this.#pending.values()) this.#outbox.add(item);
  }

  /** A decision came; unknown ones (answered twice) are ignored. */
  decided(decision: ToolDecision): void {
    this.#take(`call ${decision.callId}`)?.resolve(decision);
  }

  /** A verdict came for a turn. */
  turnAcknowledged(token: string, sequence: number, verdict: FactVerdict, error: string): void {
    this.#acknowledged(`turn ${token} ${sequence}`, verdict, error);
  }

  /** A verdict came for a tool result. */
  resultAcknowledged(callId: bigint, verdict: FactVerdict, error: string): void {
    this.#acknowledged(`result ${callId}`, verdict, error);
  }

  /** A verdict came for an outcome. */
  outcomeAcknowledged(token: string, verdict: FactVerdict, error: string): void {
    this.#acknowledged(`outcome ${token}`, verdict, error);
  }

  /**
   * The lease is lost: forgets its turns and calls. Results stay, as their grant lets them count still; so does an
   * outcome, whose answer may be `duplicate`.
   */
  forget(token: string): void {
    for (const [key, { item }] of this.#pending) {
      if (item.value.token !== token || item.kind === "result" || item.kind === "outcome") continue;
      this.#take(key)?.reject(new TaskStopped("lost"));
    }
  }

  /** Resolves when nothing waits for an acknowledgement. */
  settled(): Promise<void> {
    if (this.#pending.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #acknowledged(key: string, verdict: FactVerdict, error: string): void {
    const pending = this.#take(key);
    if (pending === undefined) return;
    if (verdict === FactVerdict.COMMITTED || verdict === FactVerdict.DUPLICATE) pending.resolve(verdict);
    else if (verdict === FactVerdict.LEASE_LOST) pending.reject(new TaskStopped("lost"));
    else pending.reject(new DomainError("PROTOCOL_VIOLATION", `the server refused the ${pending.item.kind}: ${error}`));
  }

  #take(key: string): Pending | undefined {
    const pending = this.#pending.get(key);
    this.#pending.delete(key);
    if (this.#pending.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
    return pending;
  }
}

function keyOf(item: FactItem): string {
  switch (item.kind) {
    case "turn":
      return `turn ${item.value.token} ${item.value.sequence}`;
    case "outcome":
      return `outcome ${item.value.token}`;
    default:
      return `${item.kind} ${item.value.callId}`;
  }
}
