// Loaded into the server under fuzz with --import, before anything of the product: samples its event loop from the signal SIGUSR2 on,
// and writes what it saw to the file named by FUZZ_PROBE_FILE at each further SIGUSR2. The product knows nothing of it.

import { renameSync, writeFileSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import { startProbe } from "../harness/loop_probe.ts";

const file = process.env["FUZZ_PROBE_FILE"];
if (isMainThread && file !== undefined) {
  const probe = startProbe();
  let begun = false;
  process.on("SIGUSR2", () => {
    const { block, delay } = probe.read();
    // What can be freed is freed first, and given back, else it is the laziness of the collector that is measured: an ordinary
    // collection keeps the pages of a heap of 180 MiB of which 40 are used. It takes its time, in which no block is counted.
    globalThis.gc?.({ type: "major", execution: "sync", flavor: "last-resort" });
    const { growth, peakGrowth } = probe.read();
    if (!begun) probe.reset();
    begun = true;
    // Whole or not at all: the reader takes the file as soon as it is there.
    writeFileSync(`${file}.part`, JSON.stringify({ block, delay, growth, peakGrowth }));
    renameSync(`${file}.part`, file);
  });
}
