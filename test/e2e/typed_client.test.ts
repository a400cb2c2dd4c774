// Types generated from a running server: equal to those of the files it was given, compiled, and run against it.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { temporaryFolder } from "../harness/folders.ts";
import { runOrloj, startProcess } from "../harness/processes.ts";
import { SDK, typeCheck } from "../harness/type_check.ts";
import { startStage } from "./stage.ts";

vi.setConfig({ testTimeout: 60_000 });

const MANIFESTS = join(import.meta.dirname, "../cli/typed_workflows.yaml");
const CLIENT = `import { createClient } from "${SDK}";
import type { Workflows } from "./workflows.ts";

const orloj = createClient<Workflows>({ endpoint: process.env["ENDPOINT"] ?? "", token: process.env["TOKEN"] ?? "" });
const run = await orloj.workflow("ask").invoke({ question: "rain", urls: ["https://example.org"] }, { tags: { ticket: "T-1" } });
const { answer, pages, notes } = await run.result();
const support = orloj.workflow("ask", { namespace: "support" });
const other = await (await support.invoke({}, { tags: { ticket: "T-2" } })).result();
const told: [string, number, string[], string] = [answer, pages, notes, other.answer];
console.log(JSON.stringify(told));
`;

test("types of a running server compile, and what they promise is what comes back", async () => {
  const stage = await startStage();
  await stage.apply(await readFile(MANIFESTS, "utf8"));
  await stage.worker("w1");
  const out = join(await temporaryFolder("typed"), "workflows.ts");
  const { server } = stage;
  expect(await runOrloj(["codegen", "-A", "--out", out], { server })).toMatchObject({ code: 0, stderr: "" });
  expect(await runOrloj(["codegen", "-f", MANIFESTS, "--out", out, "--check"])).toMatchObject({ code: 0 });
  const { folder, findings } = await typeCheck({ "workflows.ts": await readFile(out, "utf8"), "client.ts": CLIENT });
  expect(findings).toEqual([]);
  const { token } = JSON.parse(await readFile(join(server.home, "config.json"), "utf8")) as { token: string };
  const env = { ENDPOINT: server.api, TOKEN: token };
  const client = startProcess(process.execPath, [join(folder, "client.ts")], { cwd: folder, env });
  expect(await client.ended, client.output.stderr).toMatchObject({ code: 0 });
  expect(JSON.parse(client.output.stdout)).toEqual(["About rain", 1, [], "About T-2"]);
});
