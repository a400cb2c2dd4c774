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
import { createWebhookExecutor } from "./webhook.ts";

/** What the operator allows tools on this worker. */
export interface ToolOptions {
  /** CIDR ranges that tools with allowPrivateNetwork may reach. */
  readonly privateNetworks: readonly string[];
  readonly commandPath: string;
  readonly workDir: string;
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
  return {
    http: createHttpExecutor(network),
    webhook: createWebhookExecutor(network),
    database: createDatabaseExecutor({ ...network, workDir: options.workDir }),
    mcp: createMcpExecutor({ ...network, commandPath: options.commandPath, workDir: options.workDir }),
    command: createCommandExecutor({ clock, commandPath: options.commandPath, workDir: options.workDir }),
  };
}
