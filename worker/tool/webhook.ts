// Executes webhook tools: one signed POST, delivered when the receiver answers 2xx.
// A redirect is a failure: the signature is meant for one receiver. Called through the executor registry.
// Never quotes the URL or a header in a message.

import { failedRun, type ToolExecution, type ToolExecutor, type ToolRun, type WebhookMeans } from "./executor.ts";
import { exchange, type Progress, readBody, statusFailure, withinBounds } from "./http_exchange.ts";
import type { Network } from "./network.ts";

/** See the file header. */
export function createWebhookExecutor(network: Network): ToolExecutor<WebhookMeans> {
  return {
    run: (execution) =>
      withinBounds(execution, network.clock, (signal, progress) => deliver(execution, network, signal, progress)),
  };
}

async function deliver(
  execution: ToolExecution<WebhookMeans>,
  network: Network,
  signal: AbortSignal,
  progress: Progress,
): Promise<ToolRun> {
  const { url, headers, body, allowPrivateNetwork } = execution.means;
  if (!URL.canParse(url)) return failedRun("RequestInvalid", "the tool's url is not a URL", false);
  const target = { method: "POST", url: new URL(url), headers, body };
  const response = await exchange(target, allowPrivateNetwork, network, signal, progress);
  // What a receiver says about a delivery is for nobody; reading it lets it end its answer.
  await readBody(response, execution.resultBytesMax, signal);
  const status = response.statusCode ?? 0;
  const failure = statusFailure(response, network.clock);
  if (failure !== undefined) return failure;
  if (status < 200 || status >= 300) {
    return failedRun("ResponseInvalid", `the receiver answered ${status}, which is no delivery`, true);
  }
  return { ok: true, result: { delivered: true, status } };
}
