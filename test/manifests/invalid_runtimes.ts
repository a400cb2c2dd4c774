// Rows of invalid agents whose runtime is not a model: blocks that are missing, misplaced, or unsafe.
// Part of invalid_manifests.ts.

import { head, type InvalidManifest, MODEL, row } from "./invalid_row.ts";

const http = (spec: string) => head("Agent", "remote", `runtime: http\n${spec}`);
const command = (spec: string) => head("Agent", "script", `runtime: command\n${spec}`);
const handler = (spec: string) => head("Agent", "code", `runtime: handler\n${spec}`);
const URL = 'url: "https://agents.example/triage"';
const HTTP = `http: {${URL}}`;
const COMMAND = "command: {argv: [python3, agent.py]}";

/** See the file header. */
export const INVALID_RUNTIMES: readonly InvalidManifest[] = [
  row("E-VALUE", "an unknown runtime", head("Agent", "x", `runtime: §htpp\n${HTTP}`), 'did you mean "http"?'),
  row("E-MISSING", "runtime http without its block", head("Agent", "x", "§runtime: http"), '"http" is missing'),
  row(
    "E-MISSING",
    "runtime command without its block",
    head("Agent", "x", "§runtime: command"),
    '"command" is missing',
  ),
  row(
    "E-MISSING",
    "runtime handler without its block",
    head("Agent", "x", "§runtime: handler"),
    '"handler" is missing',
  ),
  row("E-UNION", "a block without its runtime", head("Agent", "x", `${MODEL}\n§${HTTP}`), "set runtime: http"),
  row("E-UNION", "a model at runtime http", http(`${HTTP}\n§${MODEL}`), 'does not belong to runtime "http"'),
  row("E-UNION", "a prompt at runtime http", http(`${HTTP}\n§prompt: hi`), "asks its models itself"),
  row("E-UNION", "a systemPrompt at runtime command", command(`${COMMAND}\n§systemPrompt: hi`), "set runtime: model"),
  row("E-UNION", "repairAttempts at runtime command", command(`${COMMAND}\n§repairAttempts: 1`), "does not belong"),
  row("E-UNION", "a prompt at runtime handler", handler("handler: {name: refunds}\n§prompt: hi"), "is in its code"),
  row("E-UNION", "tools at runtime http", http(`${HTTP}\n§tools: [search]`), "use runtime model or handler"),
  row("E-UNION", "tools at runtime command", command(`${COMMAND}\n§tools: []`), "where no policy holds them"),
  row("E-UNION", "a limit of turns at runtime http", http(`${HTTP}\nlimits: {§maxTurns: 3}`), "maxOutputBytes hold"),
  row("E-UNION", "a limit of calls at runtime command", command(`${COMMAND}\nlimits: {§maxToolCalls: 3}`), "remove it"),
  // http
  row("E-MISSING", "an http agent without url", http("http: §{headers: {}}"), '"url" is missing'),
  row("E-URL", "an http agent at another scheme", http('http: {url: §"ftp://agents.example/"}'), "not http or https"),
  row("E-UNKNOWN-KEY", "a method of an http agent", http(`http: {${URL}, §method: PUT}`), "known keys: url, headers"),
  row(
    "E-EXPRESSION",
    "an input in the address of an agent",
    http('http: {url: "https://agents.example/${{ §input.name }}"}'),
    'unknown name "input"',
  ),
  row(
    "E-URL",
    "a secret in the host of an agent",
    http('http: {url: "https://${{ §secret.a.host }}/run"}'),
    "no insertion",
  ),
  row(
    "E-SECRET",
    "a token of an agent written out",
    http(`http: {${URL}, headers: {Authorization: §Bearer abcdefghijkl}}`),
    "keep it in a secret",
  ),
  row(
    "E-VALUE",
    "an agent's idempotency key of its own",
    http(`http: {${URL}, headers: {§idempotency-key: one}}`),
    "is set by the worker",
  ),
  row("E-VALUE", "a task header", http(`http: {${URL}, headers: {§Orloj-Task-Id: one}}`), "is set by the worker"),
  row("E-TYPE", "allowPrivateNetwork as a word", http(`http: {${URL}, allowPrivateNetwork: §"yes"}`), "true or false"),
  // command
  row("E-MISSING", "a command agent without argv", command("command: §{env: {}}"), '"argv" is missing'),
  row("E-SHELL", "an agent as one line", command("command: {argv: §python3 agent.py}"), '["python3", "agent.py"]'),
  row("E-SHELL", "an agent behind a shell", command('command: {argv: [§bash, -c, "run"]}'), "as a shell"),
  row(
    "E-VALUE",
    "a secret among an agent's arguments",
    command('command: {argv: [run, §"${{ secret.a.b }}"]}'),
    "in env",
  ),
  row(
    "E-EXPRESSION",
    "an input in the environment of an agent",
    command('command: {argv: [run], env: {NAME: "${{ §input.name }}"}}'),
    'unknown name "input"',
  ),
  row(
    "E-SECRET",
    "an agent's key written out",
    command("command: {argv: [run], env: {API_KEY: §abc}}"),
    "keep it in a secret",
  ),
  row(
    "E-VALUE",
    "a variable of ours",
    command("command: {argv: [run], env: {§ORLOJ_TASK_ID: a}}"),
    "set by the worker",
  ),
  row("E-NAME", "a variable with a dash", command("command: {argv: [run], §env: {a-b: c}}"), "not a variable name"),
  row("E-VALUE", "an agent's work directory with ..", command("command: {argv: [run], §workDir: ../x}"), "fixed"),
  row("E-UNKNOWN-KEY", "standard input of an agent", command("command: {argv: [run], §stdin: a}"), "known keys: argv"),
  // handler
  row("E-MISSING", "a handler without name", handler("handler: §{}"), '"name" is missing'),
  row("E-NAME", "a handler's name in camel case", handler("handler: {name: §refundAgent}"), "RFC 1123"),
  row("E-TYPE", "a handler as a word", handler("handler: §refunds"), "expected a map"),
];
