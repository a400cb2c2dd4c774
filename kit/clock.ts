// Time as a value that comes in by constructor: the real clock and timers here, fakes in tests and the simulator.
// Only main files make a real one; every other module takes a Clock.
// Never used for lease expiry: database time decides that.

/** Reads time and sets timers. */
export interface Clock {
  /** Milliseconds since the Unix epoch; may jump. */
  now(): number;
  /** Milliseconds from an arbitrary start; never goes back. */
  monotonic(): number;
  /** Calls back once after delayMs; the result cancels it. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): () => void;
  /** Resolves after delayMs, or at once when the signal aborts (never rejects). */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** The longest delay of a platform timer, in ms; it fires at once when told to wait longer. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** The clock of this machine. */
export function systemClock(): Clock {
  const clock: Clock = {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    after(delayMs, callback) {
      return setTimer(delayMs, callback, (timer) => timer.unref());
    },
    sleep(delayMs, signal) {
      return new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const finish = () => {
          cancel();
          signal?.removeEventListener("abort", finish);
          resolve();
        };
        const cancel = setTimer(delayMs, finish);
        signal?.addEventListener("abort", finish, { once: true });
      });
    },
  };
  return clock;
}

// A delay beyond the longest timer is waited for in stages. The result cancels.
function setTimer(delayMs: number, callback: () => void, eachTimer?: (timer: NodeJS.Timeout) => void): () => void {
  let timer: NodeJS.Timeout;
  const wait = (restMs: number) => {
    timer =
      restMs > TIMER_MS_MAX
        ? setTimeout(() => wait(restMs - TIMER_MS_MAX), TIMER_MS_MAX)
        : setTimeout(callback, restMs);
    eachTimer?.(timer);
  };
  wait(delayMs);
  return () => clearTimeout(timer);
}
