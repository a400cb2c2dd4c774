// Lets runs go on that wait for a slot of their group, as soon as there is one.
// Woken by commits that freed a slot, and by the tick, which finds what a lost wake-up was about; never polls on its own.
// One transaction at a time; groups that are named while it runs come next. A failure is left to the tick.

import { messageOf } from "../../kit/errors.ts";
import type { CommandContext } from "../commands/context.ts";
import { startQueued } from "../commands/start_queued.ts";

/** Groups in one transaction at most. */
const GROUPS_MAX = 50;

/** See the file header. */
export class Starter {
  readonly #context: CommandContext;
  readonly #named = new Set<string>();
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(context: CommandContext) {
    this.#context = context;
  }

  /** In these groups somebody may wait although a slot is free. */
  wake(groupIds: readonly string[]): void {
    if (this.#stopped) return;
    for (const id of groupIds) this.#named.add(id);
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#named.size > 0) this.wake([]);
    });
  }

  /** Waits for what is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#named.clear();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#named.size > 0) {
      const groupIds = [...this.#named].slice(0, GROUPS_MAX);
      for (const id of groupIds) this.#named.delete(id);
      try {
        for (const id of await startQueued(this.#context, groupIds)) if (!this.#stopped) this.#named.add(id);
      } catch (error) {
        this.#context.log.warn("starter.failed", { error: messageOf(error) });
      }
    }
  }
}
