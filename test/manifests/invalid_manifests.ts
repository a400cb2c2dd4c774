// The table of manifests that must be refused: each with the place (§ stands right before it), code and hint expected.
// Read by validate.test.ts. `agent`, `tool`, … wrap a spec in a document so that a row shows what matters.

/** One row: the finding that the manifest must draw. */
export interface InvalidManifest {
  readonly name: string;
  /** YAML with one § right before the place of the finding. */
  readonly yaml: string;
  readonly code: string;
  /** Part of the message or hint. */
  readonly says: string;
  readonly severity?: "warning";
}

const head = (kind: string, name: string, spec: string) =>
  `apiVersion: orloj.dev/v1\nkind: ${kind}\nmetadata: {name: ${name}}\nspec:\n${spec.replace(/^/gm, "  ")}\n`;
const MODEL = 'model: {provider: scripted, script: [{text: "hello"}]}';
const agent = (spec: string) => head("Agent", "worker", `${MODEL}\n${spec}`);
const model = (spec: string) => head("Agent", "worker", `model:\n${spec.replace(/^/gm, "  ")}`);
const HTTP = 'http: {method: POST, url: "https://pay.example/refunds"}';
const TOOL = "description: Refunds\ninputSchema: {type: object, properties: {id: {type: string}}, required: [id]}";
const tool = (spec: string, effect = "write") =>
  head("Tool", "refund", `type: http\n${TOOL}\neffect: ${effect}\n${spec}`);
const command = (spec: string) => head("Tool", "refund", `type: command\n${TOOL}\neffect: read\n${spec}`);
const AGENTS = [
  head(
    "Agent",
    "asker",
    `${MODEL}\ninputSchema: {type: object, required: [question], properties: {question: {type: string}, count: {type: integer}}, additionalProperties: false}\noutputSchema: {type: object, required: [route], properties: {route: {type: string}, score: {type: number}}}`,
  ),
  head("Agent", "free", MODEL),
].join("---\n");
const INPUT =
  "inputSchema: {type: object, required: [text], properties: {text: {type: string}, size: {type: integer}}}";
const system = (spec: string) => `${AGENTS}---\n${head("AgentSystem", "desk", `${INPUT}\n${spec}`)}`;
const OUT = "output: {value: {done: true}}";
const TWO = 'nodes:\n  - {name: a, agent: asker, input: {question: "${{ input.text }}"}}\n  - {name: b, agent: free}';
const policy = (spec: string) => `${AGENTS}---\n${head("Policy", "only", spec)}`;
const MATCH = "allow: {match: {requester.groups: [ops]}}";
const ATTACH = "attachTo: [{kind: Agent, name: free}]";
const template = (spec: string) =>
  `${AGENTS}---\n${head("AgentSystem", "desk", `${INPUT}\nnodes: [{name: b, agent: free}]\n${OUT}`)}---\n${head("WorkflowTemplate", "flow", `system: desk\nparameters: {type: object, required: [text], properties: {text: {type: string}, size: {type: integer}}}\n${spec}`)}`;
const row = (code: string, name: string, yaml: string, says = "", severity?: "warning"): InvalidManifest => ({
  name,
  yaml,
  code,
  says,
  ...(severity && { severity }),
});

/** Every row. */
export const INVALID_MANIFESTS: readonly InvalidManifest[] = [
  // The text itself
  row("E-YAML", "a quote that is not closed", 'kind: "Agent\n§', ""),
  row("E-YAML", "an unquoted expression in a flow map", "spec: {text: $§{{ input.x }} }", "quote it"),
  row("E-YAML", "an unquoted condition with a colon", 'when: output.a == "x" ? true §: false', "quote it"),
  row("E-YAML", "an unknown tag from an unquoted negation", "when: §!input.flag", "quote it"),
  row("E-YAML", "a tab as indentation", "spec:\n§\tname: x", ""),
  row("E-DUPLICATE-KEY", "a key given twice", agent("description: a\n§description: b"), "given twice"),
  row("E-YAML-LIMIT", "an anchor", agent("description: §&x text"), "anchors are not allowed"),
  row("E-YAML-LIMIT", "a merge key", "a: {}\n§<<: {b: 1}", "merge keys"),
  row("E-YAML-LIMIT", "a prototype key", 'a: 1\n"§__proto__": 1', "not allowed"),
  row("E-YAML-LIMIT", "an integer beyond 2^53", "a: §9007199254740993", "quote it"),
  row("E-YAML-LIMIT", "an escaped NUL", agent('description: §"\\0"'), "NUL"),
  row("E-TYPE", "a number that JSON cannot say", agent("description: §.nan"), "not a JSON number"),
  row("E-YAML-LIMIT", "a YAML directive", "§%YAML 1.1\n---\na: yes", "directives"),
  // The document
  row("E-MISSING", "no apiVersion", `§kind: Agent\nmetadata: {name: x}\nspec: {${MODEL}}`, '"apiVersion" is missing'),
  row(
    "E-VALUE",
    "another apiVersion",
    `apiVersion: §orloj.dev/v2\nkind: Agent\nmetadata: {name: x}\nspec: {${MODEL}}`,
    'did you mean "orloj.dev/v1"?',
  ),
  row(
    "E-VALUE",
    "a misspelt kind",
    `apiVersion: orloj.dev/v1\nkind: §Agnet\nmetadata: {name: x}\nspec: {}`,
    'did you mean "Agent"?',
  ),
  row(
    "E-UNKNOWN-KEY",
    "a misspelt top-level key",
    `apiVersion: orloj.dev/v1\nkind: Agent\n§metdata: {name: x}\nmetadata: {name: x}\nspec: {${MODEL}}`,
    'did you mean "metadata"?',
  ),
  row(
    "E-NAME",
    "a name with capitals",
    `apiVersion: orloj.dev/v1\nkind: Agent\nmetadata: {name: §My_Agent}\nspec: {${MODEL}}`,
    'did you mean "my-agent"?',
  ),
  row(
    "E-TYPE",
    "a name that is a number",
    `apiVersion: orloj.dev/v1\nkind: Agent\nmetadata: {name: §123}\nspec: {${MODEL}}`,
    'quote it: "123"',
  ),
  row(
    "E-TYPE",
    "a label that is a boolean",
    `apiVersion: orloj.dev/v1\nkind: Agent\nmetadata: {name: x, labels: {prod: §true}}\nspec: {${MODEL}}`,
    'quote it: "true"',
  ),
  row(
    "E-TYPE",
    "a spec without value",
    "apiVersion: orloj.dev/v1\nkind: Agent\nmetadata: {name: x}\n§spec:\n",
    "has no value",
  ),
  row(
    "E-DUPLICATE",
    "two documents of one name",
    `${head("Agent", "free", MODEL)}---\n${head("Agent", "§free", MODEL)}`,
    "given twice",
  ),
  // Agent
  row("E-UNKNOWN-KEY", "a misspelt key of an agent", agent("§sytemPrompt: hi"), 'did you mean "systemPrompt"?'),
  row("E-MISSING", "an agent without model", head("Agent", "x", "§description: hi"), '"model" is missing'),
  row(
    "E-NOT-YET",
    "another runtime",
    head("Agent", "x", "§runtime: http\nhttp: {url: x}"),
    'runtime "http" is not supported by this version',
  ),
  row("E-UNION", "a block of another runtime", agent("§command: {argv: [x]}"), "does not belong"),
  row("E-NOT-YET", "the provider openai", model("§provider: openai\nname: gpt"), "not supported by this version"),
  row(
    "E-MISSING",
    "openai-compatible without baseUrl",
    model("§provider: openai-compatible\nname: m"),
    '"baseUrl" is missing',
  ),
  row(
    "E-URL",
    "a baseUrl that is no address",
    model("provider: openai-compatible\nname: m\nbaseUrl: §localhost"),
    "https://host",
  ),
  row(
    "E-UNION",
    "a script at another provider",
    model("provider: openai-compatible\nname: m\nbaseUrl: http://x/v1\n§script: [{text: a}]"),
    "does not belong",
  ),
  row(
    "E-SECRET",
    "a model key written out",
    model('provider: openai-compatible\nname: m\nbaseUrl: http://x/v1\napiKey: §"abc"'),
    "secretRef",
  ),
  row(
    "E-VALUE",
    "a temperature out of range",
    model("provider: openai-compatible\nname: m\nbaseUrl: http://x/v1\nparameters: {temperature: §3}"),
    "between 0 and 2",
  ),
  row(
    "E-UNION",
    "a rule with two answers",
    model("provider: scripted\nscript: [§{text: a, error: Timeout}]"),
    "exactly one",
  ),
  row(
    "E-EXPRESSION",
    "an unknown name in a script's condition",
    model('provider: scripted\nscript: [{when: "turn == 1 && §imput.x", text: a}]'),
    'did you mean "input"?',
  ),
  row(
    "E-CONDITION",
    "a script's condition that is a number",
    model('provider: scripted\nscript: [{when: §"1 + 1", text: a}]'),
    "not true or false",
  ),
  row(
    "E-EXPRESSION",
    "a prompt that names something unknown",
    agent('prompt: "Say ${{ §inputs.x }}"'),
    'did you mean "input"?',
  ),
  row("E-EXPRESSION", "a prompt that is not closed", agent('prompt: "Say §${{ input.x"'), "not closed"),
  row(
    "E-EXPRESSION",
    "an unknown name in a literal block",
    agent("prompt: |\n  Hello\n  Say ${{ §foo }}"),
    "unknown name",
  ),
  row(
    "W-OPTIONAL",
    "a prompt that reads what is not required",
    agent('inputSchema: {type: object, properties: {q: {type: string}}}\nprompt: "${{ §input.q }}"'),
    "has(input.q)",
    "warning",
  ),
  row(
    "W-NOT-TEMPLATE",
    "an insertion in systemPrompt",
    agent('§systemPrompt: "${{ input.q }}"'),
    "not a template",
    "warning",
  ),
  row("E-SCHEMA", "a schema with an unknown type", agent("inputSchema: {type: §strin}"), ""),
  row("E-SCHEMA", "a schema with a remote reference", agent("inputSchema: {$ref: §https://example.com/x.json}"), ""),
  row("E-NOT-YET", "repair attempts", agent("§repairAttempts: 1"), "not supported by this version"),
  row(
    "E-NOT-YET",
    "onExhausted continue",
    agent("errorHandling: {§onExhausted: continue, fallback: {}}"),
    "not supported by this version",
  ),
  row(
    "E-NOT-YET",
    "onDenied withhold",
    agent("tools: [{ref: t, §onDenied: withhold}]"),
    "not supported by this version",
  ),
  row("E-DURATION", "a timeout without unit", agent("limits: {timeout: §30}"), "write it as 500ms"),
  row("E-DURATION", "a duration of an unknown unit", agent("limits: {timeout: §2w}"), "is not a duration"),
  row("E-TYPE", "a limit that is text", agent('limits: {maxTurns: §"8"}'), "expected a number"),
  row("E-VALUE", "no turns", agent("limits: {maxTurns: §0}"), "between 1"),
  row(
    "E-VALUE",
    "a misspelt error class",
    agent("errorHandling: {retry: {on: [§RateLimit]}}"),
    'did you mean "RateLimited"?',
  ),
  row(
    "E-VALUE",
    "a backoff that shrinks",
    agent("errorHandling: {retry: {backoff: {initial: 10s, §max: 1s}}}"),
    "shorter",
  ),
  row(
    "E-REFERENCE",
    "a tool that does not exist",
    `${tool(HTTP)}---\n${agent("tools: [§refnd]")}`,
    'did you mean "refund"?',
  ),
  row("E-DUPLICATE", "two tools of one name", `${tool(HTTP)}---\n${agent("tools: [refund, §refund]")}`, "`as`"),
  row("E-NAME", "a tool alias with a blank", agent('tools: [{ref: refund, as: §"a b"}]'), "not a tool name"),
  row("E-TYPE", "a requirement that is a number", agent("requirements: {labels: {gpu: §1}}"), 'quote it: "1"'),
  // Tool
  row(
    "E-MISSING",
    "a tool without its block",
    head("Tool", "t", `§type: http\n${TOOL}\neffect: read`),
    '"http" is missing',
  ),
  row("E-MISSING", "a tool without effect", head("Tool", "t", `§type: http\n${HTTP}\n${TOOL}`), '"effect" is missing'),
  row(
    "E-NOT-YET",
    "a database tool",
    head("Tool", "t", `§type: database\n${TOOL}\neffect: read\ndatabase: {}`),
    "not supported by this version",
  ),
  row("E-UNION", "the block of another type", tool(`${HTTP}\n§command: {argv: [x]}`), "does not belong"),
  row(
    "E-RETRY-UNSAFE",
    "an ambiguous class with deadLetter",
    tool(`${HTTP}\nretry: {on: [RateLimited, §Timeout]}`),
    "onUnknownOutcome: retry",
  ),
  row(
    "E-RETRY-UNSAFE",
    "the same for a destructive tool",
    tool(`${HTTP}\nretry: {on: [§Http5xx]}`, "destructive"),
    "onUnknownOutcome",
  ),
  row(
    "E-SECRET",
    "a literal Authorization header",
    tool('http: {method: POST, url: "https://x/y", headers: {Authorization: §Bearer abcdefgh}}'),
    "secret.NAME.KEY",
  ),
  row(
    "E-SECRET",
    "a literal x-api-key header",
    tool('http: {method: POST, url: "https://x/y", headers: {x-api-key: §"k1"}}'),
    "secret.NAME.KEY",
  ),
  row(
    "E-SECRET",
    "a password in a body",
    tool('http: {method: POST, url: "https://x/y", body: {user: {password: §hunter2}}}'),
    "literal credential",
  ),
  row(
    "E-SECRET",
    "a password in an address",
    tool('http: {method: POST, url: §"https://me:pw12@x/y"}'),
    "looks like a credential",
  ),
  row(
    "E-SECRET",
    "a token in an environment",
    command("command: {argv: [x], env: {API_TOKEN: §abc}}"),
    "literal credential",
  ),
  row("E-URL", "arguments as the base address", tool('http: {method: POST, url: "${{ §args.id }}/x"}'), "secret"),
  row(
    "E-URL",
    "arguments in the host",
    tool('http: {method: POST, url: "https://${{ §args.id }}.example/x"}'),
    "no insertion",
  ),
  row(
    "E-URL",
    "text glued to the base address",
    tool('http: {method: POST, url: "${{ §secret.pay.url }}.evil.example"}'),
    "comes / or ?",
  ),
  row("E-URL", "another scheme", tool('http: {method: POST, url: §"ftp://x/y"}'), "not http"),
  row("E-VALUE", "an unknown method", tool('http: {method: §FETCH, url: "https://x/y"}'), "not one of"),
  row(
    "E-VALUE",
    "a header that the worker sets",
    tool('http: {method: POST, url: "https://x/y", headers: {§Host: a}}'),
    "set by the worker",
  ),
  row(
    "E-EXPRESSION",
    "a body that names something unknown",
    tool('http: {method: POST, url: "https://x/y", body: "${{ §arg }}"}'),
    'did you mean "args"?',
  ),
  row("E-SHELL", "a command as one string", command("command: {argv: §jq .items}"), '["jq", ".items"]'),
  row(
    "E-SHELL",
    "a shell with -c",
    command('command: {argv: [/bin/§sh, -c, "ls"]}'.replace("/bin/§sh", "§/bin/sh")),
    "as a shell",
  ),
  row("E-SHELL", "a shell behind env", command('command: {argv: [env, §bash, -lc, "ls"]}'), "as a shell"),
  row("E-SHELL", "a program chosen by arguments", command('command: {argv: [§"${{ args.id }}"]}'), "no insertion"),
  row(
    "E-TYPE",
    "an environment value that is a number",
    command("command: {argv: [x], env: {N: §1}}"),
    'quote it: "1"',
  ),
  row(
    "E-NOT-YET",
    "an idempotency key",
    tool(`${HTTP}\nidempotency: {§key: args.id}`),
    "not supported by this version",
  ),
  row("E-NOT-YET", "a tool's concurrency", tool(`${HTTP}\n§concurrency: 3`), "not supported by this version"),
  row(
    "E-SCHEMA",
    "arguments that are no object",
    head("Tool", "t", `type: http\n${HTTP}\ndescription: x\neffect: read\ninputSchema: §{type: string}`),
    "an object",
  ),
  // AgentSystem
  row(
    "E-NAME",
    "a node name with a dash",
    system(`nodes: [{name: §my-node, agent: free}]\n${OUT}`),
    'did you mean "my_node"?',
  ),
  row(
    "E-NAME",
    "a node named by a reserved word",
    system(`nodes: [{name: §loop, agent: free}]\n${OUT}`),
    "reserved word",
  ),
  row(
    "E-DUPLICATE",
    "two nodes of one name",
    system(`nodes: [{name: a, agent: free}, §{name: a, agent: free}]\n${OUT}`),
    "two nodes",
  ),
  row("E-NOT-YET", "a tool node", system(`nodes: [{name: a, §tool: refund}]\n${OUT}`), "not supported by this version"),
  row(
    "E-NOT-YET",
    "a mapped node",
    system(`nodes: [{name: a, agent: free, §map: {over: input.x, as: x}}]\n${OUT}`),
    "not supported by this version",
  ),
  row(
    "E-NOT-YET",
    "a quorum join",
    system(`nodes: [{name: a, agent: free, §join: {quorum: 2}}]\n${OUT}`),
    "not supported by this version",
  ),
  row(
    "E-NOT-YET",
    "an error edge",
    system(`${TWO}\nedges: [{from: a, to: b, §outcome: failed}]\n${OUT}`),
    "not supported by this version",
  ),
  row(
    "E-NOT-YET",
    "a loop edge",
    system(`${TWO}\nedges: [{from: a, to: b, §loop: {max: 3}}]\n${OUT}`),
    "not supported by this version",
  ),
  row(
    "E-REFERENCE",
    "an agent that does not exist",
    system(`nodes: [{name: a, agent: §fre}]\n${OUT}`),
    'did you mean "free"?',
  ),
  row(
    "E-EDGE",
    "an edge to an unknown node",
    system(`${TWO}\nedges: [{from: a, to: §bb}]\n${OUT}`),
    'did you mean "b"?',
  ),
  row(
    "E-EDGE",
    "otherwise with when",
    system(`${TWO}\nedges: [{from: a, to: b, when: "true", §otherwise: true}]\n${OUT}`),
    "not both",
  ),
  row(
    "E-EDGE",
    "two otherwise sets in a group",
    system(
      `${TWO}\n  - {name: c, agent: free}\nedges:\n  - {from: a, to: b, otherwise: true}\n  - {from: a, to: c, otherwise: §true}\n${OUT}`,
    ),
    "already has",
  ),
  row(
    "E-CYCLE",
    "a cycle",
    system(
      `nodes: [{name: §a, agent: free}, {name: b, agent: free}]\nedges: [{from: a, to: b}, {from: b, to: a}]\n${OUT}`,
    ),
    "a → b → a",
  ),
  row(
    "E-UNREACHABLE",
    "nodes behind no entry",
    system(
      `nodes: [{name: e, agent: free}, {name: a, agent: free}, {name: §b, agent: free}]\nedges: [{from: a, to: b}, {from: b, to: a}]\n${OUT}`,
    ),
    "can never run",
  ),
  row(
    "E-EXPRESSION",
    "a condition that does not parse",
    system(`${TWO}\nedges: [{from: a, to: b, when: 'output.route §== == 1'}]\n${OUT}`),
    "not a CEL expression",
  ),
  row(
    "E-EXPRESSION",
    "a condition in ${{ }}",
    system(`${TWO}\nedges: [{from: a, to: b, when: "§\${{ true }}"}]\n${OUT}`),
    "bare CEL",
  ),
  row(
    "E-CONDITION",
    "a condition that is a string on the sample",
    system(`${TWO}\nedges: [{from: a, to: b, when: §output.route}]\n${OUT}`),
    "not true or false",
  ),
  row(
    "W-OPTIONAL",
    "a condition that reads what is not required",
    system(`${TWO}\nedges: [{from: a, to: b, when: §output.score > 1.0}]\n${OUT}`),
    "not required",
    "warning",
  ),
  row(
    "E-EXPRESSION",
    "a read of an unknown node",
    system(`nodes: [{name: b, agent: free}]\noutput: {value: "\${{ §nodes.c.output }}"}`),
    "no node",
  ),
  row(
    "E-DOMINATION",
    "a read of a node that may be skipped",
    system(`${TWO}\nedges: [{from: a, to: b, when: "true"}]\noutput: {value: "\${{ §nodes.b.output }}"}`),
    "has(nodes.b.output)",
  ),
  row(
    "E-DOMINATION",
    "a read of a node that runs beside",
    system(`nodes: [{name: a, agent: free}, {name: b, agent: free, input: "\${{ §nodes.a.output }}"}]\n${OUT}`),
    "does not run before",
  ),
  row(
    "E-INPUT",
    "a literal of a wrong type",
    system(`nodes: [{name: a, agent: asker, input: {question: §5}}]\n${OUT}`),
    "string",
  ),
  row(
    "E-INPUT",
    "a field path of a wrong type",
    system(`nodes: [{name: a, agent: asker, input: {question: §"\${{ input.size }}"}}]\n${OUT}`),
    "expected string, found integer",
  ),
  row(
    "E-INPUT",
    "an expression of a wrong type on the sample",
    system(`nodes: [{name: a, agent: asker, input: {question: §"\${{ size(input.text) }}"}}]\n${OUT}`),
    "found integer",
  ),
  row(
    "E-INPUT",
    "a required member that is missing",
    system(`nodes: [{name: a, agent: asker, input: §{count: 1}}]\n${OUT}`),
    "question",
  ),
  row(
    "E-INPUT",
    "a member that the agent does not take",
    system(`nodes: [{name: a, agent: asker, input: {question: "\${{ input.text }}", §extra: 1}}]\n${OUT}`),
    'no "extra"',
  ),
  row(
    "E-INPUT",
    "a system input that does not fit a node without its own",
    system(`nodes: [{name: §a, agent: asker}]\n${OUT}`),
    "give the node an input",
  ),
  // Policy
  row("E-MISSING", "a policy without allow and deny", policy(`§${ATTACH}`), "allow"),
  row("E-MISSING", "a policy without attachTo", policy(`§${MATCH}`), '"attachTo" is missing'),
  row("E-NOT-YET", "observe", policy(`§mode: observe\n${ATTACH}\n${MATCH}`), "not supported by this version"),
  row("E-NOT-YET", "a library policy", policy(`attachTo: §[]\n${MATCH}`), "not supported by this version"),
  row(
    "E-NOT-YET",
    "a selector",
    policy(`attachTo: [{kind: Tool, §selector: {}}]\n${MATCH}`),
    "not supported by this version",
  ),
  row("E-NOT-YET", "limits", policy(`${ATTACH}\n${MATCH}\n§limits: []`), "not supported by this version"),
  row("E-NOT-YET", "a CEL condition", policy(`${ATTACH}\nallow: {§cel: "true"}`), "not supported by this version"),
  row("E-UNION", "a condition of two members", policy(`${ATTACH}\nallow: §{all: [], not: {}}`), "exactly one"),
  row(
    "E-UNKNOWN-KEY",
    "a misspelt matcher",
    policy(`${ATTACH}\nallow: {match: {§requester.group: [a]}}`),
    'did you mean "requester.groups"?',
  ),
  row("E-TYPE", "a matcher without list", policy(`${ATTACH}\nallow: {match: {requester.groups: §ops}}`), "[a, b]"),
  row(
    "E-TYPE",
    "a matched number",
    policy(`${ATTACH}\nallow: {match: {context.tags: {customer-id: [§123]}}}`),
    'quote it: "123"',
  ),
  row(
    "E-VALUE",
    "an empty list of values",
    policy(`${ATTACH}\nallow: {match: {requester.groups: §[]}}`),
    "never matches",
  ),
  row(
    "E-VALUE",
    "an unknown kind of requester",
    policy(`${ATTACH}\nallow: {match: {requester.kinds: [§human]}}`),
    "not one of",
  ),
  row(
    "E-CHECKPOINT",
    "a checkpoint out of reach",
    policy(`${ATTACH}\ncheckpoints: [§workflow.run]\n${MATCH}`),
    "out of reach",
  ),
  row(
    "E-CHECKPOINT",
    "a checkpoint at which a field does not exist",
    policy(`${ATTACH}\ncheckpoints: [§agent.run]\nallow: {match: {tool.names: [x]}}`),
    "does not exist at agent.run",
  ),
  row(
    "E-REFERENCE",
    "an attachment to nothing",
    policy(`attachTo: [{kind: Agent, name: §fre}]\n${MATCH}`),
    'did you mean "free"?',
  ),
  row(
    "E-REFERENCE",
    "another namespace",
    policy(`attachTo: [{kind: Namespace, name: §prod}]\n${MATCH}`),
    "does not reach",
  ),
  row(
    "W-UNVERIFIED",
    "metadata of the request",
    policy(`${ATTACH}\nallow: {match: {context.metadata: {who: [§me]}}}`),
    "anybody",
    "warning",
  ),
  row(
    "W-UNVERIFIED",
    "a tag of the request",
    `${template("tags: {ticket: {from: request}}")}---\n${head("Policy", "p", "attachTo: [{kind: WorkflowTemplate, name: flow}]\nallow: {match: {context.tags: {ticket: [§t]}}}")}`,
    "anybody",
    "warning",
  ),
  // WorkflowTemplate
  row(
    "E-REFERENCE",
    "a system that does not exist",
    head("WorkflowTemplate", "flow", "system: §nothing"),
    "no AgentSystem",
  ),
  row("E-VALUE", "a grace below three seconds", template("cancellation: {grace: §1s}"), "between 3s"),
  row("E-NOT-YET", "a workflow's concurrency", template("§concurrency: {max: 1}"), "not supported by this version"),
  row("E-NOT-YET", "retention", template("§retention: {runs: 90d}"), "not supported by this version"),
  row("E-VALUE", "an unknown priority", template("priority: §hihg"), 'did you mean "high"?'),
  row("E-UNION", "a claim on a request tag", template("tags: {t: {from: request, §claim: c}}"), "does not belong"),
  row("E-TYPE", "a tag value that is a number", template("tags: {t: {from: template, value: §5}}"), 'quote it: "5"'),
  row(
    "E-EXPRESSION",
    "an input that reads an unknown tag",
    template('input: {text: "${{ §tags.tikcet }}"}\ntags: {ticket: {from: request, required: true}}'),
    'did you mean "ticket"?',
  ),
  row(
    "E-INPUT",
    "an input that does not fit the system",
    template('input: {text: §"${{ params.size }}"}'),
    "found integer",
  ),
];
