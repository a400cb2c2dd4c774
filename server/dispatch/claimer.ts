// Brings ready tasks to the sessions of this replica: wake → match → claim → send.
// Woken by credits, by commits that made work ready, by hints of other replicas and by the tick; never polls on its own.
// One claim at a time; a wake while it runs makes it run once more. Claims are committed before anything is sent.
// Routes of which the queue gave all that it had are not asked for again because of a credit, only once there may be work.

import { messageOf } from "../../kit/errors.ts";
import { type Claimed, type ClaimingSession, claim } from "../commands/claim.ts";
import type { CommandContext } from "../commands/context.ts";
import type { CommandServices } from "../commands/services.ts";
import { canServe } from "../queue/route.ts";
import type { RouteRequirements } from "../storage/schema.ts";
import type { SessionRegistry } from "./session_registry.ts";
import type { WorkerSession } from "./worker_session.ts";

/** Sessions that serve the same routes. */
export interface SessionGroup {
  readonly routes: string[];
  readonly sessions: WorkerSession[];
}

/** See the file header. */
export class Claimer {
  readonly #context: CommandContext;
  readonly #services: CommandServices;
  readonly #registry: () => SessionRegistry;
  readonly #routes = new Map<string, RouteRequirements>();
  #running: Promise<void> | undefined;
  /** Routes that the queue had no more tasks of, as #groups joins them, since work was last heard of. */
  readonly #drained = new Set<string>();
  /** Times that work was heard of. */
  #heard = 0;
  #again = false;
  #stopped = false;

  constructor(context: CommandContext, services: CommandServices, registry: () => SessionRegistry) {
    this.#context = context;
    this.#services = services;
    this.#registry = registry;
  }

  /** Routes whose requirements this replica knows. */
  knows(route: string): boolean {
    return this.#routes.has(route);
  }

  /** Reads the requirements of all routes. */
  async loadRoutes(): Promise<void> {
    const rows = await this.#context.store.read((queries) => queries.bundles.routes());
    for (const row of rows) this.#routes.set(row.route, row.requirements);
  }

  /** There may be work. */
  wake(): void {
    this.#heard += 1;
    this.#drained.clear();
    this.creditChanged();
  }

  /** Sessions have free slots. */
  creditChanged(): void {
    if (this.#stopped) return;
    this.#again = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#again) this.creditChanged();
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#again = false;
    await this.#running;
  }

  async #run(): Promise<void> {
    // What arrives in the same turn of the event loop is claimed together.
    await new Promise((resolve) => setImmediate(resolve));
    this.#again = false;
    for (const [route, requirements] of this.#context.caches.takeNewRoutes()) this.#routes.set(route, requirements);
    try {
      for (const [key, { routes, sessions }] of this.#groups()) {
        if (!this.#drained.has(key)) await this.#claimFor(key, routes, sessions);
      }
    } catch (error) {
      this.#context.log.warn("claim.failed", { error: messageOf(error) });
      this.#again = false;
    }
  }

  /** Sessions with free slots for whose routes the queue has nothing, as far as it is known. */
  idleGroups(): SessionGroup[] {
    if (this.#stopped || this.#drained.size === 0) return [];
    return [...this.#groups()].filter(([key]) => this.#drained.has(key)).map(([, group]) => group);
  }

  // Sessions that serve the same routes claim together.
  #groups(): Map<string, SessionGroup> {
    const groups = new Map<string, SessionGroup>();
    for (const session of this.#registry().sessions()) {
      if (session.free === 0) continue;
      const routes = [...this.#routes]
        .filter(([route, needs]) => canServe(session.capabilities, needs) && session.takes(route))
        .map(([route]) => route);
      const key = routes.join();
      const group = groups.get(key) ?? { routes, sessions: [] };
      group.sessions.push(session);
      groups.set(key, group);
    }
    return groups;
  }

  async #claimFor(key: string, routes: string[], sessions: WorkerSession[]): Promise<void> {
    const heard = this.#heard;
    const claiming: ClaimingSession[] = sessions.map(({ id, name, free }) => ({ sessionId: id, worker: name, free }));
    // A group that was claimed for before may have taken the last slots.
    if (claiming.every(({ free }) => free === 0)) return;
    const claimed = await claim(this.#context, routes, claiming);
    this.#send(claimed, sessions);
    if (claimed.more) this.#again = true;
    else if (heard === this.#heard) this.#drained.add(key);
    const settled = await Promise.allSettled(claimed.denied.map((item) => this.#services.settle.add(item)));
    for (const [index, result] of settled.entries()) {
      if (result.status !== "rejected") continue;
      const { taskId: task } = claimed.denied[index] as { readonly taskId: string };
      this.#context.log.warn("claim.denial_unsettled", { task, error: messageOf(result.reason) });
    }
  }

  #send(claimed: Claimed, sessions: readonly WorkerSession[]): void {
    const bySession = Map.groupBy(claimed.assigned, (assigned) => assigned.sessionId);
    for (const session of sessions) {
      const own = bySession.get(session.id);
      if (own !== undefined) this.#registry().assign(session, own);
    }
  }
}
