// The shape of kind Agent.
// Called by kinds.ts of this folder. The rules are those of ../agent.ts, ../agent_blocks.ts, and ../model.ts.

import { HOUR, MIB, MINUTE } from "../../../kit/units.ts";
import { AGENT_LIMITS } from "../agent.ts";
import { AGENT_RUNTIMES } from "../agent_spec.ts";
import { retry } from "./retry_shape.ts";
import {
  chooses,
  duration,
  flag,
  keys,
  label,
  list,
  map,
  number,
  type Shape,
  schema,
  template,
  text,
  texts,
  when,
  whole,
  word,
} from "./shape.ts";

const PROVIDERS = ["openai", "anthropic", "openai-compatible", "scripted"];
const URL = "An http or https address. It may begin with a secret, as in ${{ secret.NAME.url }}/path.";

const SCRIPT_RULE: Shape = {
  ...map(
    "The first rule whose `when` is true answers. It has one of text, output, toolCalls, error; text and toolCalls may stand together.",
    {
      when: text("CEL over input, turn, results. Absent: always."),
      text: text("Answers with text; a template over the same variables."),
      output: template("Answers with JSON; a template."),
      toolCalls: list(
        "Tools to call.",
        map(
          "One call.",
          { name: text("Alias of the tool."), arguments: template("Its arguments; a template that gives an object.") },
          ["name"],
        ),
      ),
      error: text("Fails with this class instead of answering.", { pattern: "^[A-Z][A-Za-z0-9]{0,63}$" }),
      delayMs: whole("Waits so many milliseconds first.", { min: 0, max: 1 * MINUTE }),
    },
  ),
  oneOf: [
    { required: ["text"], properties: { output: false, error: false } },
    { required: ["toolCalls"], properties: { text: false, output: false, error: false } },
    { required: ["output"], properties: { text: false, toolCalls: false, error: false } },
    { required: ["error"], properties: { text: false, output: false, toolCalls: false } },
  ],
};

const MODEL = map(
  "Which model is asked. Of runtime model only.",
  {
    provider: word("Whose API is spoken; `scripted` answers by rules, without a network.", PROVIDERS),
    name: text("Name of the model. Of `scripted` it may be left out."),
    baseUrl: text("Of openai-compatible: where the server is, as https://host/v1.", {
      pattern: "^https?://[^/\\s?#]+[^\\s?#]*$",
    }),
    secretRef: map(
      "The model's key. Absent: the worker's own, and then only for its own endpoint. Not of scripted.",
      { name: label("Name of the secret."), key: text("Key in the secret.") },
      ["name", "key"],
    ),
    headers: texts(
      "Headers of each request; values may insert secrets. Those of the API itself are the worker's. Not of scripted.",
    ),
    parameters: map("How the model answers.", {
      temperature: number("How much chance there is in an answer; of anthropic at most 1.", { min: 0, max: 2 }),
      maxOutputTokens: whole("Tokens of an answer at most.", { min: 1, max: 1_000_000 }),
    }),
    script: list("Of scripted: its rules, in order.", SCRIPT_RULE, { min: 1 }),
  },
  ["provider"],
  [
    ...PROVIDERS.filter((provider) => provider !== "scripted").map((provider) =>
      when("provider", provider, keys(["name"], ["script"])),
    ),
    when("provider", "openai-compatible", keys(["baseUrl"])),
    ...PROVIDERS.filter((provider) => provider !== "openai-compatible").map((provider) =>
      when("provider", provider, keys([], ["baseUrl"])),
    ),
    when("provider", "scripted", keys(["script"], ["secretRef", "headers"])),
    when("provider", "anthropic", {
      properties: { parameters: { properties: { temperature: { maximum: 1 } } } },
    }),
  ],
);

const TOOL_ENTRY: Shape = {
  description: "A tool that the agent may call: its name, or a map that says more.",
  anyOf: [
    label("Name of a Tool."),
    map(
      "A tool with an alias or with rules of its own.",
      {
        ref: label("Name of a Tool of this namespace, else of namespace system."),
        as: text("Name that the model sees; the tool's unless given.", { pattern: "^[a-z][a-z0-9_-]{0,62}$" }),
        onDenied: word(
          "A policy denies the tool before the agent runs: fail the task, or withhold the tool from the model.",
          ["fail", "withhold"],
          "fail",
        ),
        onError: word(
          "A call failed: tell the model, or fail the task. Absent: tell for read tools, fail for others.",
          ["tell", "fail"],
        ),
      },
      ["ref"],
    ),
  ],
};

/** What an agent's own block may say, by runtime. */
const BLOCKS: Readonly<Record<string, Shape>> = {
  model: MODEL,
  http: map(
    "Of runtime http: the endpoint that answers.",
    {
      url: text(URL),
      headers: texts("Further headers; values may insert secrets."),
      allowPrivateNetwork: flag(
        "The address may be private; the worker's ORLOJ_PRIVATE_NETWORKS must list it as well.",
        false,
      ),
    },
    ["url"],
  ),
  command: map(
    "Of runtime command: the program that answers, JSON on standard input and output.",
    {
      argv: list("The program and its arguments, no insertion; never a shell.", { type: "string" }, { min: 1 }),
      env: texts("Its environment; values may insert secrets. Names that begin with ORLOJ_ are the worker's."),
      workDir: text("Its work directory inside the worker's ORLOJ_WORK_DIR; no insertion and no .."),
    },
    ["argv"],
  ),
  handler: map(
    "Of runtime handler: the code that answers.",
    { name: label("Name under which a worker registers it.") },
    ["name"],
  ),
};

const TURN_LIMITS = ["maxTurns", "maxToolCalls"];
const OUTSIDE = ["http", "command"];

/** The spec of an Agent. */
export const AGENT_SPEC = map(
  "Who does the work of a node: a model with tools, an endpoint, a program, or code in a worker.",
  {
    description: text("What the agent is for.", { default: "" }),
    runtime: word("What executes the agent; the block of that name says more.", AGENT_RUNTIMES, "model"),
    ...BLOCKS,
    systemPrompt: text("System prompt, as it is: no template. Of runtime model only.", { default: "" }),
    prompt: text("Prompt; a template over input. Absent: the input as JSON. Of runtime model only."),
    tools: list("Tools that it may call. Of runtimes model and handler.", TOOL_ENTRY),
    inputSchema: schema("JSON Schema of what a node must give it."),
    outputSchema: schema("JSON Schema that the answer must fit. Absent: the output is {text}."),
    repairAttempts: whole(
      "How often a model is asked again when its answer does not fit. Of runtime model only.",
      { min: 0, max: 10 },
      0,
    ),
    limits: map("What one execution may use.", {
      maxTurns: whole("Answers of the model.", { min: 1, max: 1_000 }, AGENT_LIMITS.maxTurns),
      maxToolCalls: whole("Tool calls.", { min: 0, max: 10_000 }, AGENT_LIMITS.maxToolCalls),
      timeout: duration("Time of one attempt.", { min: 100, max: 24 * HOUR }, AGENT_LIMITS.timeoutMs),
      maxOutputBytes: whole("Bytes of the output.", { min: 1, max: 1 * MIB }, AGENT_LIMITS.maxOutputBytes),
    }),
    errorHandling: map(
      "What becomes of a task that failed.",
      {
        retry: retry("Which failures are tried again. Absent: as the workflow says.", "task"),
        onExhausted: word(
          "A task failed for good: park it for a person, fail the run, or continue with `fallback`.",
          ["deadLetter", "fail", "continue"],
          "deadLetter",
        ),
        fallback: template("With continue: what stands for the output; it must fit the outputSchema."),
      },
      [],
      [
        when("onExhausted", "continue", keys(["fallback"])),
        when("onExhausted", "deadLetter", keys([], ["fallback"]), true),
        when("onExhausted", "fail", keys([], ["fallback"])),
      ],
    ),
    requirements: map("What a worker must have to execute it.", { labels: texts("Labels of the worker.") }),
  },
  [],
  [
    ...chooses("runtime", AGENT_RUNTIMES, "model"),
    when("runtime", "handler", keys([], ["systemPrompt", "prompt", "repairAttempts"])),
    ...OUTSIDE.map((runtime) =>
      when("runtime", runtime, {
        properties: {
          ...Object.fromEntries(["systemPrompt", "prompt", "repairAttempts", "tools"].map((key) => [key, false])),
          limits: { properties: Object.fromEntries(TURN_LIMITS.map((key) => [key, false])) },
        },
      }),
    ),
  ],
);
