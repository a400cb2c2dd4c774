// How the tests run: each file in a process of its own, two at a time, against one real Postgres (test/harness/global_setup.ts).
// scripts/test.ts runs this with the gates and prints the totals.

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    // Bounds against hanging, not on speed: the machine may be shared. What polls waits long, too, for what comes at once when all is well.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
    teardownTimeout: 60_000,
    globalSetup: ["test/harness/global_setup.ts"],
    setupFiles: ["test/harness/file_setup.ts"],
    allowOnly: false,
    dangerouslyIgnoreUnhandledErrors: false,
    reporters: ["default"],
  },
});
