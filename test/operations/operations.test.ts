// The lines of docs/operations.md, run as they stand against a real server: every unary method over gRPC with buf curl and
// reflection, the streams, and JSON over HTTP/1.1. In a line, 127.0.0.1:7601 stands for the API, :7603 for ops, $ORLOJ_TOKEN for the token.

import { readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { AuditService } from "../../proto/gen/orloj/v1/audit_pb.ts";
import { DeadLetterService } from "../../proto/gen/orloj/v1/dead_letter_pb.ts";
import { FleetService } from "../../proto/gen/orloj/v1/fleet_pb.ts";
import { ManifestService } from "../../proto/gen/orloj/v1/manifest_pb.ts";
import { PolicyService } from "../../proto/gen/orloj/v1/policy_pb.ts";
import { TokenService } from "../../proto/gen/orloj/v1/token_pb.ts";
import { WorkflowService } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { createClient } from "../../sdk/index.ts";
import { type ServerProcess, startProcess, startServer, startWorker } from "../harness/processes.ts";

const ROOT = join(import.meta.dirname, "../..");
const PAGE = readFileSync(join(ROOT, "docs/operations.md"), "utf8");
const SERVICES = [
  AuditService,
  DeadLetterService,
  FleetService,
  ManifestService,
  PolicyService,
  TokenService,
  WorkflowService,
];
const METHODS = SERVICES.flatMap((service) => service.methods.map((method) => `${service.typeName}/${method.name}`));
const LINE_TIMEOUT_MS = 20_000;

function fenced(info: string): string[] {
  const blocks = [...PAGE.matchAll(/^```(sh[^\n]*)\n([\s\S]*?)^```/gm)].filter((block) => block[1] === info);
  return blocks.flatMap((block) => (block[2] as string).replaceAll("\\\n", " ").trim().split("\n"));
}

const BUF_LINES = fenced("sh limit=180s");
const CURL_LINES = fenced("sh").filter((line) => line.startsWith("curl "));

let server: ServerProcess;
let token: string;

// One task is parked; one slot is held by runs that were made first: whatever the lines invoke stays pending, and there is a lease to revoke.
beforeAll(async () => {
  server = await startServer();
  ({ token } = JSON.parse(readFileSync(join(server.home, "config.json"), "utf8")) as { token: string });
  const client = createClient({ endpoint: server.api, token });
  const files = [{ name: "slow.yaml", content: SLOW }];
  await client.manifests.apply({ files });
  await client.workflow("broken").invoke();
  for (let runs = 0; runs < 3; runs += 1) await client.workflow("slow").invoke();
  const stop = new AbortController();
  const leased = client.audit.watchAuditRecords(
    { filter: { kinds: ["task.leased"] }, afterId: 1n },
    { signal: stop.signal },
  );
  await startWorker(server, { env: { ORLOJ_WORKER_SLOTS: "1", ORLOJ_DRAIN_WINDOW: "1s" } });
  // The broken one is parked first, then a slow one is held.
  let held = 0;
  for await (const { records } of leased) {
    held += records.length;
    if (held > 1) break;
  }
  stop.abort();
});

const SLOW = `
apiVersion: orloj.dev/v1
kind: Agent
metadata: {name: slow}
spec: {model: {provider: scripted, name: slow, script: [{delayMs: 60000, text: done}]}}
---
apiVersion: orloj.dev/v1
kind: AgentSystem
metadata: {name: slow}
spec:
  nodes: [{name: slow, agent: slow}]
  output: {value: "\${{ has(nodes.slow.output) ? nodes.slow.output : {} }}"}
---
apiVersion: orloj.dev/v1
kind: WorkflowTemplate
metadata: {name: slow}
spec: {system: slow}
---
apiVersion: orloj.dev/v1
kind: Agent
metadata: {name: broken}
spec: {model: {provider: scripted, name: broken, script: [{error: ModelRefused}]}}
---
apiVersion: orloj.dev/v1
kind: AgentSystem
metadata: {name: broken}
spec:
  nodes: [{name: broken, agent: broken}]
  output: {value: "\${{ has(nodes.broken.output) ? nodes.broken.output : {} }}"}
---
apiVersion: orloj.dev/v1
kind: WorkflowTemplate
metadata: {name: broken}
spec: {system: broken}
`;

async function shell(line: string) {
  const running = startProcess("sh", ["-c", line.replaceAll("127.0.0.1:7601", server.api.replace("http://", ""))], {
    env: {
      ORLOJ_TOKEN: token,
      PATH: [join(ROOT, "node_modules/.bin"), process.env["PATH"] ?? ""].join(delimiter),
    },
  });
  const { code } = await running.ended;
  return { code, ...running.output };
}

describe("buf curl over gRPC with reflection", () => {
  test("the page has a line for every method of the API, each over gRPC", () => {
    const called = new Set(
      BUF_LINES.flatMap((line) => [...line.matchAll(/127\.0\.0\.1:7601\/(\S+)/g)].map((found) => found[1])),
    );
    expect(METHODS.filter((method) => !called.has(method))).toEqual([]);
    expect(BUF_LINES.filter((line) => !line.includes("buf curl --protocol grpc --http2-prior-knowledge"))).toEqual([]);
  });

  // In the order of the page: each line works on what those before it made.
  test.each(BUF_LINES.map((line, index) => [`${index + 1} ${titleOf(line)}`, line] as const))(
    "line %s is answered",
    async (_, line) => {
      const { code, stdout, stderr } = await shell(line);
      expect({ code, stderr }).toMatchObject({ code: 0 });
      if (line.includes("--list-services")) {
        for (const service of ["Manifest", "Workflow", "Fleet", "Audit"])
          expect(stdout).toContain(`orloj.v1.${service}Service`);
        return;
      }
      if (line.includes("--list-methods")) {
        for (const method of METHODS) expect(stdout).toContain(method);
        return;
      }
      // The run that is watched never began: nothing was logged.
      if (line.includes("WatchTaskLogs")) return expect(stdout).toBe("");
      // A pipe hides the code of what runs before it; an answer is JSON.
      expect(stdout.trimStart()).toMatch(/^\{/);
      if (line.includes("WatchRun")) expect(stdout).toContain("RUN_STATE_CANCELLED");
      if (line.includes("WatchAuditRecords")) expect(stdout).toContain("recordJson");
      if (line.endsWith("WorkflowService/Invoke")) expect(stdout).toContain("run_");
    },
    LINE_TIMEOUT_MS,
  );

  test("without a token a line is refused", async () => {
    const line = BUF_LINES.find((each) => each.endsWith("WorkflowService/ListRuns")) ?? "";
    const { code, stdout } = await shell(line.replaceAll("$ORLOJ_TOKEN", "wrong"));
    expect(code).not.toBe(0);
    expect(stdout).toBe("");
  });
});

function titleOf(line: string): string {
  const methods = [...line.matchAll(/127\.0\.0\.1:7601\/(\S+)/g)].map((found) => found[1] as string);
  return methods.at(-1) ?? /--list-\w+/.exec(line)?.[0] ?? line;
}

describe("plain HTTP/1.1", () => {
  // Sent with fetch, which speaks HTTP/1.1, so that the test needs no curl.
  test.each(CURL_LINES)("%s", async (line) => {
    const url = (/http:\/\/\S+/.exec(line)?.[0] ?? "")
      .replace("http://127.0.0.1:7601", server.api)
      .replace("http://127.0.0.1:7603", server.ops);
    const headers = [...line.matchAll(/-H "([^:]+): ([^"]+)"/g)].map(
      (found) => [found[1] as string, (found[2] as string).replace("$ORLOJ_TOKEN", token)] as [string, string],
    );
    const body = /-d '([^']*)'/.exec(line)?.[1];
    const response = await fetch(url, body === undefined ? {} : { method: "POST", headers, body });
    expect(response.status).toBe(200);
    if (body !== undefined) expect(await response.json()).toMatchObject({ runs: expect.any(Array) });
  });

  test("the page has such lines", () => {
    expect(CURL_LINES.length).toBeGreaterThanOrEqual(2);
  });
});
