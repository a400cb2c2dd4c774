// Replicas and the network between them and the workers: brings facts to the control plane, and answers back.
// Everything that fails here fails as in the world: a fact is lost, held up, sent twice; a replica dies between two transactions.

import { TTL_MS } from "./flows.ts";
import { perform } from "./plane.ts";
import type { Fault, Findings, Item, Op, Result, Traced } from "./rows.ts";
import { Sink } from "./sink.ts";
import { Tables } from "./tables.ts";
import { hear, Models, type Request, take, type Worker } from "./workers.ts";

export const FAULT_KINDS = ["drop", "delay", "duplicate", "reorder", "crash", "pause", "clock"] as const;
export type FaultCounts = Record<(typeof FAULT_KINDS)[number], number>;

/** What happens to a fact: clean, or one of the faults. */
export type Fate = "clean" | "drop" | "drop_reply" | "delay" | "duplicate" | Exclude<Fault, "">;

/** What a replica found and has not settled yet. */
export interface Replica {
  findings: Findings | undefined;
}

/** Told of every operation after it happened. */
export type Observer = (traced: Traced, driver: Driver) => void;

export class Driver {
  readonly tables = new Tables();
  readonly sink = new Sink();
  readonly models = new Models();
  readonly workers: Worker[] = [];
  readonly replicas: Replica[] = [{ findings: undefined }, { findings: undefined }];
  /** Facts that are held up on the way, oldest first. */
  readonly underway: Request[] = [];
  readonly faults: FaultCounts = { drop: 0, delay: 0, duplicate: 0, reorder: 0, crash: 0, pause: 0, clock: 0 };
  operations = 0;
  readonly #observe: Observer;

  constructor(observe: Observer) {
    this.#observe = observe;
  }

  /** One operation on one replica. */
  perform(op: Op, replica: number, fault: Fault = ""): Result | undefined {
    if (fault !== "") this.faults.crash += 1;
    const result = perform(this.tables, op, replica, fault);
    this.operations += 1;
    this.#observe({ op, replica, fault, result }, this);
    // A commit whose acknowledgement is lost tells nobody anything.
    return fault === "lost_ack" ? undefined : result;
  }

  /** A worker process starts, or starts again. */
  startWorker(index: number, replica: number): void {
    const instance = this.tables.id("i");
    this.workers[index] = {
      ...{ index, instance, session: "", epoch: 0, replica, connected: false, frozen: false, clockMs: 0 },
      ...{ soundUntilMs: 0, held: new Map() },
    };
    this.connect(this.workers[index] as Worker, replica);
  }

  /** Hello: takes its session up again, or opens a new one. */
  connect(worker: Worker, replica: number, fault: Fault = ""): void {
    const { instance, session: resume } = worker;
    const session = this.tables.id("s");
    const opened = this.perform({ op: "open", session, instance, resume }, replica, fault);
    if (opened === undefined) return;
    if (opened.session !== resume) worker.held.clear();
    Object.assign(worker, { replica, session: opened.session, epoch: opened.epoch, connected: true });
    worker.soundUntilMs = this.tables.nowMs + worker.clockMs + TTL_MS;
  }

  /** A worker renews with everything that it holds. */
  renew(worker: Worker, fault: Fault = ""): void {
    const held = [...worker.held.values()].map(({ task, token, session }) => ({ task, token, session }));
    const before = this.tables.nowMs + worker.clockMs;
    const op = { op: "renew", session: worker.session, epoch: worker.epoch, held } as const;
    const renewed = this.perform(op, worker.replica, fault);
    if (renewed === undefined || renewed.alive !== true) {
      worker.connected = false;
      return;
    }
    worker.soundUntilMs = before + TTL_MS;
    const still = new Map(renewed.still?.map((one) => [one.token, one]));
    for (const task of [...worker.held.values()]) {
      const state = still.get(task.token);
      if (state === undefined) worker.held.delete(task.token);
      else if (state.stopping) task.toldToStop = true;
    }
  }

  /** A replica claims for a session; what it claimed goes out unless the fate says otherwise. */
  claim(worker: Worker, free: number, fate: Fate, yields = false): void {
    const fault = fate === "abort" || fate === "lost_ack" ? fate : "";
    const claimed = this.perform({ op: "claim", session: worker.session, free }, worker.replica, fault);
    if (claimed === undefined) return;
    if ((claimed.settle?.length ?? 0) > 0 && fate !== "drop_reply") {
      this.perform({ op: "settle", items: claimed.settle ?? [] }, worker.replica);
    }
    if (fate === "drop" || fate === "drop_reply") {
      this.faults.drop += 1;
      return;
    }
    this.#deliver(worker, claimed, fate, yields);
  }

  /** An invocation; what it makes goes to a worker at once, if one is given. */
  invoke(op: Extract<Op, { op: "invoke" }>, replica: number, fault: Fault, worker?: Worker): void {
    const done = this.perform({ ...op, ...this.#seatOf(worker, replica) }, replica, fault);
    if (worker !== undefined) this.#deliver(worker, done, "clean");
  }

  // Slots are there for who is connected to the replica, while its queue has nothing; half of the time, for the other way matters too.
  #seatOf(worker: Worker | undefined, replica: number): { readonly seat?: string } {
    const serves = worker?.connected === true && !worker.frozen && worker.replica === replica;
    return serves && this.tables.ready.size === 0 && this.operations % 2 === 0 ? { seat: worker.session } : {};
  }

  #deliver(worker: Worker, result: Result | undefined, fate: Fate, yields = false): void {
    for (const assigned of result?.assigned ?? []) {
      if (!take(worker, assigned)) continue;
      const { task, token, session } = assigned;
      // A worker that has no use for a task gives it back instead of accepting it.
      if (yields) worker.held.delete(token);
      const kind = yields ? "yield" : "accept";
      const request: Request = { worker: worker.index, kind, fact: { task, token, session } };
      if (fate === "delay") this.hold(request);
      else this.serve([request], worker.replica, "");
    }
  }

  hold(request: Request): void {
    this.faults.delay += 1;
    this.underway.push(request);
  }

  /** Sends a fact; the answer comes back at once unless the fate says otherwise. */
  send(request: Request, replica: number, fate: Fate): void {
    switch (fate) {
      case "drop":
        this.faults.drop += 1;
        return;
      case "delay":
        this.hold(request);
        return;
      case "duplicate":
        this.faults.duplicate += 1;
        this.underway.push(request);
        this.serve([request], replica, "");
        return;
      case "drop_reply":
        this.faults.drop += 1;
        this.serve([request], replica, "", false);
        return;
      case "clean":
        this.serve([request], replica, "");
        return;
      default:
        this.serve([request], replica, fate);
    }
  }

  /** Facts that reach a replica at the same moment: one transaction a kind, as its coalescers make them. */
  serve(requests: readonly Request[], replica: number, fault: Fault, answers = true): void {
    const of = <K extends Request["kind"]>(kind: K) =>
      requests.filter((request): request is Extract<Request, { kind: K }> => request.kind === kind);
    for (const { fact } of of("accept")) {
      this.perform({ op: "accept", task: fact.task, token: fact.token }, replica, fault);
    }
    const turns = of("turn");
    if (turns.length > 0) {
      const told = this.perform({ op: "turns", facts: turns.map(({ fact }) => fact) }, replica, fault);
      if (answers) this.#answer(turns, told);
    }
    const calls = of("call");
    if (calls.length > 0) {
      const told = this.perform({ op: "calls", facts: calls.map(({ fact }) => fact) }, replica, fault);
      if (this.#settleFirst(told, replica) && answers) this.#answer(calls, told);
    }
    const results = of("result");
    if (results.length > 0) {
      const told = this.perform({ op: "results", facts: results.map(({ fact }) => fact) }, replica, fault);
      if (this.#settleFirst(told, replica) && answers) this.#answer(results, told);
    }
    const ends = [...of("outcome"), ...of("yield")];
    if (ends.length > 0) {
      const worker = this.workers[ends[0]?.worker ?? -1];
      const items = ends.map(itemOf);
      const told = this.perform({ op: "settle", items, ...this.#seatOf(worker, replica) }, replica, fault);
      if (answers) this.#answer(ends, told);
      if (worker !== undefined) this.#deliver(worker, told, "clean");
    }
  }

  #settleFirst(told: Result | undefined, replica: number): boolean {
    if (told === undefined) return false;
    if ((told.settle?.length ?? 0) === 0) return true;
    return this.perform({ op: "settle", items: told.settle ?? [] }, replica) !== undefined;
  }

  #answer(requests: readonly Request[], told: Result | undefined): void {
    if (told === undefined) return;
    for (const [index, request] of requests.entries()) {
      const worker = this.workers[request.worker];
      if (worker === undefined || worker.frozen || worker.session !== request.fact.session) continue;
      hear(worker, request, told.verdicts?.[index] ?? "", told.answers?.[index]);
    }
  }

  /** A tick looks. */
  find(replica: number): void {
    const { found } = this.perform({ op: "find" }, replica) ?? {};
    const at = this.replicas[replica];
    if (at !== undefined) at.findings = found;
  }

  /** A tick settles what it found, however long ago. */
  settleFindings(replica: number, fault: Fault): void {
    const at = this.replicas[replica];
    const found = at?.findings;
    if (at === undefined || found === undefined) return;
    at.findings = undefined;
    if (found.expired.length > 0) this.perform({ op: "mark_lost", sessions: found.expired }, replica);
    const items: Item[] = [
      ...found.lost.map((lost) => ({ type: "lost" as const, ...lost })),
      ...found.due.map((task) => ({ type: "wake" as const, task })),
      ...found.dueRuns.map((run) => ({ type: "run_due" as const, run })),
    ];
    if (items.length > 0) this.perform({ op: "settle", items }, replica, fault);
  }
}

function itemOf(request: Extract<Request, { kind: "outcome" | "yield" }>): Item {
  if (request.kind === "outcome") return { type: "outcome", ...request.fact };
  const { task, token } = request.fact;
  return { type: "lost", task, token, reason: "yielded" };
}
