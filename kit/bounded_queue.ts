// A queue between a producer that must not wait and a consumer that iterates: bounded, so that memory cannot grow.
// Used for what goes out on a stream. A full queue refuses: its owner closes the peer that does not read.
// Leaf: holds no timer.

/** See the file header. */
export class BoundedQueue<T> {
  readonly #max: number;
  readonly #items: T[] = [];
  #closed = false;
  #wake: (() => void) | undefined;

  /** @param max items at most, 1 or more. */
  constructor(max: number) {
    this.#max = max;
  }

  get length(): number {
    return this.#items.length;
  }

  /** False when the queue is full or closed: the item was not taken. */
  push(item: T): boolean {
    if (this.#closed || this.#items.length >= this.#max) return false;
    this.#items.push(item);
    this.#wake?.();
    return true;
  }

  /** No more items; what is queued is still delivered. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  /** Items in order, until the queue is closed and empty or the signal aborts. One consumer at a time. */
  async *items(signal: AbortSignal): AsyncGenerator<T> {
    const wake = () => this.#wake?.();
    signal.addEventListener("abort", wake, { once: true });
    try {
      while (!signal.aborted) {
        if (this.#items.length > 0) yield this.#items.shift() as T;
        else if (this.#closed) return;
        else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
            if (signal.aborted) resolve();
          });
        }
      }
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }
}
