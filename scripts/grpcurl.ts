// Runs the grpcurl lines of docs/operations.md against a server of its own, when grpcurl is on PATH.
// Called by `npm run test:grpcurl`. Without grpcurl it says so and claims nothing.
// In a line, 127.0.0.1:7601 stands for the server's API and $ORLOJ_TOKEN for its token.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { command, ROOT } from "./command.ts";
import { type OwnServer, withServer } from "./own_server.ts";

const PAGE = join(ROOT, "docs/operations.md");

if ((await command("grpcurl", ["--version"])).code !== 0) console.log("grpcurl: not run");
else {
  const lines = grpcurlLines(await readFile(PAGE, "utf8"));
  if (lines.length === 0) throw new Error(`${PAGE} has no line that begins with grpcurl`);
  process.exitCode = await withServer((server) => runAll(lines, server));
}

async function runAll(lines: readonly string[], { address, token }: OwnServer): Promise<number> {
  let failed = 0;
  for (const line of lines) {
    const shell = line.replaceAll("127.0.0.1:7601", address).replaceAll("$ORLOJ_TOKEN", token);
    const { code, output } = await command("sh", ["-c", shell]);
    if (code !== 0) failed += 1;
    console.log(`${code === 0 ? "✓" : "✗"} ${line}${code === 0 ? "" : `\n${output}`}`);
  }
  console.log(`grpcurl: ${lines.length - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

// A line may go on after a backslash.
function grpcurlLines(page: string): string[] {
  return page
    .replaceAll("\\\n", " ")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line.startsWith("grpcurl "));
}
