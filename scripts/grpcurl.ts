// Runs the grpcurl lines of docs/operations.md against a server of its own, when grpcurl is on PATH.
// Called by `npm run test:grpcurl`. Without grpcurl it says so and claims nothing.
// In a line, 127.0.0.1:7601 stands for the server's API and $ORLOJ_TOKEN for its token.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command, ROOT } from "./command.ts";

const PAGE = join(ROOT, "docs/operations.md");
const READY = /\bready\b.*\bapi=(?:https?:\/\/)?(\S+)/;

if ((await command("grpcurl", ["--version"])).code !== 0) console.log("grpcurl: not run");
else process.exitCode = await runAll();

async function runAll(): Promise<number> {
  const lines = grpcurlLines(await readFile(PAGE, "utf8"));
  if (lines.length === 0) throw new Error(`${PAGE} has no line that begins with grpcurl`);
  const home = await mkdtemp(join(tmpdir(), "orloj-grpcurl-"));
  const env = { ...process.env, ORLOJ_HOME: home, ORLOJ_API_PORT: "0", ORLOJ_WORKER_PORT: "0", ORLOJ_OPS_PORT: "0" };
  const server = spawn(process.execPath, [join(ROOT, "bin/orloj.ts"), "server"], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => server.once("close", resolve));
  try {
    const address = await new Promise<string>((resolve, reject) => {
      let text = "";
      server.stdout.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        const match = READY.exec(text);
        if (match?.[1] !== undefined) resolve(match[1]);
      });
      server.once("close", () => reject(new Error("the server ended before it was ready")));
    });
    const { token } = JSON.parse(await readFile(join(home, "config.json"), "utf8")) as { token: string };
    let failed = 0;
    for (const line of lines) {
      const shell = line.replaceAll("127.0.0.1:7601", address).replaceAll("$ORLOJ_TOKEN", token);
      const { code, output } = await command("sh", ["-c", shell]);
      if (code !== 0) failed += 1;
      console.log(`${code === 0 ? "✓" : "✗"} ${line}${code === 0 ? "" : `\n${output}`}`);
    }
    console.log(`grpcurl: ${lines.length - failed} passed, ${failed} failed`);
    return failed === 0 ? 0 : 1;
  } finally {
    server.kill("SIGTERM");
    await ended;
    await rm(home, { recursive: true, force: true });
  }
}

// A line may go on after a backslash.
function grpcurlLines(page: string): string[] {
  return page
    .replaceAll("\\\n", " ")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line.startsWith("grpcurl "));
}
