// Two transactions that meet at a lock, in the order that a test says. A third connection holds the lock as a barrier, and lets go
// once both wait for it: Postgres then serves them in the order in which they came.

import type { CommandStage } from "./command_stage.ts";

/** Both orders of two actions. */
export const ORDERS = [[0, 1] as const, [1, 0] as const];

/** Barriers on a stage. */
export function meeting(stage: CommandStage) {
  return {
    /** Starts both at the barrier, the first of the order first; results in the order given. */
    async meet<A, B>(
      barrier: () => Promise<() => Promise<void>>,
      actions: readonly [() => Promise<A>, () => Promise<B>],
      order: readonly [number, number],
    ): Promise<[A, B]> {
      const release = await barrier();
      const running: Promise<unknown>[] = [];
      for (const [position, index] of order.entries()) {
        running[index] = (actions[index] as () => Promise<unknown>)();
        await stage.waiting(position + 1);
      }
      await release();
      return (await Promise.all(running)) as [A, B];
    },
    lockRun: (runId: string) => () => stage.hold("select 1 from run where id = $1 for update", [runId]),
    lockLease: (taskId: string) => () => stage.hold("select 1 from lease where task_id = $1 for update", [taskId]),
  };
}
