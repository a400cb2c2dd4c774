// A grant as it travels to a worker. Called by worker_facts.ts, once for each granted attempt.
// Decides nothing and keeps nothing: what it makes holds secrets.
// The switch is exhaustive, so that the compiler names a kind of means that cannot travel yet.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { canonicalJson } from "../../kit/json.ts";
import type { McpMeansSchema, ToolGrantSchema } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { Grant } from "../commands/tool_facts.ts";
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
    case "http": {
      const { method, url, headers, body, allowPrivateNetwork } = means;
      const content = { body: body ?? new Uint8Array(), hasBody: body !== undefined };
      return { case: "http", value: { method, url, headers: { ...headers }, ...content, allowPrivateNetwork } };
    }
    case "command": {
      const { argv, stdin, env, workDir } = means;
      const input = { stdin: stdin ?? new Uint8Array(), hasStdin: stdin !== undefined };
      return { case: "command", value: { argv: [...argv], ...input, env: { ...env }, workDir: workDir ?? "" } };
    }
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

type McpServer = Extract<Grant["means"], { kind: "mcp" }>["server"];

function wireServer(server: McpServer): MessageInitShape<typeof McpMeansSchema>["server"] & {} {
  if (server.kind === "remote") {
    const { url, headers, allowPrivateNetwork } = server;
    return { case: "remote", value: { url, headers: { ...headers }, allowPrivateNetwork } };
  }
  const { argv, env, workDir } = server;
  return { case: "local", value: { argv: [...argv], env: { ...env }, workDir: workDir ?? "" } };
}
