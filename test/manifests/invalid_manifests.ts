// The table of manifests that must be refused: text, documents and agents here, the rest joined to it.
// Read by validate.test.ts through invalid_manifests.ts. § stands right before the place of the finding.
// Never holds a row that a valid manifest could match.

import { INVALID_GRAPHS } from "./invalid_graphs.ts";
import { INVALID_POLICIES } from "./invalid_policies.ts";
import { agent, HTTP, head, type InvalidManifest, MODEL, model, row, tool } from "./invalid_row.ts";
import { INVALID_RUNTIMES } from "./invalid_runtimes.ts";
import { INVALID_TOOLS } from "./invalid_tools.ts";
import { INVALID_WORKFLOWS } from "./invalid_workflows.ts";

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
  row("E-UNION", "a block of another runtime", agent("§command: {argv: [x]}"), "does not belong"),
  row(
    "E-UNION",
    "a baseUrl at provider openai",
    model("provider: openai\nname: gpt\n§baseUrl: http://x/v1"),
    "set provider",
  ),
  row(
    "E-UNION",
    "a baseUrl at provider anthropic",
    model("provider: anthropic\nname: c\n§baseUrl: http://x"),
    "set provider",
  ),
  row(
    "E-UNION",
    "headers of a scripted model",
    model("provider: scripted\nscript: [{text: hi}]\n§headers: {X-A: b}"),
    "does not belong to provider",
  ),
  ...["Authorization", "X-API-Key", "Content-Type", "Anthropic-Version", "Host", "transfer-encoding", "Expect"].map(
    (name) =>
      row(
        "E-VALUE",
        `a model's header ${name}`,
        model(`provider: openai\nname: gpt\nheaders: {§${name}: "\${{ secret.a.b }}"}`),
        "set by the worker",
      ),
  ),
  row(
    "E-SECRET",
    "a credential in a model's header",
    model("provider: openai\nname: gpt\nheaders: {X-Gateway-Token: §abc}"),
    "literal credential",
  ),
  row(
    "E-EXPRESSION",
    "a model's header that reads an input",
    model('provider: openai\nname: gpt\nheaders: {X-User: "${{ §input.user }}"}'),
    "unknown name",
  ),
  row(
    "E-EXPRESSION",
    "a model's header that names no secret",
    model('provider: openai\nname: gpt\nheaders: {X-User: "${{ §secret.gateway }}"}'),
    "write secret.NAME.KEY",
  ),
  row(
    "E-VALUE",
    "a line break in a model's header",
    model('provider: openai\nname: gpt\nheaders: {X-User: §"a\\r\\nX-B: c"}'),
    "no line break",
  ),
  row("E-MISSING", "provider anthropic without a model", model("§provider: anthropic"), '"name" is missing'),
  row(
    "E-VALUE",
    "a temperature that Anthropic does not take",
    model("provider: anthropic\nname: c\nparameters: {temperature: §1.5}"),
    "between 0 and 1",
  ),
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
  row("E-VALUE", "repair attempts beyond reason", agent("repairAttempts: §11"), "between 0 and 10"),
  row(
    "E-MISSING",
    "onExhausted continue without a fallback",
    agent("errorHandling: §{onExhausted: continue}"),
    "fallback",
  ),
  row("E-UNION", "a fallback that nothing uses", agent("errorHandling: {§fallback: {}}"), "set onExhausted: continue"),
  row(
    "E-INPUT",
    "a fallback that is no output",
    agent("outputSchema: {type: object, required: [a]}\nerrorHandling: {onExhausted: continue, fallback: §{b: 1}}"),
    "does not fit the outputSchema",
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
  ...INVALID_RUNTIMES,
  ...INVALID_TOOLS,
  ...INVALID_GRAPHS,
  ...INVALID_WORKFLOWS,
  ...INVALID_POLICIES,
];
