// Tools against the control plane that runs them: none of its listeners is reached, though the worker may reach loopback.

import { expect, test } from "vitest";
import { agent, httpTool, single } from "./documents.ts";
import { startStage } from "./stage.ts";

test("a tool cannot call the control plane's own listeners", async () => {
  const stage = await startStage({ leaseTtl: "20s" });
  await stage.worker("w1");
  const { server } = stage;
  for (const [name, url] of Object.entries({ api: server.api, worker: `http://${server.worker}`, ops: server.ops })) {
    const plain = url.replace(/^http:\/\/http/, "http");
    const http = { method: "GET", url: `${plain}/`, allowPrivateNetwork: true };
    const tool = httpTool(`own-${name}`, "/", { effect: "read", http });
    const script = [
      { when: "turn == 1", toolCalls: [{ name: "t", arguments: {} }] },
      { output: { got: "${{ results.t }}" } },
    ];
    await stage.apply(
      tool,
      agent(`own-${name}`, script, { tools: [{ ref: `own-${name}`, as: "t" }] }),
      ...single(`own-${name}`),
    );
    const run = await stage.client.workflow(`own-${name}`).invoke();
    expect(await run.result()).toMatchObject({
      got: { error: { class: "AddressForbidden", message: expect.stringContaining("control plane") } },
    });
  }
});
