// Gathers what arrives while a batch is being written, and writes it as the next batch: commits stay few under load, latency
// stays low when idle. One coalescer a kind of hot write. Each caller is answered after its own batch committed.
// A batch that fails is split until the guilty item is alone and gets its own error; the others still succeed.
// Called by dispatch and rpc through the services of main. Holds no timers.

/** Writes a batch: one result for each item, in order. A result that is an Error rejects that item alone. */
export type BatchWriter<Item, Result> = (items: readonly Item[]) => Promise<readonly (Result | Error)[]>;

/** Limits of a coalescer. */
export interface CoalescerOptions {
  /** Items in a batch at most. */
  readonly batchMax: number;
  /** Items waiting at most; beyond it `add` rejects with the error made by `overflow`. */
  readonly waitingMax: number;
  /** Batches in flight at a time; 1 by default. */
  readonly lanes?: number;
  /** Waits before a batch is taken, for items that nobody waits for: what comes meanwhile shares it. Absent: none waits. */
  readonly gather?: () => Promise<void>;
  /** True for errors that every item shares, such as a lost database: the batch is failed whole, not split. */
  readonly isShared: (error: unknown) => boolean;
  /** Error for an item that finds the queue full. */
  readonly overflow: () => Error;
}

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/** Sizes since the start, for metrics. */
export interface CoalescerStats {
  batches: number;
  items: number;
  splits: number;
}

/** See the file header. */
export class Coalescer<Item, Result> {
  readonly stats: CoalescerStats = { batches: 0, items: 0, splits: 0 };
  readonly #write: BatchWriter<Item, Result>;
  readonly #options: CoalescerOptions;
  #waiting: Waiting<Item, Result>[] = [];
  #inFlight = 0;
  #scheduled = false;
  #idle: (() => void)[] = [];

  constructor(write: BatchWriter<Item, Result>, options: CoalescerOptions) {
    this.#write = write;
    this.#options = options;
  }

  /** Items that no batch has taken yet. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Resolves with the item's own result after its batch committed. */
  add(item: Item): Promise<Result> {
    if (this.#waiting.length >= this.#options.waitingMax) return Promise.reject(this.#options.overflow());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#schedule();
    });
  }

  /** Resolves when nothing waits and nothing is in flight. */
  drained(): Promise<void> {
    if (this.#inFlight === 0 && this.#waiting.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  // What arrives in the same turn of the event loop shares the first batch.
  #schedule(): void {
    if (this.#scheduled || this.#inFlight >= (this.#options.lanes ?? 1)) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    if (this.#waiting.length === 0) return;
    this.#inFlight += 1;
    if (this.#options.gather !== undefined) await this.#options.gather();
    const batch = this.#waiting.splice(0, this.#options.batchMax);
    if (this.#waiting.length > 0) this.#schedule();
    await this.#settle(batch);
    this.#inFlight -= 1;
    if (this.#waiting.length > 0) this.#schedule();
    else if (this.#inFlight === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  async #settle(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    this.stats.batches += 1;
    this.stats.items += batch.length;
    try {
      const results = await this.#write(batch.map((waiting) => waiting.item));
      batch.forEach((waiting, index) => {
        const result = results[index] as Result | Error;
        if (result instanceof Error) waiting.reject(result);
        else waiting.resolve(result);
      });
    } catch (error) {
      if (batch.length === 1 || this.#options.isShared(error)) {
        for (const waiting of batch) waiting.reject(error);
        return;
      }
      this.stats.splits += 1;
      const half = Math.ceil(batch.length / 2);
      await this.#settle(batch.slice(0, half));
      await this.#settle(batch.slice(half));
    }
  }
}
