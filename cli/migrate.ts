// The verb `orloj migrate`: brings a database to the schema of this release.
// Called by bin/orloj.ts. Flags and their help are the server's own.
// Loads the server's storage only when asked: a client verb must not pay for it.

/** Migrates; resolves with the exit code. */
export async function migrate(argv: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const { runMigrate } = await import("../server/upgrade.ts");
  return runMigrate(argv, env);
}
