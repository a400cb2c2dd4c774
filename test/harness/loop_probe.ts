// Samples the event loop of a process: how long its thread was busy between two looks, by its own CPU time as well as by the clock.
// A block is the lesser of both: on a shared machine a thread that waits for its turn is late without having been blocked.
// A thread that waits without using CPU shows in `delay`, which has a bound of its own (verdict.ts of the fuzzer).

/** What a probe saw since its last reset. */
export interface LoopSample {
  /** Longest stretch in ms in which the thread itself was busy and the loop did not come round. */
  block: number;
  /** Longest time in ms between two looks by the clock, less the interval. */
  delay: number;
  /** Growth of the resident set in MiB since the reset: now, and at its peak. */
  growth: number;
  peakGrowth: number;
}

const INTERVAL_MS = 5;
const MIB = 1_048_576;

/** Starts sampling; unref'd, so that it keeps nothing alive. */
export function startProbe(): { reset(): void; read(): LoopSample } {
  let wall = performance.now();
  let cpu = process.threadCpuUsage();
  let rss = process.memoryUsage.rss();
  let sample: LoopSample = { block: 0, delay: 0, growth: 0, peakGrowth: 0 };
  let looks = 0;
  const look = () => {
    const gap = performance.now() - wall;
    const used = process.threadCpuUsage(cpu);
    const busy = (used.user + used.system) / 1_000;
    wall += gap;
    cpu = process.threadCpuUsage();
    sample.block = Math.max(sample.block, Math.min(gap, busy));
    sample.delay = Math.max(sample.delay, gap - INTERVAL_MS);
    looks += 1;
    if (looks % 20 === 0) weigh();
  };
  const weigh = () => {
    sample.growth = (process.memoryUsage.rss() - rss) / MIB;
    sample.peakGrowth = Math.max(sample.peakGrowth, sample.growth);
  };
  setInterval(look, INTERVAL_MS).unref();
  return {
    reset() {
      wall = performance.now();
      cpu = process.threadCpuUsage();
      rss = process.memoryUsage.rss();
      sample = { block: 0, delay: 0, growth: 0, peakGrowth: 0 };
    },
    read() {
      look();
      weigh();
      return sample;
    },
  };
}
