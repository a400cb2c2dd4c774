// Asks an agent that is an HTTP endpoint: one POST, one bounded answer, whose text is the result.
// Called by agent/outside_agent.ts. The address is checked like that of every tool (network.ts); no redirect is followed, which would
// carry headers and input elsewhere. Never quotes the URL or a header in a message: both may hold secrets.

import { failedRun, type HttpMeans, type ToolExecution, type ToolRun } from "./executor.ts";
import { exchange, type Progress, readBody, statusFailure, withinBounds } from "./http_exchange.ts";
import type { Network } from "./network.ts";

/** Characters of a refusal's body that are told. */
const QUOTE_CHARACTERS = 300;

/** Asks once; the result of a run is the text of a 2xx answer. */
export function askEndpoint(execution: ToolExecution<HttpMeans>, network: Network): Promise<ToolRun> {
  return withinBounds(execution, network.clock, (signal, progress) => ask(execution, network, signal, progress));
}

async function ask(
  execution: ToolExecution<HttpMeans>,
  network: Network,
  signal: AbortSignal,
  progress: Progress,
): Promise<ToolRun> {
  const { method, url, headers, body, allowPrivateNetwork } = execution.means;
  if (!URL.canParse(url)) return failedRun("RequestInvalid", "the agent's url is not a URL", false);
  const target = { method, url: new URL(url), headers, body };
  const response = await exchange(target, allowPrivateNetwork, network, signal, progress);
  const status = response.statusCode ?? 0;
  if (status >= 300 && status < 400) {
    response.destroy();
    const message = `the endpoint redirected (${status}), which is not followed; write its last address into http.url`;
    return failedRun("RequestInvalid", message, true);
  }
  const refusal = statusFailure(response, network.clock);
  if (refusal !== undefined) return withReason(refusal, await bodyOf(response, execution, signal), execution);
  if ((response.headers["content-encoding"] ?? "identity") !== "identity") {
    return failedRun("ResponseInvalid", "the endpoint compressed its answer though it was not asked to", true);
  }
  const text = await readBody(response, execution.resultBytesMax, signal);
  return { ok: true, result: text.toString("utf8") };
}

type Response = Parameters<typeof readBody>[0];

// The status is the answer; a reason that cannot be read whole is not quoted: a secret that is cut would not be known as one.
async function bodyOf(response: Response, execution: ToolExecution<HttpMeans>, signal: AbortSignal): Promise<string> {
  const text = await readBody(response, execution.resultBytesMax, signal).catch(() => undefined);
  return text?.toString("utf8") ?? "";
}

function withReason(run: ToolRun, body: string, { redactor }: ToolExecution<HttpMeans>): ToolRun {
  const clean = redactor
    .text(body)
    .replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ")
    .trim();
  if (run.ok || clean === "") return run;
  const told = clean.length > QUOTE_CHARACTERS ? `${clean.slice(0, QUOTE_CHARACTERS)}…` : clean;
  return { ok: false, failure: { ...run.failure, message: `${run.failure.message}: ${told}` } };
}
