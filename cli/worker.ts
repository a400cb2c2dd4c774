// The verb `orloj worker`: starts a worker in this process.
// Called by bin/orloj.ts. Flags and their help are the worker's own.
// Loads the worker only when asked: a client verb must not pay for it.

/** Runs a worker until it is stopped; resolves with the exit code. */
export async function worker(argv: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const { runWorker } = await import("../worker/main.ts");
  return runWorker(argv, env);
}
