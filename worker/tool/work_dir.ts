// Finds a path inside the directory that tools may work in. Called by the executors that touch files: command, database, mcp.
// Real paths are compared, so that a symlink inside the directory cannot lead out of it.
// Decides where, never whether: rights of the worker's user still count.

import { realpathSync } from "node:fs";
import { isAbsolute, relative, resolve } from "node:path";

/** The real path of what is wanted, which lies in the base or is it; undefined if it is elsewhere or nowhere. "" is the base. */
export function insideWorkDir(base: string, wanted: string): string | undefined {
  try {
    const root = realpathSync(base);
    const real = realpathSync(resolve(root, wanted === "" ? "." : wanted));
    const path = relative(root, real);
    return path === ".." || path.startsWith("../") || isAbsolute(path) ? undefined : real;
  } catch {
    return undefined;
  }
}
