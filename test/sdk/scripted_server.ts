// A real HTTP server that speaks Connect and answers as a test scripts it.
// Called by the tests of the SDK and the CLI. Knows no behaviour of the product.
// Records every request with its method and headers.

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError, type ConnectRouter, type ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { AuditService } from "../../proto/gen/orloj/v1/audit_pb.ts";
import { DeadLetterService } from "../../proto/gen/orloj/v1/dead_letter_pb.ts";
import { type Diagnostic, ErrorInfoSchema, ManifestErrorsSchema } from "../../proto/gen/orloj/v1/error_pb.ts";
import { FleetService } from "../../proto/gen/orloj/v1/fleet_pb.ts";
import { ManifestService } from "../../proto/gen/orloj/v1/manifest_pb.ts";
import { PolicyService } from "../../proto/gen/orloj/v1/policy_pb.ts";
import { NodeState, type Run, RunSchema, RunState, WorkflowService } from "../../proto/gen/orloj/v1/workflow_pb.ts";

/** What a test scripts, service by service. */
export interface Script {
  readonly manifests?: Partial<ServiceImpl<typeof ManifestService>>;
  readonly workflows?: Partial<ServiceImpl<typeof WorkflowService>>;
  readonly fleet?: Partial<ServiceImpl<typeof FleetService>>;
  readonly deadLetters?: Partial<ServiceImpl<typeof DeadLetterService>>;
  readonly policies?: Partial<ServiceImpl<typeof PolicyService>>;
  readonly audit?: Partial<ServiceImpl<typeof AuditService>>;
}

/** A request as the server saw it. */
export interface Seen {
  readonly method: string;
  readonly authorization: string | null;
  readonly timeoutMs: string | null;
}

/** A running scripted server; closed at the end of `await using`. */
export interface ScriptedServer extends AsyncDisposable {
  readonly endpoint: string;
  readonly seen: readonly Seen[];
  /** Ends every connection at once, as a killed server does. */
  breakConnections(): void;
}

/** Starts a scripted server on a free port. */
export async function startScriptedServer(script: Script): Promise<ScriptedServer> {
  const seen: Seen[] = [];
  const routes = (router: ConnectRouter) => {
    router.service(ManifestService, script.manifests ?? {});
    router.service(WorkflowService, script.workflows ?? {});
    router.service(FleetService, script.fleet ?? {});
    router.service(DeadLetterService, script.deadLetters ?? {});
    router.service(PolicyService, script.policies ?? {});
    router.service(AuditService, script.audit ?? {});
  };
  const adapter = connectNodeAdapter({ routes });
  const server: Server = createServer((request, response) => {
    seen.push({
      method: request.url?.split("/").at(-1) ?? "",
      authorization: request.headers.authorization ?? null,
      timeoutMs: (request.headers["connect-timeout-ms"] as string | undefined) ?? null,
    });
    adapter(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    breakConnections: () => server.closeAllConnections(),
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** An error as the control plane words it. */
export function refusal(
  code: Code,
  reason: string,
  message: string,
  metadata: Record<string, string> = {},
  diagnostics: readonly Diagnostic[] = [],
): ConnectError {
  const error = new ConnectError(message, code, undefined, [
    { desc: ErrorInfoSchema, value: { reason, domain: "orloj.dev", metadata } },
  ]);
  if (diagnostics.length > 0) {
    error.details.push({ desc: ManifestErrorsSchema, value: { diagnostics: [...diagnostics] } });
  }
  return error;
}

/** A run of two nodes, triage → reply. */
export function runOf(id: string, fields: MessageInitShape<typeof RunSchema> = {}): Run {
  const init = {
    id,
    namespace: "support",
    workflow: "refund-flow",
    state: RunState.RUNNING,
    createTime: timestampFromMs(1_700_000_000_000),
    requester: { id: "dev", kind: "user", method: "development-token" },
    nodes: [
      { name: "triage", state: NodeState.ACTIVE, target: "triage" },
      { name: "reply", state: NodeState.PENDING, target: "writer" },
    ],
    edges: [{ from: "triage", to: "reply", outcome: "succeeded" }],
    ...fields,
  };
  return create(RunSchema, init as object as MessageInitShape<typeof RunSchema>);
}

/** The same run, SUCCEEDED with an output. */
export function succeeded(id: string, output: unknown = { text: "done" }): Run {
  return runOf(id, {
    state: RunState.SUCCEEDED,
    outputJson: JSON.stringify(output),
    endTime: timestampFromMs(1_700_000_004_200),
    nodes: [
      { name: "triage", state: NodeState.SUCCEEDED, target: "triage" },
      { name: "reply", state: NodeState.SUCCEEDED, target: "writer" },
    ],
  });
}
