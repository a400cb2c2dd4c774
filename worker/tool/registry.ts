// The executors of this worker, one a kind of means.
// Called once by worker.ts with what the configuration allows.
// A new tool kind is one more line here and one more member of ToolMeans.

import type { Clock } from "../../kit/clock.ts";
import { createAddressGuard } from "./addresses.ts";
import { createCommandExecutor } from "./command.ts";
import type { ControlPlaneEndpoints } from "./control_plane.ts";
import { createDatabaseExecutor } from "./database.ts";
import type { ToolExecutors } from "./executor.ts";
import { createHttpExecutor } from "./http.ts";
import { createMcpExecutor } from "./mcp.ts";
import { MemoryWatch } from "./memory_watch.ts";
import { createWebhookExecutor } from "./webhook.ts";

/** What the operator allows tools on this worker. */
export interface ToolOptions {
  /** CIDR ranges that tools with allowPrivateNetwork may reach. */
  readonly privateNetworks: readonly string[];
  readonly commandPath: string;
  readonly workDir: string;
  /** Memory that the processes of one call may hold together. */
  readonly memoryBytes: number;
  /** What no tool may reach. */
  readonly controlPlane: ControlPlaneEndpoints;
}

/**
 * All executors.
 *
 * @throws DomainError CONFIG_INVALID for a range that is none.
 */
export function createToolExecutors(clock: Clock, options: ToolOptions): ToolExecutors {
  const network = { guard: createAddressGuard(options.privateNetworks, options.controlPlane), clock };
  const { commandPath, workDir } = options;
  const memory = new MemoryWatch(clock, options.memoryBytes);
  return {
    http: createHttpExecutor(network),
    webhook: createWebhookExecutor(network),
    database: createDatabaseExecutor({ ...network, workDir, memory }),
    mcp: createMcpExecutor({ ...network, commandPath, workDir, memory }),
    command: createCommandExecutor({ clock, commandPath, workDir, memory }),
  };
}
