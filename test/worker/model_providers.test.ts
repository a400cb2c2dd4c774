// The adapters of openai and anthropic, each against a local server that speaks its API: what is sent, what is read from a
// stream, which class every failure has, whose key goes where, and that a stopped call ends the request at once.

import type { ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import type { Json } from "../../kit/json.ts";
import type { ModelMessage, ModelRequest } from "../../worker/model/adapter.ts";
import { createAnthropicAdapter } from "../../worker/model/anthropic.ts";
import { createOpenAiAdapter, createOpenAiCompatibleAdapter } from "../../worker/model/openai.ts";
import { createModelAdapters } from "../../worker/model/registry.ts";
import { turnText } from "../../worker/session/translate.ts";
import { modelRequest, modelServer, streams } from "./model_server.ts";
import { toolView } from "./recording_port.ts";

const clock = systemClock();
const SCHEMA = { type: "object", required: ["route"], properties: { route: { type: "string" } } };
const MESSAGES: ModelMessage[] = [
  { role: "user", text: "hello" },
  {
    role: "assistant",
    text: "let me look",
    toolCalls: [
      { name: "search", arguments: { q: 1 } },
      { name: "search", arguments: {} },
    ],
    turn: 1,
  },
  { role: "tool", turn: 1, callIndex: 0, name: "search", text: '{"hits":0}' },
  { role: "tool", turn: 1, callIndex: 1, name: "search", text: '{"hits":9}' },
];
const provider = (name: string) => ({ provider: name, name: "small", hasSecretRef: false, script: [] });
const openai = (url: string, changes: Partial<ModelRequest> = {}) =>
  createOpenAiAdapter({ clock, baseUrl: url, apiKey: "own-key" }).ask(
    modelRequest({ model: provider("openai"), ...changes }),
  );
const anthropic = (url: string, changes: Partial<ModelRequest> = {}) =>
  createAnthropicAdapter({ clock, baseUrl: url.replace("/v1", ""), apiKey: "own-key" }).ask(
    modelRequest({ model: provider("anthropic"), ...changes }),
  );

/** Chunks of a chat completion. */
const chunk = (delta: Json, finish: string | null = null): Json => ({
  choices: [{ index: 0, delta, finish_reason: finish }],
});
const part = (index: number, called: Json): Json => chunk({ tool_calls: [{ index, function: called }] });
const OPENAI_TEXT = [
  chunk({ role: "assistant", content: "" }),
  chunk({ content: "hé" }),
  chunk({ content: "llo" }),
  chunk({}, "stop"),
  { choices: [], usage: { prompt_tokens: 12, completion_tokens: 3 } },
];

/** Events of a message. */
const start: Json = {
  type: "message_start",
  message: { usage: { input_tokens: 10, cache_read_input_tokens: 5, output_tokens: 1 } },
};
const open = (index: number, block: Json): Json => ({ type: "content_block_start", index, content_block: block });
const delta = (index: number, change: Json): Json => ({ type: "content_block_delta", index, delta: change });
const close = (reason: Json): Json[] => [
  { type: "message_delta", delta: { stop_reason: reason }, usage: { output_tokens: 7 } },
  { type: "message_stop" },
];
const ANTHROPIC_TEXT = [
  start,
  { type: "ping" },
  open(0, { type: "text", text: "" }),
  delta(0, { type: "text_delta", text: "hé" }),
  delta(0, { type: "text_delta", text: "llo" }),
  { type: "content_block_stop", index: 0 },
  ...close("end_turn"),
];

test("token counts are recorded with the turn", () => {
  const turn = { text: "a", toolCalls: [], usage: { inputTokens: 1, outputTokens: 2 } };
  expect(turnText(turn)).toBe('{"text":"a","toolCalls":[],"usage":{"inputTokens":1,"outputTokens":2}}');
});

describe("openai", () => {
  test("sends conversation, tools, parameters, and the schema of the answer, and reads a stream", async () => {
    const server = await modelServer(streams(OPENAI_TEXT));
    const turn = await openai(server.url, {
      model: { ...provider("openai"), temperature: 0, maxOutputTokens: 50 },
      tools: [toolView("search")],
      messages: MESSAGES,
      outputSchema: SCHEMA,
    });
    expect(turn).toEqual({ text: "héllo", toolCalls: [], usage: { inputTokens: 12, outputTokens: 3 } });
    expect(server.seen).toMatchObject([{ path: "/v1/chat/completions", headers: { authorization: "Bearer own-key" } }]);
    const call = (index: number, text: string) => ({
      id: `call_1_${index}`,
      type: "function",
      function: { name: "search", arguments: text },
    });
    expect(server.seen[0]?.body).toEqual({
      model: "small",
      temperature: 0,
      max_completion_tokens: 50,
      stream: true,
      stream_options: { include_usage: true },
      response_format: { type: "json_schema", json_schema: { name: "answer", schema: SCHEMA, strict: false } },
      tools: [
        { type: "function", function: { name: "search", description: "does search", parameters: { type: "object" } } },
      ],
      messages: [
        { role: "system", content: "be brief" },
        { role: "user", content: "hello" },
        { role: "assistant", content: "let me look", tool_calls: [call(0, '{"q":1}'), call(1, "{}")] },
        { role: "tool", tool_call_id: "call_1_0", content: '{"hits":0}' },
        { role: "tool", tool_call_id: "call_1_1", content: '{"hits":9}' },
      ],
    });
  });

  test("reads tool calls that come in pieces, in the order of their index", async () => {
    const pieces = [
      part(1, { name: "second", arguments: "" }),
      part(0, { name: "first", arguments: '{"q"' }),
      part(0, { arguments: ':"a"}' }),
      chunk({}, "tool_calls"),
    ];
    const server = await modelServer(streams(pieces, 1));
    expect(await openai(server.url)).toEqual({
      text: "",
      toolCalls: [
        { name: "first", arguments: { q: "a" } },
        { name: "second", arguments: {} },
      ],
    });
  });

  test.each<[string, Json[], string]>([
    ["a refusal", [chunk({ refusal: "I will not" }), chunk({}, "stop")], "ModelRefused"],
    ["the provider's filter", [chunk({ content: "x" }), chunk({}, "content_filter")], "ModelRefused"],
    ["the limit of tokens", [chunk({ content: "x" }), chunk({}, "length")], "OutputTooLarge"],
    ["no finish", [chunk({ content: "x" })], "ModelUnavailable"],
    [
      "an error in the stream",
      [chunk({ content: "x" }), { error: { message: "oops", type: "server_error" } }],
      "ModelUnavailable",
    ],
    ["a rate limit in the stream", [{ error: { message: "slow", code: "rate_limit_exceeded" } }], "RateLimited"],
    ["arguments that are no JSON", [part(0, { name: "t", arguments: "{" }), chunk({}, "tool_calls")], "ModelProtocol"],
    ["a call without a name", [part(0, { arguments: "{" }), chunk({}, "tool_calls")], "ModelProtocol"],
    ["an event that is a list", [[1]], "ModelProtocol"],
  ])("a stream with %s is %s", async (_, events, errorClass) => {
    const server = await modelServer(streams(events));
    await expect(openai(server.url)).rejects.toMatchObject({ class: errorClass });
  });

  test("a schema that is no object is told in the prompt, and so it is to other servers", async () => {
    const server = await modelServer(streams(OPENAI_TEXT));
    const list = { type: "array" };
    await openai(server.url, { outputSchema: list });
    const compatible = await modelServer((response) =>
      response.end(
        JSON.stringify({
          choices: [{ message: { content: "{}" } }],
          usage: { prompt_tokens: 1, completion_tokens: 2 },
        }),
      ),
    );
    const model = { ...provider("openai-compatible"), baseUrl: compatible.url };
    const turn = await createOpenAiCompatibleAdapter({ clock }).ask(modelRequest({ model, outputSchema: SCHEMA }));
    expect(turn.usage).toEqual({ inputTokens: 1, outputTokens: 2 });
    for (const [seen, schema] of [
      [server.seen[0], list],
      [compatible.seen[0], SCHEMA],
    ] as const) {
      expect(seen?.body["response_format"]).toBe(undefined);
      const [system] = (seen?.body["messages"] ?? []) as { content: string }[];
      expect(system?.content).toMatch(/^be brief\n\n.*JSON only/);
      expect(JSON.parse(system?.content.split("\n").at(-1) as string)).toEqual(schema);
    }
  });
});

describe("anthropic", () => {
  test("sends conversation, tools, parameters, and the schema of the answer, and reads a stream", async () => {
    const server = await modelServer(streams(ANTHROPIC_TEXT, 5, ""));
    const turn = await anthropic(server.url, {
      model: { ...provider("anthropic"), temperature: 1, maxOutputTokens: 50 },
      tools: [toolView("search")],
      messages: MESSAGES,
      outputSchema: SCHEMA,
    });
    expect(turn).toEqual({ text: "héllo", toolCalls: [], usage: { inputTokens: 15, outputTokens: 7 } });
    expect(server.seen).toMatchObject([
      { path: "/v1/messages", headers: { "x-api-key": "own-key", "anthropic-version": "2023-06-01" } },
    ]);
    expect(server.seen[0]?.headers.authorization).toBe(undefined);
    const use = (index: number, input: Json) => ({ type: "tool_use", id: `call_1_${index}`, name: "search", input });
    const result = (index: number, content: string) => ({
      type: "tool_result",
      tool_use_id: `call_1_${index}`,
      content,
    });
    expect(server.seen[0]?.body).toEqual({
      model: "small",
      temperature: 1,
      max_tokens: 50,
      stream: true,
      system: expect.stringMatching(/^be brief\n\n.*JSON only/),
      tools: [{ name: "search", description: "does search", input_schema: { type: "object" } }],
      messages: [
        { role: "user", content: [{ type: "text", text: "hello" }] },
        { role: "assistant", content: [{ type: "text", text: "let me look" }, use(0, { q: 1 }), use(1, {})] },
        { role: "user", content: [result(0, '{"hits":0}'), result(1, '{"hits":9}')] },
      ],
    });
  });

  test("leaves out what is empty, and asks for a limit of tokens of its own", async () => {
    const server = await modelServer(streams(ANTHROPIC_TEXT, 900, ""));
    await anthropic(server.url, {
      systemPrompt: "",
      messages: [
        { role: "user", text: "a" },
        { role: "assistant", text: "", toolCalls: [{ name: "t", arguments: {} }], turn: 1 },
      ],
    });
    expect(server.seen[0]?.body).toEqual({
      model: "small",
      max_tokens: 8192,
      stream: true,
      messages: [
        { role: "user", content: [{ type: "text", text: "a" }] },
        { role: "assistant", content: [{ type: "tool_use", id: "call_1_0", name: "t", input: {} }] },
      ],
    });
  });

  test("reads text and tool calls that come in pieces, and passes over thinking", async () => {
    const events = [
      start,
      open(0, { type: "thinking", thinking: "" }),
      delta(0, { type: "thinking_delta", thinking: "hmm" }),
      open(1, { type: "text", text: "" }),
      delta(1, { type: "text_delta", text: "I look." }),
      open(2, { type: "tool_use", id: "toolu_1", name: "search", input: {} }),
      delta(2, { type: "input_json_delta", partial_json: '{"q":' }),
      delta(2, { type: "input_json_delta", partial_json: '"a"}' }),
      open(3, { type: "tool_use", id: "toolu_2", name: "now", input: {} }),
      ...close("tool_use"),
    ];
    const server = await modelServer(streams(events, 3, ""));
    expect(await anthropic(server.url)).toEqual({
      text: "I look.",
      toolCalls: [
        { name: "search", arguments: { q: "a" } },
        { name: "now", arguments: {} },
      ],
      usage: { inputTokens: 15, outputTokens: 7 },
    });
  });

  test.each<[string, Json[], string]>([
    ["max_tokens", [start, ...close("max_tokens")], "OutputTooLarge"],
    ["refusal", [start, ...close("refusal")], "ModelRefused"],
    ["model_context_window_exceeded", [start, ...close("model_context_window_exceeded")], "ContextTooLong"],
    ["a reason that nobody knows", [start, ...close("pause_turn")], "ModelProtocol"],
    ["no end", [start, open(0, { type: "text", text: "" })], "ModelUnavailable"],
    [
      "overload in the stream",
      [start, { type: "error", error: { type: "overloaded_error", message: "busy" } }],
      "ModelUnavailable",
    ],
    [
      "a rate limit in the stream",
      [{ type: "error", error: { type: "rate_limit_error", message: "slow" } }],
      "RateLimited",
    ],
    ["a delta without block", [start, delta(4, { type: "text_delta", text: "x" })], "ModelProtocol"],
    [
      "arguments that are no object",
      [
        open(0, { type: "tool_use", name: "t" }),
        delta(0, { type: "input_json_delta", partial_json: "[]" }),
        ...close("tool_use"),
      ],
      "ModelProtocol",
    ],
  ])("a stream with %s is %s", async (_, events, errorClass) => {
    const server = await modelServer(streams(events, 11, ""));
    await expect(anthropic(server.url)).rejects.toMatchObject({ class: errorClass });
  });
});

describe.each([
  ["openai", openai],
  ["anthropic", anthropic],
])("%s", (name, ask) => {
  test.each<[number, Record<string, string>, Json, string, boolean, number | undefined]>([
    [
      429,
      { "retry-after": "3" },
      { error: { message: "slow down", type: "rate_limit_error" } },
      "RateLimited",
      true,
      3_000,
    ],
    [429, { "retry-after-ms": "250", "retry-after": "1" }, { error: { message: "slow" } }, "RateLimited", true, 250],
    [429, {}, { error: { code: "insufficient_quota", message: "pay first" } }, "ModelAuth", false, undefined],
    [500, {}, { error: { type: "api_error", message: "oops" } }, "ModelUnavailable", true, undefined],
    [
      529,
      { "retry-after": "2" },
      { error: { type: "overloaded_error", message: "busy" } },
      "ModelUnavailable",
      true,
      2_000,
    ],
    [401, {}, { error: { message: "Incorrect key own-key" } }, "ModelAuth", false, undefined],
    [403, {}, { error: { message: "own-key may not" } }, "ModelAuth", false, undefined],
    [413, {}, "too large", "ContextTooLong", false, undefined],
    [400, {}, { error: { code: "context_length_exceeded", message: "m" } }, "ContextTooLong", false, undefined],
    [
      400,
      {},
      { error: { message: "prompt is too long: 210000 tokens > 200000 maximum" } },
      "ContextTooLong",
      false,
      undefined,
    ],
    [400, {}, { error: { message: "bad schema" } }, "ModelRefused", false, undefined],
    [404, {}, { error: { type: "not_found_error", message: "model: small" } }, "ModelRefused", false, undefined],
  ])("%i %o %o is %s", async (status, headers, body, errorClass, retryable, retryAfterMs) => {
    const server = await modelServer((response) => response.writeHead(status, headers).end(JSON.stringify(body)));
    const error = await ask(server.url).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ class: errorClass, retryable });
    expect((error as { retryAfterMs?: number }).retryAfterMs).toBe(retryAfterMs);
  });

  test("the agent's key wins over the worker's own", async () => {
    const server = await modelServer(streams(name === "openai" ? OPENAI_TEXT : ANTHROPIC_TEXT));
    await ask(server.url, { secret: "agent-key" });
    const { authorization, "x-api-key": key } = server.seen[0]?.headers ?? {};
    expect(authorization ?? key).toMatch(/agent-key$/);
  });

  test("no key at all is told before anything is sent", async () => {
    const adapter = createModelAdapters(clock, {})[name];
    const asked = adapter?.ask(modelRequest({ model: provider(name) }));
    await expect(asked).rejects.toMatchObject({
      class: "ModelAuth",
      message: expect.stringContaining(`${name.toUpperCase()}_API_KEY`),
    });
  });

  test("a gateway of the operator's may need no key", async () => {
    const server = await modelServer(streams(name === "openai" ? OPENAI_TEXT : ANTHROPIC_TEXT));
    const base = { openAiBaseUrl: server.url, anthropicBaseUrl: server.url.replace("/v1", "/") };
    await createModelAdapters(clock, base)[name]?.ask(modelRequest({ model: provider(name) }));
    const { authorization, "x-api-key": key } = server.seen[0]?.headers ?? {};
    expect([authorization, key]).toEqual([undefined, undefined]);
  });

  test("an answer that never ends is ModelProtocol once it is too large", async () => {
    const server = await modelServer((response) => {
      const more = () => {
        while (!response.destroyed && response.write(`data: ${"x".repeat(65_536)}`));
        if (!response.destroyed) response.once("drain", more);
      };
      more();
    });
    await expect(ask(server.url)).rejects.toMatchObject({ class: "ModelProtocol" });
  });

  test("a connection that breaks in the middle is ModelUnavailable, and a redirect is not followed with the key", async () => {
    const half = (response: ServerResponse) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: {", () => response.destroy());
    };
    const broken = await modelServer(half);
    await expect(ask(broken.url)).rejects.toMatchObject({ class: "ModelUnavailable" });
    const moved = await modelServer((response) => response.writeHead(307, { location: broken.url }).end());
    await expect(ask(moved.url)).rejects.toMatchObject({ class: "ModelUnavailable" });
    expect(broken.seen).toHaveLength(1);
  });

  test("a stopped call ends the request at once, in the middle of its answer", async () => {
    const controller = new AbortController();
    const closed = Promise.withResolvers<void>();
    const server = await modelServer((response) => {
      response.on("close", () => closed.resolve());
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(": thinking\n\n", () => setTimeout(() => controller.abort(), 20));
    });
    const startMs = performance.now();
    await expect(ask(server.url, { signal: controller.signal })).rejects.toMatchObject({ class: "ModelUnavailable" });
    await closed.promise;
    expect(performance.now() - startMs).toBeLessThan(10_000);
  });
});
