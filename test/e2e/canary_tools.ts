// The tools, models and workflows that the canaries go through, and what the world outside answers to them.
// Each workflow is one agent that calls one tool of the same name and ends with what it was told.

import type { Call, CountingServer } from "../harness/counting_server.ts";
import { echoes } from "./canary_secrets.ts";
import { agent, completion, single } from "./documents.ts";

const ONCE = { on: ["Timeout"], maxAttempts: 1 };
const GIVES_UP = { errorHandling: { retry: ONCE, onExhausted: "fail" } };
type Spec = Readonly<Record<string, unknown>>;

function tool(name: string, block: object, spec: Spec = {}) {
  return {
    ...{ apiVersion: "orloj.dev/v1", kind: "Tool", metadata: { name } },
    spec: {
      description: name,
      inputSchema: { type: "object" },
      effect: "read",
      retry: { maxAttempts: 1 },
      ...block,
      ...spec,
    },
  };
}

/** A scripted agent that calls the tool of its name, tells all that it was told, and is the one node of its workflow. */
export function calls(name: string, reference: object | string = name, spec: Spec = GIVES_UP) {
  const script = [
    { when: "turn == 1", toolCalls: [{ name, arguments: { n: 1 } }] },
    { output: { told: "${{ results }}" } },
  ];
  return [agent(name, script, { tools: [reference], ...spec }), ...single(name)];
}

/** An http tool whose secrets NAME/header, NAME/query and NAME/body are where their names say. */
export function canaryHttp(name: string, keys: readonly string[], spec: Spec = {}) {
  const has = (key: string, text: string) => (keys.includes(key) ? text : "");
  const http = {
    method: "POST",
    url: `\${{ secret.sink.url }}/${name}${has("query", `?q=\${{ secret.${name}.query }}`)}`,
    headers: { "X-Canary": has("header", `Bearer \${{ secret.${name}.header }}`) || "none" },
    body: { args: "${{ args }}", inner: has("body", `\${{ secret.${name}.body }}`) },
    allowPrivateNetwork: true,
  };
  return tool(name, { type: "http", http }, spec);
}

/** A command tool that is given its secrets by environment, argument and standard input, and adds what it got to a file. */
export function canaryCommand(name: string, ending: string, witness: string, spec: Spec = {}) {
  const script = [
    'const fs = require("node:fs");',
    'const seen = {env: process.env.CANARY, argv: process.argv.at(-1), stdin: fs.readFileSync(0, "utf8")};',
    'fs.appendFileSync(process.env.WITNESS, JSON.stringify(seen) + "\\n");',
    ending,
  ].join(" ");
  const command = {
    argv: ["node", "-e", script, "--", `\${{ secret.${name}.argv }}`],
    env: { CANARY: `\${{ secret.${name}.env }}`, WITNESS: witness },
    stdin: { inner: `\${{ secret.${name}.stdin }}` },
  };
  return tool(name, { type: "command", command }, spec);
}

/** Ends of a command: tells everything, fails with everything, never ends. */
export const ENDINGS = {
  tells: 'console.log(JSON.stringify({seen, hex: Buffer.from(seen.env).toString("hex")}));',
  fails: 'process.stderr.write("bad key " + JSON.stringify(seen) + seen.env); process.exitCode = 3;',
  hangs: "setTimeout(() => {}, 60000);",
} as const;

/** A webhook tool signed with hook/signing. */
export function canaryWebhook(name: string) {
  const webhook = {
    ...{ url: `\${{ secret.sink.url }}/${name}`, signingSecret: "${{ secret.hook.signing }}", events: ["done"] },
    allowPrivateNetwork: true,
  };
  return tool(name, { type: "webhook", webhook }, { effect: "write" });
}

/** An agent that asks the sink as its model, with the key NAME/key unless it has none of its own. */
export function asks(name: string, url: string, spec: Spec = {}, keyed = true) {
  const model = {
    ...{ provider: "openai-compatible", name: "m", baseUrl: `${url}/${name}/v1` },
    ...(keyed && { secretRef: { name, key: "key" } }),
  };
  return [agent(name, [], { model, outputSchema: {}, ...GIVES_UP, ...spec }), ...single(name)];
}

/** Everything of a call that a secret can be in. */
export function contentOf({ headers, query, body }: Call): string[] {
  const inner = (JSON.parse(body === "" ? "{}" : body) as { inner?: string }).inner ?? "";
  const key = headers.authorization?.replace(/^Bearer /, "") ?? "";
  return [String(headers["x-canary"] ?? "").replace(/^Bearer /, ""), query.get("q") ?? "", inner, key].filter(Boolean);
}

const everything = (call: Call) => contentOf(call).map(echoes);

/** The world outside: what it echoes, and how it fails. */
export function answerAs(sink: CountingServer): void {
  const json = (status: number) => (call: Call) => ({ status, body: JSON.stringify({ echo: everything(call) }) });
  sink.respond("/echo", json(200));
  for (const path of ["/error", "/parked", "/deadly"]) sink.respond(path, json(500));
  sink.respond("/gone", json(404));
  sink.respond("/plain", (call) => ({
    headers: { "content-type": "text/plain" },
    body: contentOf(call).join("\n"),
  }));
  sink.respond("/broken", (call) => ({ body: `{"echo": ${JSON.stringify(everything(call))}` }));
  sink.respond("/huge", (call) => ({ body: JSON.stringify(everything(call)) + " ".repeat(1_100_000) }));
  const model = (name: string, answer: (call: Call) => { status?: number; body: string }) =>
    sink.respond(`/${name}/v1/chat/completions`, answer);
  const refused = (status: number) => (call: Call) => {
    const message = `key ${contentOf(call)[0]} is not good, nor is ${JSON.stringify(everything(call))}`;
    return { status, body: JSON.stringify({ error: { message, code: "bad" } }) };
  };
  for (const name of ["model-ok", "model-own"]) model(name, () => completion({ content: '{"done":true}' }));
  model("model-echo", (call) => completion({ content: JSON.stringify(everything(call)) }));
  model("model-400", refused(400));
  model("model-401", refused(401));
  model("model-500", refused(500));
  model("prompted", ({ body }) => {
    const { messages } = JSON.parse(body) as { messages: { role: string; content?: string }[] };
    const told = messages.find(({ role }) => role === "tool")?.content;
    return told === undefined
      ? completion({ toolCalls: [{ name: "echo", arguments: {} }] })
      : completion({ content: told });
  });
}
