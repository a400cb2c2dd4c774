// The executors of this worker, one a kind of means, and its ways to agents outside of it.
// Called once by worker.ts with what the configuration allows.
// A new tool kind is one more line here and one more member of ToolMeans.

import type { Clock } from "../../kit/clock.ts";
import { createAddressGuard } from "./addresses.ts";
import { type AgentCalls, createAgentCalls } from "./agent_calls.ts";
import { createCommandExecutor } from "./command.ts";
import type { ControlPlaneEndpoints } from "./control_plane.ts";
import { createDatabaseExecutor } from "./database.ts";
import type { ToolExecutors } from "./executor.ts";
import { createHttpExecutor } from "./http.ts";
import { createMcpExecutor } from "./mcp.ts";
import { MemoryWatch } from "./memory_watch.ts";
import { createWebhookExecutor } from "./webhook.ts";

/** What the operator allows tools, and agents outside, on this worker. */
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

/** What this worker executes and reaches. */
export interface Executors {
  readonly tools: ToolExecutors;
  readonly agents: AgentCalls;
}

/**
 * All executors.
 *
 * @throws DomainError CONFIG_INVALID for a range that is none.
 */
export function createExecutors(clock: Clock, options: ToolOptions): Executors {
  const network = { guard: createAddressGuard(options.privateNetworks, options.controlPlane), clock };
  const { commandPath, workDir } = options;
  const memory = new MemoryWatch(clock, options.memoryBytes);
  const commands = { clock, commandPath, workDir, memory };
  return {
    tools: {
      http: createHttpExecutor(network),
      webhook: createWebhookExecutor(network),
      database: createDatabaseExecutor({ ...network, workDir, memory }),
      mcp: createMcpExecutor({ ...network, commandPath, workDir, memory }),
      command: createCommandExecutor(commands),
    },
    agents: createAgentCalls(network, commands),
  };
}
