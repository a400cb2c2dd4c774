// Gives ready tasks to sessions with free credits: each task to the capable session with the most of them.
// Called by dispatch's claimer with the tasks in claim order.
// No session gets more than its credits; a task that nobody can take is left. Pure and deterministic.

/** A ready task, as far as matching goes. */
export interface MatchableTask {
  readonly taskId: string;
  readonly route: string;
}

/** A session that can take tasks. */
export interface MatchableSession {
  readonly sessionId: string;
  /** Credits not yet spent; zero or less takes nothing. */
  readonly free: number;
  /** Routes that its worker can serve. */
  readonly routes: ReadonlySet<string>;
}

/** One task for one session. */
export interface Match {
  readonly taskId: string;
  readonly sessionId: string;
}

/**
 * Matches tasks in the order given; ties between sessions go to the lower session id.
 * Every task that a session with a credit left can serve is matched.
 */
export function matchTasks(tasks: readonly MatchableTask[], sessions: readonly MatchableSession[]): Match[] {
  const open = sessions.map(({ sessionId, free, routes }) => ({ sessionId, free, routes }));
  const matches: Match[] = [];
  for (const task of tasks) {
    let best: (typeof open)[number] | undefined;
    for (const session of open) {
      if (session.free < 1 || !session.routes.has(task.route)) continue;
      if (best === undefined || session.free > best.free) best = session;
      else if (session.free === best.free && session.sessionId < best.sessionId) best = session;
    }
    if (best === undefined) continue;
    best.free -= 1;
    matches.push({ taskId: task.taskId, sessionId: best.sessionId });
  }
  return matches;
}
