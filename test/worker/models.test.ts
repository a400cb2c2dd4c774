// Model adapters: the scripted one, and the openai-compatible one against a local server that speaks that API.

import type { ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import type { Json } from "../../kit/json.ts";
import type { ScriptRuleView } from "../../worker/agent/view.ts";
import type { ModelRequest } from "../../worker/model/adapter.ts";
import { createOpenAiCompatibleAdapter } from "../../worker/model/openai.ts";
import { createModelAdapters } from "../../worker/model/registry.ts";
import { createScriptedAdapter } from "../../worker/model/scripted.ts";
import { modelServer as endpoint, modelRequest as request } from "./model_server.ts";
import { toolView } from "./recording_port.ts";

const clock = systemClock();

describe("scripted", () => {
  const ask = (script: ScriptRuleView[], changes: Partial<ModelRequest> = {}) =>
    createScriptedAdapter(clock).ask(
      request({ model: { provider: "scripted", name: "m", hasSecretRef: false, script }, ...changes }),
    );

  test("the first rule whose condition holds answers", async () => {
    const script = [
      { when: "turn == 2", text: "two" },
      { when: 'input.question == "why"', text: "because" },
      { text: "else" },
    ];
    expect(await ask(script)).toEqual({ text: "because", toolCalls: [] });
    expect(await ask(script, { turn: 2 })).toEqual({ text: "two", toolCalls: [] });
    expect(await ask(script, { input: { question: "" } })).toEqual({ text: "else", toolCalls: [] });
  });

  test("text, output and tool arguments are templates over input, turn and results", async () => {
    const results = { search: { hits: [1, 2] } };
    expect(await ask([{ text: "turn ${{ turn }}: ${{ input.question }}" }])).toMatchObject({ text: "turn 1: why" });
    expect(await ask([{ output: { n: "${{ results.search.hits.size() }}" } }], { results })).toMatchObject({
      text: '{"n":2}',
    });
    const toolCalls = [{ name: "search", arguments: { q: "${{ input.question }}" } }];
    expect(await ask([{ toolCalls }])).toEqual({ text: "", toolCalls: [{ name: "search", arguments: { q: "why" } }] });
  });

  test("an error class is thrown as it is", async () => {
    await expect(ask([{ error: "ModelUnavailable" }])).rejects.toMatchObject({
      class: "ModelUnavailable",
      retryable: true,
    });
    await expect(ask([{ error: "ModelAuth" }])).rejects.toMatchObject({ class: "ModelAuth", retryable: false });
  });

  test.each<[string, ScriptRuleView[]]>([
    ["no rule holds", [{ when: "turn == 9", text: "x" }]],
    ["a condition errors", [{ when: "results.missing.x == 1", text: "x" }]],
    ["arguments are no object", [{ toolCalls: [{ name: "t", arguments: "${{ input.question }}" }] }]],
  ])("a script that cannot be followed fails for good: %s", async (_, script) => {
    await expect(ask(script)).rejects.toMatchObject({ class: "ModelRefused", retryable: false });
  });

  test("a delay ends when the call is stopped", async () => {
    const controller = new AbortController();
    const asked = ask([{ text: "late", delayMs: 60_000 }], { signal: controller.signal });
    controller.abort(new Error("stopped"));
    await expect(asked).rejects.toThrow("stopped");
  });
});

describe("openai-compatible", () => {
  const says =
    (message: Json, status = 200) =>
    (response: ServerResponse) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify({ choices: [{ message, finish_reason: "stop" }] }));
    };
  const model = { provider: "openai-compatible", name: "small", hasSecretRef: false, script: [] };
  const ask = (baseUrl: string, changes: Partial<ModelRequest> = {}) =>
    createOpenAiCompatibleAdapter({ clock, baseUrl, apiKey: "own-key" }).ask(request({ model, ...changes }));

  test("sends the conversation, tools and parameters, and reads text", async () => {
    const server = await endpoint(says({ content: "hi" }));
    const turn = await ask(server.url, {
      model: { ...model, temperature: 0, maxOutputTokens: 50 },
      tools: [toolView("search")],
      messages: [
        { role: "user", text: "hello" },
        { role: "assistant", text: "", toolCalls: [{ name: "search", arguments: { q: 1 } }], turn: 1 },
        { role: "tool", turn: 1, callIndex: 0, name: "search", text: '{"hits":0}' },
      ],
    });
    expect(turn).toEqual({ text: "hi", toolCalls: [] });
    expect(server.seen).toMatchObject([
      {
        path: "/v1/chat/completions",
        headers: { authorization: "Bearer own-key" },
        body: {
          model: "small",
          temperature: 0,
          max_tokens: 50,
          messages: [
            { role: "system", content: "be brief" },
            { role: "user", content: "hello" },
            {
              role: "assistant",
              content: "",
              tool_calls: [{ id: "call_1_0", type: "function", function: { name: "search", arguments: '{"q":1}' } }],
            },
            { role: "tool", tool_call_id: "call_1_0", content: '{"hits":0}' },
          ],
          tools: [
            {
              type: "function",
              function: { name: "search", description: "does search", parameters: { type: "object" } },
            },
          ],
        },
      },
    ]);
  });

  test("the agent's key wins, and the worker's own key never goes to an endpoint that a manifest names", async () => {
    const server = await endpoint(says({ content: "hi" }));
    await ask(server.url, { secret: "agent-key" });
    await ask("http://127.0.0.1:1/v1", { model: { ...model, baseUrl: server.url } });
    expect(server.seen.map(({ headers }) => headers.authorization)).toEqual(["Bearer agent-key", undefined]);
  });

  test("reads tool calls", async () => {
    const call = { id: "x", type: "function", function: { name: "search", arguments: '{"q":"a"}' } };
    const server = await endpoint(
      says({ content: null, tool_calls: [call, { function: { name: "t", arguments: "" } }] }),
    );
    expect(await ask(server.url)).toEqual({
      text: "",
      toolCalls: [
        { name: "search", arguments: { q: "a" } },
        { name: "t", arguments: {} },
      ],
    });
  });

  test.each<[number, Record<string, string>, Json, string, boolean]>([
    [429, { "retry-after": "3" }, { error: { message: "slow down" } }, "RateLimited", true],
    [500, {}, "oops", "ModelUnavailable", true],
    [401, {}, { error: { message: "Incorrect key own-key" } }, "ModelAuth", false],
    [400, {}, { error: { code: "context_length_exceeded", message: "too long" } }, "ContextTooLong", false],
    [400, {}, { error: { message: "bad schema" } }, "ModelRefused", false],
  ])("%i %o %o is %s", async (status, headers, body, errorClass, retryable) => {
    const server = await endpoint((response) => response.writeHead(status, headers).end(JSON.stringify(body)));
    const error = await ask(server.url).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ class: errorClass, retryable });
    expect(String(error)).not.toContain("own-key");
    if (status === 429) expect(error).toMatchObject({ retryAfterMs: 3_000 });
  });

  test.each<[string, string]>([
    ["no JSON", "<html>"],
    ["no choices", "{}"],
    ["a choice without message", '{"choices":[{}]}'],
    [
      "arguments that are no JSON",
      '{"choices":[{"message":{"tool_calls":[{"function":{"name":"t","arguments":"{"}}]}}]}',
    ],
    [
      "arguments that are no object",
      '{"choices":[{"message":{"tool_calls":[{"function":{"name":"t","arguments":"[]"}}]}}]}',
    ],
  ])("an answer with %s is ModelProtocol", async (_, body) => {
    const server = await endpoint((response) => response.writeHead(200).end(body));
    await expect(ask(server.url)).rejects.toMatchObject({ class: "ModelProtocol", retryable: true });
  });

  test("a refusal is ModelRefused", async () => {
    const server = await endpoint(says({ content: null, refusal: "no" }));
    await expect(ask(server.url)).rejects.toMatchObject({ class: "ModelRefused" });
  });

  test("a redirect is not followed with the key", async () => {
    const server = await endpoint((response) => response.writeHead(302, { location: "http://127.0.0.1:1/" }).end());
    await expect(ask(server.url)).rejects.toMatchObject({ class: "ModelUnavailable" });
  });

  test("a hanging model ends when the call is stopped, and the connection with it", async () => {
    const controller = new AbortController();
    const closed = Promise.withResolvers<void>();
    const server = await endpoint((response) => {
      response.on("close", () => closed.resolve());
      controller.abort();
    });
    await expect(ask(server.url, { signal: controller.signal })).rejects.toMatchObject({ class: "ModelUnavailable" });
    await closed.promise;
  });

  test("an endpoint that is not there is ModelUnavailable; none at all is ModelAuth with what to set", async () => {
    await expect(ask("http://127.0.0.1:1/v1")).rejects.toMatchObject({ class: "ModelUnavailable" });
    await expect(createOpenAiCompatibleAdapter({ clock }).ask(request({ model }))).rejects.toThrow(
      "ORLOJ_OPENAI_BASE_URL",
    );
  });
});

test.each(["openai", "openai-compatible", "anthropic"])(
  "%s: headers of the agent go along, and none of them stands in for one of the API's",
  async (provider) => {
    const server = await endpoint((response) => response.writeHead(500).end());
    const keys = { openAiApiKey: "own-key", anthropicApiKey: "own-key" };
    const own = { openAiBaseUrl: server.url, anthropicBaseUrl: server.url.replace("/v1", ""), ...keys };
    const forged = { Authorization: "Bearer other", "X-API-KEY": "other", "Anthropic-Version": "other" };
    const headers = { "X-Team": "support", "Content-Type": "text/plain", ...forged };
    const asked = request({ model: { provider, name: "m", hasSecretRef: false, script: [] }, headers });
    await expect(createModelAdapters(clock, own)[provider]?.ask(asked)).rejects.toMatchObject({
      class: "ModelUnavailable",
    });
    const seen = server.seen[0]?.headers ?? {};
    expect(seen).toMatchObject({ "x-team": "support", "content-type": "application/json" });
    if (provider !== "anthropic") expect(seen.authorization).toBe("Bearer own-key");
    else expect(seen).toMatchObject({ "x-api-key": "own-key", "anthropic-version": "2023-06-01" });
  },
);
