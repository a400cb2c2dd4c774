// What a denial says is for the requester and the trail: no prompt that a model server is sent holds it, no frame to a worker, no log of one.

import { expect, test } from "vitest";
import { TcpProxy } from "../chaos/tcp_proxy.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { askingAgent, completion, httpTool, policy, single, system, template } from "./documents.ts";
import { startStage } from "./stage.ts";

const NOTHING = { match: { "requester.groups": ["nobody"] } };
const MESSAGE = "canary-message-7719";
const TELLING = [MESSAGE, "canary-policy-8841", "not_permitted", "policy_missing", "undeclared", "POLICY_DENIED"];

test("neither the model, nor the frames to a worker, nor its logs tell why a call or an agent was denied; the requester is told", async () => {
  const stage = await startStage();
  const { client, sink, server } = stage;
  const [host = "", port = ""] = server.worker.replace(/^https?:\/\//, "").split(":");
  const proxy = new TcpProxy(() => [{ host, port: Number(port) }], Math.random);
  atEndOfFile(() => proxy.close());
  let down = "";
  proxy.onDown = (_link, chunk) => {
    down += chunk.toString("latin1");
    return true;
  };
  const worker = await stage.worker("w", { ORLOJ_WORKER_ENDPOINTS: `127.0.0.1:${await proxy.listen()}` });
  const prompts: string[] = [];
  const asks = (...names: string[]) =>
    completion({ toolCalls: names.map((name) => ({ name, arguments: { order: "o-1" } })) });
  // Two calls in one turn: the first is allowed, the second is not.
  sink.respond("/v1/chat/completions", ({ body }) => {
    prompts.push(body);
    if (body.includes("stranger")) return asks("nowhere");
    return body.includes('"role":"tool"') ? completion({ content: '{"ok":true}' }) : asks("open", "closed");
  });
  const asking = (name: string, tools: readonly string[], prompt: string) =>
    askingAgent(name, `${sink.url}/v1`, {
      tools,
      prompt,
      errorHandling: { retry: { on: ["ToolFailed"], maxAttempts: 3 } },
    });
  await stage.apply(
    ...["open", "closed", "guarded"].map((name) =>
      httpTool(name, `/${name}`, { effect: "write", ...(name === "guarded" && { guarded: true }) }),
    ),
    asking("caller", ["open", "closed"], "go on"),
    ...single("caller"),
    asking("stranger", ["open"], "stranger"),
    ...single("stranger"),
    asking("barred", ["open"], "barred"),
    system("barred", {
      nodes: [
        { name: "first", agent: "caller" },
        { name: "second", agent: "barred" },
      ],
      output: { schema: {}, value: "done" },
    }),
    template("barred"),
    ...[
      [
        "tool",
        {
          attachTo: [{ kind: "Tool", name: "closed" }],
          checkpoints: ["tool.call"],
          // By the arguments, so that the agent runs.
          allow: { any: [NOTHING, { cel: 'args.order == "o-2"' }] },
        },
      ] as const,
      ["agent", { attachTo: [{ kind: "Agent", name: "barred" }], checkpoints: ["agent.run"] }] as const,
    ].map(([of, spec]) => policy(`canary-policy-8841-${of}`, { allow: NOTHING, message: MESSAGE, ...spec })),
  );
  for (const workflow of ["caller", "stranger", "barred"]) {
    const run = await client.workflow(workflow).invoke();
    await expect(run.result(), workflow).rejects.toMatchObject({ state: "POLICY_DENIED" });
    const [denied] = await stage.trail(run, "task.denied");
    // It is told where it belongs.
    expect(denied?.detail.decision.reason).toBe(workflow === "stranger" ? "undeclared" : "not_permitted");
    if (workflow !== "stranger") expect((await run.get()).failure?.message).toContain(MESSAGE);
  }
  expect(sink.count("/open")).toBeGreaterThan(0);
  expect(sink.count("/closed")).toBe(0);
  expect(prompts.length).toBeGreaterThan(0);
  // Not vacuous: answers and frames did pass here.
  expect(down).toContain("Idempotency-Key");
  expect(down).toContain("denied");
  const said = { prompts: prompts.join("\n"), frames: down, log: worker.output.stdout + worker.output.stderr };
  for (const [where, text] of Object.entries(said)) {
    expect(
      TELLING.filter((words) => text.includes(words)),
      where,
    ).toEqual([]);
  }
});
