// Iterates a stream until an abort signal fires, even while the stream is silent.
// Used by every streaming handler: neither a request stream nor a watch is interrupted by its signal alone.
// Never swallows the reason: the abort ends the iteration with the signal's reason.

/**
 * The items until the stream ends or the signal aborts.
 *
 * @throws the signal's reason once it aborts; the stream's own error before that.
 * The source is told to stop (return) in every case, but a silent source is not waited for.
 */
export async function* untilAborted<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T, void> {
  const iterator = items[Symbol.asyncIterator]();
  // One listener for the whole stream: Promise.race against one long-lived promise would keep a reaction for every item.
  let abortWait: ((reason: unknown) => void) | undefined;
  const onAbort = () => abortWait?.(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    for (;;) {
      signal.throwIfAborted();
      const result = await new Promise<IteratorResult<T>>((resolve, reject) => {
        abortWait = reject;
        iterator.next().then(resolve, reject);
      });
      if (result.done) return;
      yield result.value;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    iterator.return?.().catch(() => undefined);
  }
}
