// Free slots of this replica's sessions for tasks that are leased in the transaction that makes them (commands/new_leases.ts).
// A slot is given only for routes of which the queue had no more tasks when it was last asked, and nothing was heard since: nobody is overtaken.
// While it is taken, no claim gives it to another task.

import type { Assigned } from "../commands/lease_tasks.ts";
import type { Seat, Seats } from "../commands/new_leases.ts";
import type { Claimer } from "./claimer.ts";
import type { SessionRegistry } from "./session_registry.ts";
import type { WorkerSession } from "./worker_session.ts";

interface SessionSeat extends Seat {
  readonly session: WorkerSession;
}

/** See the file header. */
export class SessionSeats implements Seats {
  readonly #claimer: () => Pick<Claimer, "idleGroups">;
  readonly #registry: () => Pick<SessionRegistry, "assign">;

  constructor(claimer: () => Pick<Claimer, "idleGroups">, registry: () => Pick<SessionRegistry, "assign">) {
    this.#claimer = claimer;
    this.#registry = registry;
  }

  take(routes: readonly string[]): (SessionSeat | undefined)[] {
    const groups = this.#claimer().idleGroups();
    return routes.map((route) => {
      const sessions = groups.flatMap((group) => (group.routes.includes(route) ? group.sessions : []));
      const session = freest(sessions);
      if (session === undefined) return undefined;
      session.reserve(1);
      return { sessionId: session.id, worker: session.name, session };
    });
  }

  giveBack(seats: readonly SessionSeat[]): void {
    for (const { session } of seats) session.reserve(-1);
  }

  send(leased: readonly { readonly seat: SessionSeat; readonly assigned: Assigned }[]): void {
    for (const [session, own] of Map.groupBy(leased, ({ seat }) => seat.session)) {
      session.reserve(-own.length);
      this.#registry().assign(
        session,
        own.map(({ assigned }) => assigned),
      );
    }
  }
}

// As queue/match.ts chooses.
function freest(sessions: readonly WorkerSession[]): WorkerSession | undefined {
  let best: WorkerSession | undefined;
  for (const session of sessions) {
    if (session.free === 0) continue;
    if (best === undefined || session.free > best.free || (session.free === best.free && session.id < best.id))
      best = session;
  }
  return best;
}
