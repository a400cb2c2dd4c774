// A grant as it travels to a worker, and how an agent is reached. Called by worker_facts.ts, once for each granted attempt, and by
// assignment.ts.
// Decides nothing and keeps nothing: what it makes holds secrets.
// The switch is exhaustive, so that the compiler names a kind of means that cannot travel yet.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { canonicalJson } from "../../kit/json.ts";
import type { AssignmentSchema, McpMeansSchema, ToolGrantSchema } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { AgentMeans } from "../commands/agent_means.ts";
import type { Grant } from "../commands/tool_facts.ts";
import type { CommandMeansValue, HttpMeansValue } from "../grant/render.ts";
import { durationOf } from "./wire.ts";

type WireGrant = MessageInitShape<typeof ToolGrantSchema>;

/** See the file header. */
export function wireGrant(grant: Grant): WireGrant {
  return {
    grantId: grant.grantId,
    requestId: grant.requestId,
    timeout: durationOf(grant.timeoutMs),
    resultBytesMax: BigInt(grant.resultBytesMax),
    outputSchemaJson: grant.outputSchemaJson ?? "",
    means: wireMeans(grant.means),
    secrets: [...grant.secrets],
  };
}

function wireMeans(means: Grant["means"]): NonNullable<WireGrant["means"]> {
  switch (means.kind) {
    case "http":
      return { case: "http", value: wireHttp(means) };
    case "command":
      return { case: "command", value: wireCommand(means) };
    case "database": {
      const { driver, place, statement, parameters, readOnly, maxRows, allowPrivateNetwork, requestId } = means;
      const parametersJson = parameters.map((value) => canonicalJson(value));
      const bounds = { readOnly, rowsMax: maxRows, allowPrivateNetwork, requestId };
      return { case: "database", value: { driver, place, statement, parametersJson, ...bounds } };
    }
    case "mcp": {
      const { server, tool, requestId } = means;
      const call = { tool, argumentsJson: canonicalJson(means.arguments), requestId };
      return { case: "mcp", value: { ...call, server: wireServer(server) } };
    }
    case "webhook": {
      const { url, headers, body, allowPrivateNetwork } = means;
      return { case: "webhook", value: { url, headers: { ...headers }, body, allowPrivateNetwork } };
    }
  }
}

function wireHttp({ method, url, headers, body, allowPrivateNetwork }: HttpMeansValue) {
  const content = { body: body ?? new Uint8Array(), hasBody: body !== undefined };
  return { method, url, headers: { ...headers }, ...content, allowPrivateNetwork };
}

function wireCommand({ argv, stdin, env, workDir }: CommandMeansValue) {
  const input = { stdin: stdin ?? new Uint8Array(), hasStdin: stdin !== undefined };
  return { argv: [...argv], ...input, env: { ...env }, workDir: workDir ?? "" };
}

/** How an agent is reached, as it travels. */
export function wireAgent({
  means,
  secrets,
}: AgentMeans): Pick<MessageInitShape<typeof AssignmentSchema>, "agentMeans" | "agentSecrets"> {
  return { agentMeans: wireAgentMeans(means), agentSecrets: [...secrets] };
}

function wireAgentMeans(means: AgentMeans["means"]): MessageInitShape<typeof AssignmentSchema>["agentMeans"] & {} {
  switch (means.kind) {
    case "http":
      return { case: "agentHttp", value: wireHttp(means) };
    case "command":
      return { case: "agentCommand", value: wireCommand(means) };
    case "model":
      return { case: "agentModel", value: { headers: { ...means.headers } } };
  }
}

type McpServer = Extract<Grant["means"], { kind: "mcp" }>["server"];

function wireServer(server: McpServer): MessageInitShape<typeof McpMeansSchema>["server"] & {} {
  if (server.kind === "remote") {
    const { url, headers, allowPrivateNetwork } = server;
    return { case: "remote", value: { url, headers: { ...headers }, allowPrivateNetwork } };
  }
  const { argv, env, workDir } = server;
  return { case: "local", value: { argv: [...argv], env: { ...env }, workDir: workDir ?? "" } };
}
