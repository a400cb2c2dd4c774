// The verb `orloj sandbox`: starts the service that the examples work on, in this process.
// Called by bin/orloj.ts. Flags and their help are the sandbox's own.
// Loads it only when asked: a client verb must not pay for it.

/** Runs the sandbox until it is stopped; resolves with the exit code. */
export async function sandbox(argv: string[]): Promise<number> {
  const { runSandbox } = await import("../sandbox/main.ts");
  return runSandbox(argv);
}
