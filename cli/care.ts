// What backup, restore and upgrade share: whose home, and how their errors are told.
// Called by these verbs. The server's own code is loaded by the verb that needs it: no other pays for it.

import { resolve } from "node:path";
import { findHome } from "./connection.ts";
import type { Context } from "./context.ts";
import { CommandFailure, EXIT, fileErrorWords } from "./failure.ts";

/** What every such verb takes. */
export interface HomeOption {
  readonly home?: string;
}

/** Options for the server's part. */
export function careOptions(context: Context, { home }: HomeOption) {
  const { env, directory, clock } = context.host;
  const log = (line: string) => context.note(line);
  return { home: home === undefined ? findHome(env, directory) : resolve(directory, home), env, clock, log };
}

/** Runs the server's part; its errors become those of a command. */
export async function careful<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { reason, message, code, path } = error as {
      reason?: unknown;
      code?: string;
      path?: string;
      message: string;
    };
    if (reason === "CONFIG_INVALID") throw new CommandFailure("E-CONFIG-INVALID", message, EXIT.conflict);
    if (reason === "STORAGE_UNAVAILABLE") throw new CommandFailure("E-STORAGE-UNAVAILABLE", message, EXIT.unavailable);
    if (path === undefined || !/^E(ACCES|PERM|ROFS|NOSPC)$/.test(code ?? "")) throw error;
    const who = "run it as the user who owns the home of the server";
    throw new CommandFailure("E-CONFIG-INVALID", `${path}: ${fileErrorWords(error)}; ${who}`, EXIT.conflict);
  }
}

/** Bytes for people: 12 MiB. */
export function mebibytes(bytes: number): string {
  return `${Math.max(1, Math.round(bytes / 1_048_576))} MiB`;
}
