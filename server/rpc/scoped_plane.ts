// The use cases as a caller reaches them whose role holds in some namespaces alone: what is in another one is as if it were not there.
// Made by authentication.ts for every call. A namespace that the request names is refused before anything is looked up; an id of something
// in another namespace gets the answer of one that does not exist, and the attempt is recorded.
// Every use case has its rule here: a new one does not compile without.

import { DomainError } from "../../kit/errors.ts";
import type { ApplyInput, ControlPlane, InvokeInput, InvokeResult, UseCases } from "../commands/control_plane.ts";
import { runNotFound, taskNotFound } from "../commands/read_runs.ts";
import type { Scope } from "../commands/rights.ts";
import { notFound as deadLetterNotFound } from "../commands/settle_replay.ts";
import { leaseNotFound } from "../commands/steer_fleet.ts";
import type { TaskLogsView } from "../commands/task_log_views.ts";
import type { DeadLetterFilterView, PageRequest, Principal, ReplayHow } from "../commands/views.ts";

type Arguments<Name extends keyof UseCases> = Parameters<UseCases[Name]>;

/** @param onCrossing called when somebody asks by id for something in a namespace that the caller has no right in */
export function planeWithin(
  plane: ControlPlane,
  scope: Scope,
  onCrossing: (namespace: string) => Promise<void>,
): UseCases {
  return scope === "everywhere" ? plane : new ScopedPlane(plane, scope, onCrossing);
}

class ScopedPlane implements UseCases {
  readonly #plane: ControlPlane;
  readonly #namespaces: ReadonlySet<string>;
  readonly #onCrossing: (namespace: string) => Promise<void>;

  constructor(plane: ControlPlane, namespaces: ReadonlySet<string>, onCrossing: (namespace: string) => Promise<void>) {
    this.#plane = plane;
    this.#namespaces = namespaces;
    this.#onCrossing = onCrossing;
  }

  async apply(principal: Principal, input: ApplyInput) {
    return await this.#plane.apply(principal, { ...input, within: this.#namespaces });
  }
  async planApply(principal: Principal, input: ApplyInput) {
    return await this.#plane.planApply(principal, { ...input, within: this.#namespaces });
  }
  async validate(principal: Principal, input: ApplyInput) {
    return await this.#plane.validate(principal, { ...input, within: this.#namespaces });
  }
  async getResource(...[kind, namespace, name]: Arguments<"getResource">) {
    this.#require(namespace);
    return await this.#plane.getResource(kind, namespace, name);
  }
  async listResources(...[filter, page]: Arguments<"listResources">) {
    return await this.#plane.listResources({ ...filter, namespace: this.#listed(filter.namespace) }, page);
  }
  async deleteResource(...[principal, kind, namespace, name, force]: Arguments<"deleteResource">) {
    this.#require(namespace);
    await this.#plane.deleteResource(principal, kind, namespace, name, force);
  }

  async invoke(principal: Principal, input: InvokeInput) {
    this.#require(input.namespace);
    return await this.#plane.invoke(principal, input);
  }
  async invokeBatch(principal: Principal, inputs: readonly InvokeInput[]) {
    const inside = inputs.filter(({ namespace }) => this.#namespaces.has(namespace));
    const results = inside.length === 0 ? [] : await this.#plane.invokeBatch(principal, inside);
    const next = results.values();
    return inputs.map(({ namespace }): InvokeResult | Error =>
      this.#namespaces.has(namespace) ? (next.next().value as InvokeResult | Error) : this.#outside(namespace),
    );
  }
  async getRun(runId: string) {
    await this.#requireRun(runId);
    return await this.#plane.getRun(runId);
  }
  async listRuns(...[filter, page]: Arguments<"listRuns">) {
    return await this.#plane.listRuns({ ...filter, namespace: this.#listed(filter.namespace) }, page);
  }
  async *watchRun(runId: string, signal: AbortSignal) {
    await this.#requireRun(runId);
    yield* this.#plane.watchRun(runId, signal);
  }
  async cancelRun(...[principal, runId, reason]: Arguments<"cancelRun">) {
    await this.#requireRun(runId);
    return await this.#plane.cancelRun(principal, runId, reason);
  }
  async getTask(taskId: string) {
    await this.#requireTask(taskId, taskNotFound);
    return await this.#plane.getTask(taskId);
  }
  async listTasks(runId: string, page: PageRequest) {
    await this.#requireRun(runId);
    return await this.#plane.listTasks(runId, page);
  }
  async listTaskLogs(of: TaskLogsView, page: PageRequest) {
    await this.#requireLogs(of);
    return await this.#plane.listTaskLogs(of, page);
  }
  async *watchTaskLogs(of: TaskLogsView, signal: AbortSignal) {
    await this.#requireLogs(of);
    yield* this.#plane.watchTaskLogs(of, signal);
  }

  async listDeadLetters(filter: DeadLetterFilterView, page: PageRequest) {
    return await this.#plane.listDeadLetters({ ...filter, namespace: this.#listed(filter.namespace) }, page);
  }
  async getDeadLetter(taskId: string) {
    await this.#requireTask(taskId, deadLetterNotFound);
    return await this.#plane.getDeadLetter(taskId);
  }
  async replayDeadLetter(principal: Principal, taskId: string, how: ReplayHow) {
    await this.#requireTask(taskId, deadLetterNotFound);
    return await this.#plane.replayDeadLetter(principal, taskId, how);
  }
  async discardDeadLetter(...[principal, taskId, reason]: Arguments<"discardDeadLetter">) {
    await this.#requireTask(taskId, deadLetterNotFound);
    await this.#plane.discardDeadLetter(principal, taskId, reason);
  }

  // Workers serve every namespace.
  async listWorkers(): Promise<never> {
    throw this.#needsAll("workers serve every namespace");
  }
  async getWorker(): Promise<never> {
    throw this.#needsAll("workers serve every namespace");
  }
  async drainWorker(): Promise<never> {
    throw this.#needsAll("workers serve every namespace");
  }
  async listLeases(...[filter, page]: Arguments<"listLeases">) {
    if (filter.runId === undefined) throw this.#needsAll("leases of every namespace were asked for: name a run");
    await this.#requireRun(filter.runId);
    return await this.#plane.listLeases(filter, page);
  }
  async revokeLease(...[principal, taskId, reason]: Arguments<"revokeLease">) {
    await this.#requireTask(taskId, leaseNotFound);
    await this.#plane.revokeLease(principal, taskId, reason);
  }

  async readStatus(): Promise<never> {
    throw this.#needsAll("the numbers of every namespace were asked for");
  }
  async diagnose(): Promise<never> {
    throw this.#needsAll("a diagnosis looks at every namespace");
  }

  async listAudit(...[principal, filter, page]: Arguments<"listAudit">) {
    return await this.#plane.listAudit(principal, { ...filter, namespace: this.#listed(filter.namespace) }, page);
  }
  async *watchAudit(...[principal, filter, afterId, signal]: Arguments<"watchAudit">) {
    const within = { ...filter, namespace: this.#listed(filter.namespace) };
    yield* this.#plane.watchAudit(principal, within, afterId, signal);
  }
  // biome-ignore lint/correctness/useYield: it refuses before there is anything to give
  async *exportAudit(): AsyncGenerator<never> {
    throw this.#needsAll("an export proves the whole trail");
  }
  async explainDecisions(...[principal, input]: Arguments<"explainDecisions">) {
    if (input.taskId !== "") await this.#requireTask(input.taskId, taskNotFound);
    else await this.#requireRun(input.runId);
    return await this.#plane.explainDecisions(principal, input);
  }
  async tryDecisions(...[input]: Arguments<"tryDecisions">) {
    this.#require(input.namespace);
    return await this.#plane.tryDecisions(input);
  }
  auditKey() {
    return this.#plane.auditKey();
  }

  async createToken(): Promise<never> {
    throw this.#needsAll("tokens may stand for anybody");
  }
  async listTokens(): Promise<never> {
    throw this.#needsAll("tokens may stand for anybody");
  }
  async revokeToken(): Promise<never> {
    throw this.#needsAll("tokens may stand for anybody");
  }

  #require(namespace: string): void {
    if (!this.#namespaces.has(namespace)) throw this.#outside(namespace);
  }

  /** The namespace of a listing: the one that is named, or the only one that there is. */
  #listed(namespace = ""): string {
    const [only = ""] = this.#namespaces;
    if (namespace === "" && this.#namespaces.size > 1) {
      throw this.#needsAll(`every namespace was asked for: name one of ${[...this.#namespaces].join(", ")}`);
    }
    if (namespace !== "") this.#require(namespace);
    return namespace === "" ? only : namespace;
  }

  async #requireRun(runId: string): Promise<void> {
    await this.#requireInside(await this.#plane.namespaceOf({ runId }), () => runNotFound(runId));
  }

  async #requireLogs({ runId = "", taskId }: TaskLogsView): Promise<void> {
    if (taskId === undefined) await this.#requireRun(runId);
    else await this.#requireTask(taskId, taskNotFound);
  }

  async #requireTask(taskId: string, notFound: (taskId: string) => DomainError): Promise<void> {
    await this.#requireInside(await this.#plane.namespaceOf({ taskId }), () => notFound(taskId));
  }

  async #requireInside(namespace: string | undefined, notFound: () => DomainError): Promise<void> {
    if (namespace !== undefined && this.#namespaces.has(namespace)) return;
    if (namespace !== undefined) await this.#onCrossing(namespace);
    throw notFound();
  }

  #outside(namespace: string): DomainError {
    const message = `your role holds in ${[...this.#namespaces].join(", ")} and not in ${namespace}: ask for it there`;
    return new DomainError("PERMISSION_DENIED", message, { namespace });
  }

  #needsAll(why: string): DomainError {
    const message = `your role holds in ${[...this.#namespaces].join(", ")} alone, and ${why}`;
    return new DomainError("PERMISSION_DENIED", message);
  }
}
