// Listings: formats, columns, sorting, paging and watching, alike for every verb that lists.
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { expect, test, vi } from "vitest";
import { LIST_FORMATS } from "../../cli/listing.ts";
import { WorkerSchema } from "../../proto/gen/orloj/v1/fleet_pb.ts";
import { type ListResourcesRequest, ResourceSchema } from "../../proto/gen/orloj/v1/manifest_pb.ts";
import { type ListRunsRequest, RunState } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { refusal, runOf, type Script, startScriptedServer } from "../sdk/scripted_server.ts";
import { runOrloj, runVerb } from "./run_orloj.ts";

vi.setConfig({ testTimeout: 90_000 });

const LISTS = [
  ["get", "tools"],
  ["runs"],
  ["tasks", "run_1"],
  ["workers"],
  ["leases"],
  ["dead-letters", "list"],
  ["token", "list"],
  ["audit", "list"],
];

test.each(LISTS)("orloj %s %s takes every format, --limit and --page-token", async (...words) => {
  const help = await runVerb([...words, "--help"]);
  expect(help.out).toContain("--limit");
  expect(help.out).toContain("--page-token");
  expect(help.out.replace(/\s+/g, " ")).toContain(`choices: ${LIST_FORMATS.map((format) => `"${format}"`).join(", ")}`);
});

const tool = (name: string, generation: number, labels: Record<string, string> = {}) =>
  create(ResourceSchema, {
    ...{ kind: "Tool", namespace: "default", name, generation: BigInt(generation), labels },
    ...{ digest: `sha256:${"ab".repeat(32)}`, createTime: timestampFromMs(1_700_000_000_000) },
  });

const TOOLS: Script = {
  manifests: { listResources: () => ({ resources: [tool("t10", 2), tool("t9", 10), tool("t1", 1, { team: "a" })] }) },
};

test("-o name prints what other verbs take, -o wide more columns, -o json whether there is more", async () => {
  await using server = await startScriptedServer(TOOLS);
  const get = (...words: string[]) => runVerb(["get", "tools", ...words], server);
  expect((await get("-o", "name")).out).toBe("tool/t10\ntool/t9\ntool/t1\n");
  expect((await get()).out).not.toContain("DIGEST");
  expect((await get("-o", "wide")).out).toMatch(/DIGEST\n.*sha256:abababababab\n/);
  expect(JSON.parse((await get("-o", "json")).out)).toMatchObject({
    ...{ more: false, nextPageToken: "", items: [{ name: "t10" }, { name: "t9" }, { name: "t1" }] },
  });
});

test("--sort orders by a column as people count, both ways, and names the columns when there is none", async () => {
  await using server = await startScriptedServer(TOOLS);
  const sorted = async (by: string) => (await runVerb(["get", "tools", "--sort", by, "-o", "name"], server)).out;
  expect(await sorted("name")).toBe("tool/t1\ntool/t9\ntool/t10\n");
  expect(await sorted("-generation")).toBe("tool/t9\ntool/t10\ntool/t1\n");
  const wrong = await runVerb(["get", "tools", "--sort", "size"], server);
  expect(wrong).toMatchObject({ code: 2, err: expect.stringContaining("use one of KIND, NAMESPACE, NAME") });
});

test("filters are sent as they are said", async () => {
  const asked: { runs?: ListRunsRequest; resources?: ListResourcesRequest } = {};
  await using server = await startScriptedServer({
    workflows: {
      listRuns(request) {
        asked.runs = request;
        return { runs: [] };
      },
    },
    manifests: {
      listResources(request) {
        asked.resources = request;
        return { resources: [] };
      },
    },
  });
  const words = ["--workflow", "w", "-s", "FAILED", "-t", "ticket=T-1", "--since", "2030-01-01T00:00:00Z"];
  await runVerb(["runs", ...words, "--until", "2030-01-02T00:00:00Z"], server);
  expect(asked.runs).toMatchObject({ workflow: "w", states: [RunState.FAILED], tags: { ticket: "T-1" } });
  expect(Number(asked.runs?.startTime?.seconds) * 1_000).toBe(Date.parse("2030-01-01T00:00:00Z"));
  expect(Number(asked.runs?.endTime?.seconds) * 1_000).toBe(Date.parse("2030-01-02T00:00:00Z"));
  await runVerb(["get", "agents", "-l", "team=a", "-A"], server);
  expect(asked.resources).toMatchObject({ kind: "Agent", labels: { team: "a" }, namespace: "" });
  const wrong = await runVerb(["runs", "--since", "yesterday"], server);
  expect(wrong).toMatchObject({ code: 2, err: expect.stringContaining("use a duration such as 15m") });
});

test("a listing stops at its limit and says where to go on; the token goes on there", async () => {
  const tokens: string[] = [];
  await using server = await startScriptedServer({
    workflows: {
      listRuns({ pageToken, pageSize }) {
        tokens.push(pageToken);
        const first = pageToken === "" ? 0 : Number(pageToken);
        const runs = Array.from({ length: Math.min(pageSize, 3) }, (_, index) => runOf(`run_${first + index}`));
        return { runs, nextPageToken: first < 6 ? String(first + runs.length) : "" };
      },
    },
  });
  const first = await runVerb(["runs", "--limit", "4", "-o", "name"], server);
  expect(first.out).toBe("run_0\nrun_1\nrun_2\nrun_3\n");
  expect(first.err).toBe(
    "There are more than these 4 runs: narrow them, raise --limit, or go on with --page-token 4.\n",
  );
  const rest = await runVerb(["runs", "--page-token", "4", "-o", "json"], server);
  expect(JSON.parse(rest.out)).toMatchObject({
    more: false,
    items: [{ id: "run_4" }, { id: "run_5" }, { id: "run_6" }, {}, {}, {}],
  });
  expect(tokens).toEqual(["", "3", "4", "7"]);
});

test("workers are narrowed by state and label", async () => {
  const worker = (name: string, state: string, labels: Record<string, string>) =>
    create(WorkerSchema, { sessionId: `ses_${name}`, name, state, labels });
  await using server = await startScriptedServer({
    fleet: {
      listWorkers: () => ({
        workers: [
          worker("a", "active", { zone: "eu" }),
          worker("b", "draining", { zone: "eu" }),
          worker("c", "active", {}),
        ],
      }),
    },
  });
  const names = async (...words: string[]) => (await runVerb(["workers", "-o", "name", ...words], server)).out;
  expect(await names("-s", "active")).toBe("ses_a\nses_c\n");
  expect(await names("-l", "zone=eu", "-s", "draining")).toBe("ses_b\n");
});

test("--watch tells what is new, changed and gone, and survives a server that is away for a moment", async () => {
  let look = 0;
  await using server = await startScriptedServer({
    workflows: {
      listRuns() {
        look += 1;
        if (look >= 4 && look <= 6) throw refusal(Code.Unavailable, "STORAGE_UNAVAILABLE", "not now");
        if (look === 1) return { runs: [runOf("run_a"), runOf("run_b")] };
        if (look <= 3) return { runs: [runOf("run_c"), runOf("run_a", { state: RunState.SUCCEEDED }), runOf("run_b")] };
        return { runs: [runOf("run_c"), runOf("run_b")] };
      },
    },
  });
  const ended = await runOrloj(["runs", "--watch", "--interval", "100ms"], {
    endpoint: server.endpoint,
    onOutput: (out, interrupt) => out.includes("gone") && interrupt(),
  });
  expect(ended.code).toBe(130);
  expect(ended.err).toBe("The server cannot answer now; the watch goes on.\n");
  const lines = ended.out.trimEnd().split("\n");
  expect(lines.map((line) => line.split(/\s+/).slice(0, 4).join(" "))).toEqual([
    ...["RUN NAMESPACE WORKFLOW STATE", "run_a support refund-flow RUNNING", "run_b support refund-flow RUNNING"],
    ...["run_c support refund-flow RUNNING", "run_a support refund-flow SUCCEEDED", "run_a gone"],
  ]);
  const changes = await runOrloj(["runs", "-w", "--interval", "100ms", "-o", "json"], {
    endpoint: server.endpoint,
    onOutput: (out, interrupt) => out.includes("run_b") && interrupt(),
  });
  expect(JSON.parse(changes.out.split("\n")[0] ?? "")).toMatchObject({ type: "there", item: { id: "run_c" } });
});

test.each(["0s", "2h", "soon"])("--interval %s is refused", async (interval) => {
  const ended = await runVerb(["runs", "--watch", "--interval", interval], { endpoint: "http://127.0.0.1:9" });
  expect(ended).toMatchObject({ code: 2, err: expect.stringContaining("use a duration from 100ms to 1h") });
});
