// The worker program of the benchmark: agents that are code, on the library, as a user's program has them. Started by fleet.ts.
//
//   node bench/worker.ts --handlers noop,stamp --count 1     with the variables of `orloj worker`
//
// With a count above 1 it is so many workers, each with its own session and name, in one process. Says "worker ready" when all are.

import { parseArgs } from "node:util";
import { systemClock } from "../kit/clock.ts";
import { createWorker, type Handlers, workerOptions } from "../worker/index.ts";
import { machineMs } from "./machine_time.ts";
import { HOLD_MS } from "./manifests.ts";

const CODE: Handlers = {
  noop: () => ({}),
  // When it begins and ends, on the clock that the driver has, too.
  stamp: () => ({ begin: machineMs(), end: machineMs() }),
  hold: async (_input, { signal }) => {
    await systemClock().sleep(HOLD_MS, signal);
    return {};
  },
};

const { values } = parseArgs({
  options: { handlers: { type: "string", default: "noop,stamp" }, count: { type: "string", default: "1" } },
});
const names = values.handlers.split(",");
const handlers = Object.fromEntries(Object.entries(CODE).filter(([name]) => names.includes(name)));
const options = workerOptions(process.env);
const workers = Array.from({ length: Number(values.count) }, (_, index) =>
  createWorker({
    ...options,
    handlers,
    name: index === 0 ? options.name : `${options.name}-${index}`,
    // The worker that only holds must not take what others serve.
    ...(names.includes("hold") && { runtimes: [] }),
  }),
);
process.once("SIGTERM", () => {
  for (const worker of workers) void worker.stop();
});
await Promise.all(workers.map((worker) => worker.start()));
process.stdout.write("worker ready\n");
await Promise.all(workers.map((worker) => worker.ended));
