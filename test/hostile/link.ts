// One worker stream over a real socket, for a client that says what it likes: sends any frame, and waits for the answer to it.
// Called by the other files of this folder. Accepts what it is assigned and renews what it holds by itself, so that only its lies are lies.

import type { ClientHttp2Stream } from "node:http2";
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type Assignment,
  FactVerdict,
  type SessionRequestSchema,
  type SessionResponse,
  SessionResponseSchema,
  type ToolDecision,
  type Welcome,
} from "../../proto/gen/orloj/v1/worker_pb.ts";
import { soundFrame } from "../fuzz/frames.ts";
import type { Dialer } from "../fuzz/hostile_sessions.ts";

const ANSWER_MS = 60_000;
const RENEW_MS = 1_000;

/** A frame as it is written. */
export type Frame = MessageInitShape<typeof SessionRequestSchema>["frame"];

/** What a client says of itself; anything may be untrue. */
export interface Claims {
  readonly name: string;
  readonly instanceId: string;
  /** Its tasks are those that want this label. */
  readonly side: string;
  readonly resume?: string;
  readonly held?: readonly { readonly taskId: string; readonly token: string }[];
}

/** A tool call as it is presented. */
export interface Call {
  readonly taskId: string;
  readonly token: string;
  readonly turnSequence: number;
  readonly callIndex: number;
  readonly tool: string;
  readonly argumentsJson: string;
}

/** The result of a grant as it is presented. */
export interface Told {
  readonly taskId: string;
  readonly token: string;
  readonly grantId: string;
  readonly resultJson: string;
  readonly journalSequence: number;
}

interface Waiting {
  readonly pick: (frame: SessionResponse["frame"]) => unknown;
  readonly resolve: (value: unknown) => void;
}

/** How the server judged a fact: "committed", "duplicate", "lease_lost" or "refused". */
export type Verdict = "committed" | "duplicate" | "lease_lost" | "refused" | "unspecified";
const VERDICTS: Readonly<Record<FactVerdict, Verdict>> = {
  [FactVerdict.UNSPECIFIED]: "unspecified",
  [FactVerdict.COMMITTED]: "committed",
  [FactVerdict.DUPLICATE]: "duplicate",
  [FactVerdict.LEASE_LOST]: "lease_lost",
  [FactVerdict.REFUSED]: "refused",
};

/** See the file header. */
export class Link {
  readonly name: string;
  /** Tokens that are renewed. */
  readonly held = new Set<string>();
  /** Resolves when the stream is over. */
  readonly ended: Promise<void>;
  welcome!: Welcome;
  readonly #dialer: Dialer;
  readonly #stream: ClientHttp2Stream;
  readonly #waiting = new Set<Waiting>();
  readonly #assignments: Assignment[] = [];
  readonly #timer: NodeJS.Timeout;
  #received = Buffer.alloc(0);
  #callId = 0n;
  #sequence = 0n;
  #assigned = 0n;

  private constructor(dialer: Dialer, name: string) {
    this.name = name;
    this.#dialer = dialer;
    this.#stream = dialer.stream(undefined);
    this.#stream.on("error", () => undefined);
    this.#stream.on("data", (chunk: Buffer) => this.#read(chunk));
    this.ended = new Promise((resolve) => {
      for (const end of ["end", "close"]) this.#stream.once(end, () => resolve());
    });
    this.#timer = setInterval(() => this.renew([]), RENEW_MS);
    void this.ended.then(() => this.close());
  }

  /** Opens a session on a connection of its own, whatever the server makes of the claims. */
  static async open(dialer: Dialer, { name, instanceId, side, resume = "", held = [] }: Claims): Promise<Link> {
    const link = new Link(dialer, name);
    const value = {
      ...{ protocolVersion: 1, instanceId, workerName: name, slots: 100, runtimes: ["model"], labels: { side } },
      ...{ resumeSessionId: resume, held: held.map((one) => ({ ...one })) },
    };
    link.welcome = await link.ask({ case: "hello", value }, (frame) =>
      frame.case === "welcome" ? frame.value : undefined,
    );
    return link;
  }

  get sessionId(): string {
    return this.welcome.sessionId;
  }

  send(frame: Frame): void {
    this.sendBytes(soundFrame(frame));
  }

  sendBytes(bytes: Buffer): void {
    if (!this.#stream.destroyed) this.#stream.write(bytes);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#stream.destroy();
    this.#dialer.close();
  }

  /** Sends a frame and waits for what pick finds in an answer. */
  ask<Found>(frame: Frame, pick: (frame: SessionResponse["frame"]) => Found | undefined): Promise<Found> {
    const found = this.#await(pick, `an answer to ${frame?.case}`);
    this.send(frame);
    return found;
  }

  /** Has room for one task, and waits for it. */
  async take(): Promise<Assignment> {
    this.send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: this.#assigned } });
    const there = this.#assignments.shift();
    if (there !== undefined) return there;
    return await this.#await(() => this.#assignments.shift(), "an assignment");
  }

  async call(call: Call): Promise<ToolDecision["decision"]> {
    this.#callId += 1n;
    const callId = this.#callId;
    return await this.ask({ case: "toolCalls", value: { calls: [{ ...call, callId, attempt: 1 }] } }, (frame) =>
      frame.case === "toolDecisions"
        ? frame.value.decisions.find((decision) => decision.callId === callId)?.decision
        : undefined,
    );
  }

  /** Tells one result as often as `times` in one frame. */
  async tell({ resultJson, ...fact }: Told, times = 1): Promise<Verdict[]> {
    const results = Array.from({ length: times }, () => {
      this.#callId += 1n;
      return { ...fact, callId: this.#callId, result: { case: "resultJson" as const, value: resultJson } };
    });
    const ids = results.map(({ callId }) => callId);
    return await this.ask({ case: "toolResults", value: { results } }, (frame) => {
      if (frame.case !== "toolResultAcks") return undefined;
      const acks = frame.value.acks.filter(({ callId }) => ids.includes(callId));
      return acks.length === 0 ? undefined : acks.map(({ verdict }) => VERDICTS[verdict] ?? "unspecified");
    });
  }

  async turn(taskId: string, token: string, sequence: number, turnJson: string): Promise<Verdict> {
    return await this.ask({ case: "turns", value: { turns: [{ taskId, token, sequence, turnJson }] } }, (frame) => {
      if (frame.case !== "turnAcks") return undefined;
      const ack = frame.value.acks.find((one) => one.token === token && one.sequence === sequence);
      return ack && VERDICTS[ack.verdict];
    });
  }

  /** Reports one outcome as often as `times` in one frame. */
  async outcome(taskId: string, token: string, outputJson: string, times = 1): Promise<Verdict[]> {
    const outcome = { case: "outputJson" as const, value: outputJson };
    const outcomes = Array.from({ length: times }, () => ({ taskId, token, outcome }));
    return await this.ask({ case: "outcomes", value: { outcomes } }, (frame) => {
      if (frame.case !== "outcomeAcks") return undefined;
      const acks = frame.value.acks.filter((ack) => ack.token === token);
      return acks.length === 0 ? undefined : acks.map(({ verdict }) => VERDICTS[verdict] ?? "unspecified");
    });
  }

  /** Renews what it holds, and these tokens too. Resolves with the tokens that the server calls void. */
  async renewToo(tokens: readonly string[]): Promise<readonly string[]> {
    const sequence = this.renew(tokens);
    return await this.#await(
      (frame) => (frame.case === "renewAck" && frame.value.sequence === sequence ? frame.value.lostTokens : undefined),
      "a renewal",
    );
  }

  renew(more: readonly string[]): bigint {
    this.#sequence += 1n;
    const tokens = [...this.held, ...more];
    const value = { tokens, lastAssignSequence: this.#assigned, sequence: this.#sequence };
    if (tokens.length > 0) this.send({ case: "renew", value });
    return this.#sequence;
  }

  #await<Found>(pick: (frame: SessionResponse["frame"]) => Found | undefined, what: string): Promise<Found> {
    return new Promise<Found>((resolve, reject) => {
      const fail = (why: string) => reject(new Error(`${this.name} did not get ${what}: ${why}`));
      const timer = setTimeout(() => fail(`nothing within ${ANSWER_MS} ms`), ANSWER_MS);
      void this.ended.then(() => fail("the stream ended"));
      const waiting: Waiting = {
        pick,
        resolve: (value) => {
          clearTimeout(timer);
          resolve(value as Found);
        },
      };
      this.#waiting.add(waiting);
    });
  }

  #read(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    while (this.#received.length >= 5 && this.#received.length >= 5 + this.#received.readUInt32BE(1)) {
      const end = 5 + this.#received.readUInt32BE(1);
      const { frame } = fromBinary(SessionResponseSchema, this.#received.subarray(5, end));
      this.#received = this.#received.subarray(end);
      if (frame.case === "assign") this.#take(frame.value.assignments);
      for (const waiting of [...this.#waiting]) {
        const found = waiting.pick(frame);
        if (found === undefined) continue;
        this.#waiting.delete(waiting);
        waiting.resolve(found);
      }
    }
  }

  #take(assignments: readonly Assignment[]): void {
    for (const assignment of assignments) {
      this.#assigned = assignment.sequence;
      this.held.add(assignment.token);
      this.#assignments.push(assignment);
    }
    // One at a time: with the next renewal the server would count the slot as free again.
    this.send({ case: "credit", value: { freeSlots: 0, lastAssignSequence: this.#assigned } });
    this.send({ case: "accept", value: { tokens: assignments.map(({ token }) => token) } });
  }
}
