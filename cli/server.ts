// The verb `orloj server`: starts the control plane in this process.
// Called by bin/orloj.ts. Flags and their help are the server's own.
// Loads the server only when asked: a client verb must not pay for it.

/** Runs the server until it is stopped; resolves with the exit code. */
export async function server(argv: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const { runServer } = await import("../server/main.ts");
  return runServer(argv, env);
}
