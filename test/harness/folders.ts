// Temporary folders for tests, removed at the end of the file.
// They lie under the folder of this run (TMPDIR of every test process), where anything left behind fails the run.

import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atEndOfFile } from "./cleanup.ts";

/** A new empty folder; short, so that a Unix socket fits below it. */
export async function temporaryFolder(prefix = "t"): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `${prefix}-`));
  // The user who runs Postgres for root must be able to pass through.
  await chmod(folder, 0o711);
  atEndOfFile(() => rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  return folder;
}
