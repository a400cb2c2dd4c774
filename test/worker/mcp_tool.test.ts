// The mcp tool: the reference servers from npm driven as tools, over standard input and output and over streamable HTTP; what
// reaches a server and what does not; and that nothing of a server outlives its call. What comes over HTTP: mcp_http.test.ts.

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { McpMeans } from "../../worker/tool/executor.ts";
import { alive } from "./alive.ts";
import { callMcp, failure, HAND_MS, handClock, remote } from "./mcp_calls.ts";

const require = createRequire(import.meta.url);
const program = (name: string) =>
  join(dirname(require.resolve(`@modelcontextprotocol/server-${name}/package.json`)), "dist/index.js");
const EVERYTHING = program("everything");

let folder = "";
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "mcp-")));
});
afterEach(() => rmSync(folder, { recursive: true }));

const run: typeof callMcp = (server, tool, args = {}, bounds = {}) =>
  callMcp(server, tool, args, { workDir: folder, ...bounds });

/** A server as a process of this Node. */
const local = (args: string[], env: Record<string, string> = {}): McpMeans["server"] => ({
  kind: "local",
  argv: [process.execPath, ...args],
  env,
  workDir: "",
});
async function until(what: () => boolean): Promise<void> {
  const giveUp = performance.now() + 20_000;
  while (!what()) {
    if (performance.now() > giveUp) throw new Error("it did not come true in time");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A server written here: answers initialize and then does what the test says with each call. */
function script(body: string): McpMeans["server"] {
  const path = join(folder, "server.mjs");
  writeFileSync(
    path,
    `import { createInterface } from "node:readline";
     const say = (message) => process.stdout.write(JSON.stringify({ jsonrpc: "2.0", ...message }) + "\\n");
     for await (const line of createInterface({ input: process.stdin })) {
       const { id, method, params } = JSON.parse(line);
       if (method === "initialize") say({ id, result: { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: "s", version: "1" } } });
       if (method === "tools/call") { ${body} }
     }`,
  );
  return local([path]);
}

describe("reference server everything, as a process", () => {
  test("text, structured content, and other blocks are results", async () => {
    expect(await run(local([EVERYTHING]), "echo", { message: "hé\n; rm -rf /" })).toEqual({
      ok: true,
      result: { text: "Echo: hé\n; rm -rf /" },
    });
    expect(await run(local([EVERYTHING]), "get-structured-content", { location: "Chicago" })).toEqual({
      ok: true,
      result: { temperature: 36, conditions: "Light rain / drizzle", humidity: 82 },
    });
    const image = await run(local([EVERYTHING]), "get-tiny-image");
    expect(image).toMatchObject({
      ok: true,
      result: { content: expect.arrayContaining([expect.objectContaining({ type: "image" })]) },
    });
  });

  test("has the environment that it is given, and nothing of the worker's", async () => {
    process.env["CANARY_OF_THE_WORKER"] = "canary-own";
    try {
      const result = await run(local([EVERYTHING], { TOKEN: "t-1" }), "get-env");
      expect(
        result.ok &&
          Object.keys(result.result as object)
            .filter((name) => name !== "__CF_USER_TEXT_ENCODING")
            .sort(),
      ).toEqual(["PATH", "TOKEN"]);
      expect(JSON.stringify(result)).not.toContain("canary");
    } finally {
      delete process.env["CANARY_OF_THE_WORKER"];
    }
  });

  test("arguments that its tool does not take, and a tool that it has not, are McpError", async () => {
    for (const [tool, args] of [
      ["get-sum", { a: "x" }],
      ["no-such-tool", {}],
    ] as const) {
      expect(await run(local([EVERYTHING]), tool, args)).toMatchObject(failure("McpError", false));
    }
  });
});

test("reference server filesystem: a file is written and read inside its folder, and none outside", async () => {
  const server = local([program("filesystem"), folder]);
  const path = join(folder, "note.txt");
  expect((await run(server, "write_file", { path, content: "hello" })).ok).toBe(true);
  expect(readFileSync(path, "utf8")).toBe("hello");
  expect(await run(server, "read_text_file", { path })).toMatchObject({ ok: true, result: { content: "hello" } });
  for (const outside of ["/etc/passwd", join(folder, "../x")]) {
    expect(await run(server, "read_text_file", { path: outside })).toMatchObject(failure("McpError", false));
  }
});

test("reference server memory: what one call wrote the next one reads, through the server's own file", async () => {
  const server = local([program("memory")], { MEMORY_FILE_PATH: join(folder, "memory.json") });
  const entities = [{ name: "Ana", entityType: "person", observations: ["asked for a refund"] }];
  expect((await run(server, "create_entities", { entities })).ok).toBe(true);
  expect(await run(server, "search_nodes", { query: "refund" })).toMatchObject({ ok: true, result: { entities } });
});

describe("reference server everything, over streamable HTTP", () => {
  let child: ChildProcess;
  let url = "";
  beforeAll(async () => {
    const probe = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => probe.once("listening", resolve));
    const { port } = probe.address() as AddressInfo;
    await new Promise((resolve) => probe.close(resolve));
    child = spawn(process.execPath, [EVERYTHING, "streamableHttp"], { env: { PORT: String(port) }, stdio: "ignore" });
    url = `http://127.0.0.1:${port}/mcp`;
    for (let tries = 0; tries < 400; tries += 1) {
      if (
        await fetch(url, { method: "DELETE" }).then(
          () => true,
          () => false,
        )
      )
        return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error("the reference server does not listen");
  });
  afterAll(() => void child.kill("SIGKILL"));

  test("answers as the process does", async () => {
    expect(await run(remote(url), "echo", { message: "hi" })).toEqual({ ok: true, result: { text: "Echo: hi" } });
    expect(await run(remote(url), "get-structured-content", { location: "Chicago" })).toMatchObject({
      ok: true,
      result: { humidity: 82 },
    });
    expect(await run(remote(url), "no-such-tool")).toMatchObject(failure("McpError", false));
  });

  test("is stopped at its time and when the call is", async () => {
    const long = { duration: 60, steps: 2 };
    expect(await run(remote(url), "trigger-long-running-operation", long, { timeoutMs: 3_000 })).toMatchObject(
      failure("Timeout", true),
    );
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 1_500);
    const startMs = performance.now();
    expect(await run(remote(url), "trigger-long-running-operation", long, { signal: controller.signal })).toMatchObject(
      failure("Cancelled", true),
    );
    expect(performance.now() - startMs).toBeLessThan(10_000);
  });

  test("is not reached at an address that is not allowed", async () => {
    expect(await run(remote(url), "echo", { message: "hi" }, { networks: [] })).toMatchObject(
      failure("AddressForbidden", false),
    );
    for (const host of ["2130706433", "0x7f.1", "localhost", "[::ffff:127.0.0.1]"]) {
      const other = url.replace("127.0.0.1", host);
      expect(await run(remote(other), "echo", { message: "hi" }, { networks: [] })).toMatchObject(
        failure("AddressForbidden", false),
      );
    }
  });
});

describe("a server of one's own", () => {
  test("finds the request id in the call, and gets no answer to what it asks", async () => {
    const server = script(`
      say({ id: 900, method: "sampling/createMessage", params: { messages: [], maxTokens: 1 } });
      say({ id: 901, method: "roots/list" });
      say({ id, result: { content: [{ type: "text", text: JSON.stringify(params) }] } });`);
    expect(await run(server, "t", { a: 1 })).toMatchObject({
      ok: true,
      result: { name: "t", arguments: { a: 1 }, _meta: { "orloj.dev/request-id": "auto:task_1/2/0" } },
    });
  });

  test("that writes nonsense between messages is understood all the same", async () => {
    const server = script(`process.stdout.write("hello\\n\\n{}\\n"); say({ id, result: { content: [] } });`);
    expect(await run(server, "t")).toEqual({ ok: true, result: { text: "" } });
  });

  test("that fails says so: isError, a JSON-RPC error, an exit, a flood", async () => {
    const cases: [string, string, boolean, string][] = [
      [
        `say({ id, result: { isError: true, content: [{ type: "text", text: "no\\u001b[31m money" }] } });`,
        "McpError",
        false,
        "no [31m money",
      ],
      [`say({ id, error: { code: -32602, message: "bad" } });`, "McpError", false, "bad"],
      [`say({ id, error: { code: -32603, message: "oops" } });`, "McpError", true, "oops"],
      [`process.stderr.write("token canary-4711 is wrong"); process.exit(3);`, "ConnectionReset", true, "[redacted]"],
      [
        `const more = () => { while (process.stdout.write("x".repeat(65536))); process.stdout.once("drain", more); }; more();`,
        "OutputTooLarge",
        true,
        "wrote more",
      ],
    ];
    for (const [body, failureClass, ambiguous, says] of cases) {
      const server = { ...script(body), env: { TOKEN: "canary-4711" } } as McpMeans["server"];
      const result = await run(server, "t");
      expect(result).toMatchObject({
        failure: { class: failureClass, ambiguous, message: expect.stringContaining(says) },
      });
      expect(JSON.stringify(result)).not.toMatch(/canary/);
    }
  });

  test("that hangs in a call is ended at its time, and at once when the call is stopped; both may have had their effect", async () => {
    const asked = join(folder, "asked");
    const hangs = script(`(await import("node:fs")).writeFileSync(${JSON.stringify(asked)}, "");`);
    for (const how of ["Timeout", "Cancelled"]) {
      const clock = handClock();
      const controller = new AbortController();
      const called = run(hangs, "t", {}, { signal: controller.signal, clock, timeoutMs: HAND_MS });
      await until(() => existsSync(asked));
      rmSync(asked);
      if (how === "Timeout") clock.fire();
      else controller.abort();
      expect(await called).toMatchObject(failure(how, true));
    }
  });

  test("that never says hello, though it floods its standard error, is ended at its time without effect", async () => {
    const begun = join(folder, "begun");
    const floods = local([
      "-e",
      `require("node:fs").writeFileSync(${JSON.stringify(begun)}, String(process.pid));
       const more = () => { while (process.stderr.write("x".repeat(65536))); process.stderr.once("drain", more); }; more();`,
    ]);
    const clock = handClock();
    const called = run(floods, "t", {}, { clock, timeoutMs: HAND_MS });
    await until(() => existsSync(begun) && readFileSync(begun, "utf8") !== "");
    const pid = Number(readFileSync(begun, "utf8"));
    clock.fire();
    expect(await called).toMatchObject(failure("Timeout", false));
    await until(() => !alive(pid));
  });

  test("that cannot be started, or ends before it is asked, had no effect", async () => {
    expect(await run({ kind: "local", argv: ["no-such-program"], env: {}, workDir: "" }, "t")).toMatchObject(
      failure("CommandNotFound", false),
    );
    expect(await run({ ...local([]), workDir: "../.." } as McpMeans["server"], "t")).toMatchObject(
      failure("WorkDirForbidden", false),
    );
    expect(await run(local(["-e", "process.exit(1)"]), "t")).toMatchObject(failure("ConnectionReset", false));
  });

  test("ends with its call, with everything that it started, though it ignores SIGTERM", async () => {
    const pids = join(folder, "pids");
    const server = script(`
      const { spawn } = await import("node:child_process");
      const { writeFileSync } = await import("node:fs");
      process.on("SIGTERM", () => {});
      setInterval(() => {}, 1000);
      const grandchild = spawn("sleep", ["600"], { stdio: "ignore" });
      writeFileSync(${JSON.stringify(pids)}, process.pid + " " + grandchild.pid);
      if (params.arguments.answer) say({ id, result: { content: [] } });`);
    for (const answer of [true, false]) {
      const controller = new AbortController();
      const called = run(server, "t", { answer }, { signal: controller.signal });
      await until(() => existsSync(pids) && readFileSync(pids, "utf8").includes(" "));
      const started = readFileSync(pids, "utf8").split(" ").map(Number);
      if (!answer) controller.abort();
      expect((await called).ok).toBe(answer);
      await until(() => !started.some(alive));
      rmSync(pids);
    }
  });
});
