// Runs the Python client of docs/clients.md against servers of its own: with a token, with TLS and a token, with a client certificate.
// Called by `npm run test:python`. Without Python, or without its gRPC packages, it says so and claims nothing.
// In a program, 127.0.0.1:7601 and orloj.acme.example:7601 stand for the server's API; node_modules/orloj/proto for the protos of the clone.
// $PYTHON names another python3, such as the one of a virtual environment.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createCa } from "../test/harness/certificates.ts";
import { command, mustRun, ROOT } from "./command.ts";
import { type OwnServer, withServer } from "./own_server.ts";

const PAGE = join(ROOT, "docs/clients.md");
const PYTHON = process.env["PYTHON"] || "python3";
const ADDRESS = /127\.0\.0\.1:7601|orloj\.acme\.example:7601/g;
const TITLE = /'title': '.+'/;
const REFUSED = `import os, grpc
from invoke import invoke, reason
metadata = [("authorization", f"Bearer {os.environ['ORLOJ_TOKEN']}")]
with grpc.insecure_channel("127.0.0.1:7601") as channel:
    try:
        invoke(channel, "release-notes", {"count": "many"}, metadata=metadata)
    except grpc.RpcError as error:
        print(reason(error))
`;

const packages = await command(PYTHON, ["-c", "import grpc, grpc_status, grpc_tools"]);
if (packages.code !== 0) console.log(`python: not run (${packages.output.trim().split("\n").at(-1)})`);
else process.exitCode = await runAll(await readFile(PAGE, "utf8"));

async function runAll(page: string): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "orloj-python-"));
  try {
    const [setup] = blocks(page, "sh needs=python");
    if (setup === undefined) throw new Error(`${PAGE} does not say how the client is made`);
    const shell = setup.text.replaceAll("python3", PYTHON).replaceAll("node_modules/orloj/proto", join(ROOT, "proto"));
    await mustRun("sh", ["-ec", shell], { cwd: folder });
    const programs = [...blocks(page, "python [a-z_]+\\.py"), { name: "refused.py", text: REFUSED }];
    for (const { name, text } of programs) await writeFile(join(folder, name), text);
    const results = [
      ...(await withServer((server) =>
        runEach(server, folder, { "with_token.py": TITLE, "refused.py": /^PARAMS_INVALID$/m }),
      )),
      ...(await withServer(
        (server) => runEach(server, folder, { "with_certificate.py": TITLE, "with_tls_token.py": TITLE }),
        ["--config", await writeCertificates(folder)],
      )),
    ];
    // Each program of the page has been run, or is a part of those that were.
    const untold = programs.filter(
      ({ name }) => name !== "invoke.py" && !results.some((result) => result.name === name),
    );
    for (const { name } of untold) console.log(`✗ ${name}: nothing runs it`);
    const failed = results.filter(({ passed }) => !passed).length + untold.length;
    console.log(`python: ${results.length + untold.length - failed} passed, ${failed} failed`);
    return failed === 0 ? 0 : 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runEach(server: OwnServer, folder: string, expected: Readonly<Record<string, RegExp>>) {
  await server.start(["worker"]);
  const { home, address, token } = server;
  const secured = "with_certificate.py" in expected ? ["--ca", join(folder, "ca.crt")] : [];
  const apply = ["bin/orloj.ts", "apply", "-f", "examples/release-notes", ...secured];
  const applied = await command(process.execPath, apply, { env: { ORLOJ_HOME: home } });
  if (applied.code !== 0) throw new Error(`apply ended with ${applied.code}\n${applied.output}`);
  const results: { readonly name: string; readonly passed: boolean }[] = [];
  for (const [name, wanted] of Object.entries(expected)) {
    const text = (await readFile(join(folder, name), "utf8")).replaceAll(ADDRESS, address);
    await writeFile(join(folder, name), text);
    const env = { ORLOJ_TOKEN: token, PYTHONPATH: join(folder, "gen") };
    const { code, output } = await command(PYTHON, [name], { cwd: folder, env });
    const passed = code === 0 && wanted.test(output);
    console.log(`${passed ? "✓" : "✗"} ${name}${passed ? "" : ` ended with ${code}\n${output}`}`);
    results.push({ name, passed });
  }
  return results;
}

/** Writes what a server with TLS and its client need; returns the server's configuration file. */
async function writeCertificates(folder: string): Promise<string> {
  const [servers, clients] = await Promise.all([createCa("servers"), createCa("clients")]);
  const api = await servers.issue({ usages: ["server"], dnsNames: ["localhost"], ips: ["127.0.0.1"] });
  const client = await clients.issue({ uris: ["spiffe://acme.example/report"] });
  const files = {
    ...{ "ca.crt": servers.cert, "api.crt": api.cert, "api.key": api.key },
    ...{ "clients.crt": clients.cert, "client.crt": client.cert, "client.key": client.key },
    "server.yaml": `tls: {cert: api.crt, key: api.key, clientCa: clients.crt}
identity:
  trustDomain: acme.example
  clients: [{uri: spiffe://acme.example/report, kind: service}]
  roles: [{role: invoker, principals: [spiffe://acme.example/report]}]
`,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return join(folder, "server.yaml");
}

function blocks(page: string, fence: string): { readonly name: string; readonly text: string }[] {
  return [...page.matchAll(new RegExp(`^\`\`\`(${fence})\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(
    ([, info = "", text = ""]) => ({ name: info.split(" ").at(-1) ?? "", text }),
  );
}
