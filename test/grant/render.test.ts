// Rendering the means of one call: what hostile arguments cannot reach, and what the endpoint gets.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson, type Json, sha256 } from "../../kit/json.ts";
import { type CommandMeansValue, type HttpMeansValue, renderMeans, secretsOf } from "../../server/grant/render.ts";
import type { ToolSpec } from "../../server/manifests/specs.ts";
import { commandTool, httpTool } from "./render_fixtures.ts";

const SECRETS: Record<string, string> = { "pay/url": "https://pay.example/v1", "pay/token": "canary-4711" };
const CALL = { requestId: "auto:task_1/2/0", nowMs: 0 };

function rendered(tool: ToolSpec, args: Json = {}, secrets = SECRETS) {
  return renderMeans(tool, args, (name, key) => secrets[`${name}/${key}`], CALL);
}

function http(tool: ToolSpec, args: Json = {}, secrets = SECRETS): HttpMeansValue {
  const result = rendered(tool, args, secrets);
  if (!result.ok || result.means.kind !== "http") throw new Error(JSON.stringify(result));
  return result.means;
}

function command(tool: ToolSpec, args: Json = {}): CommandMeansValue {
  const result = rendered(tool, args);
  if (!result.ok || result.means.kind !== "command") throw new Error(JSON.stringify(result));
  return result.means;
}

function text(bytes: Uint8Array | undefined) {
  return bytes && new TextDecoder().decode(bytes);
}

const REFUND = httpTool("${{ secret.pay.url }}/refunds/${{ args.id }}?note=${{ args.note }}");

describe("a URL", () => {
  test("takes its base from a secret raw and every other insertion as one encoded part", () => {
    expect(http(REFUND, { id: "a/b?c#d", note: "x&y=z" }).url).toBe(
      "https://pay.example/v1/refunds/a%2Fb%3Fc%23d?note=x%26y%3Dz",
    );
    expect(http(REFUND, { id: 7, note: true }).url).toBe("https://pay.example/v1/refunds/7?note=true");
  });

  test("does not double the slash between a base that ends in one and the path", () => {
    expect(http(REFUND, { id: "1", note: "" }, { "pay/url": "https://pay.example/" }).url).toBe(
      "https://pay.example/refunds/1?note=",
    );
  });

  test.each([
    ["", "empty"],
    [".", '".."'],
    ["..", '".."'],
    ["%2e%2E", undefined],
    ["...", undefined],
    ["..\\..", undefined],
    ["//evil.example", undefined],
    ["https://evil.example", undefined],
    ["\ud800", "well-formed"],
  ])("with the path insertion %j", (id, problem) => {
    const result = rendered(REFUND, { id, note: "" });
    if (problem !== undefined) {
      expect(result).toMatchObject({ ok: false, class: "InvalidArguments", message: expect.stringContaining(problem) });
    } else expect(new URL(http(REFUND, { id, note: "" }).url).pathname.split("/")).toHaveLength(4);
  });

  test("refuses dots that only together with the manifest's own text climb", () => {
    const tool = httpTool("https://api.example/a/.${{ args.x }}/b");
    expect(rendered(tool, { x: "." })).toMatchObject({ ok: false, class: "InvalidArguments" });
    expect(http(tool, { x: "git" }).url).toBe("https://api.example/a/.git/b");
    expect(rendered(httpTool("https://api.example/a/${{ args.x }}${{ args.y }}"), { x: ".", y: "." })).toMatchObject({
      ok: false,
    });
  });

  test("allows dots and nothing in the query", () => {
    expect(http(httpTool("https://api.example/a?up=${{ args.x }}&b=${{ args.y }}"), { x: "..", y: "" }).url).toBe(
      "https://api.example/a?up=..&b=",
    );
  });

  test.each([
    "https://${{ args.host }}/a",
    "${{ args.url }}",
    "${{ args.url }}/a",
    "https://api.example${{ args.x }}",
    "https://api.example:${{ args.x }}/a",
    "https://${{ secret.pay.token }}/a",
    "${{ secret.pay.url + args.url }}/a",
  ])("refuses an insertion in scheme or host: %s", (url) => {
    expect(rendered(httpTool(url), { host: "h", url: "https://x", x: "1" })).toMatchObject({
      ok: false,
      class: "ToolInvalid",
    });
  });

  test.each([
    "ftp://pay.example",
    "pay.example",
    "https://user:pass@pay.example",
    "https://pay.example/a b",
    "https://pay.example\r\nX: y",
  ])("refuses the base %j and does not quote it", (base) => {
    const result = rendered(REFUND, { id: "1", note: "" }, { "pay/url": base });
    expect(result).toMatchObject({ ok: false, class: "ToolInvalid" });
    expect(JSON.stringify(result)).not.toContain("pay.example");
  });

  test("keeps origin and segment count, and gives back each value, whatever the arguments", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary", maxLength: 20 }),
        fc.string({ unit: "binary", maxLength: 20 }),
        (id, note) => {
          const result = rendered(REFUND, { id, note });
          if (!result.ok) {
            expect(["", ".", ".."].includes(id) || !id.isWellFormed() || !note.isWellFormed()).toBe(true);
            return;
          }
          const url = new URL((result.means as HttpMeansValue).url);
          expect(url.origin).toBe("https://pay.example");
          expect(url.pathname.split("/").map(decodeURIComponent)).toEqual(["", "v1", "refunds", id]);
          expect([...url.searchParams]).toEqual([["note", note]]);
          expect(url.hash).toBe("");
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

describe("headers and body", () => {
  test("carry secrets, JSON with its content type, and the request id for every effect", () => {
    for (const effect of ["read", "write", "destructive"] as const) {
      const means = http(
        httpTool("https://api.example/", {
          effect,
          headers: { Authorization: "Bearer ${{ secret.pay.token }}" },
          body: "${{ args }}",
        }),
        { b: 1, a: [true] },
      );
      expect(means.headers).toEqual({
        Authorization: "Bearer canary-4711",
        "content-type": "application/json",
        "Idempotency-Key": "auto:task_1/2/0",
      });
      expect(text(means.body)).toBe('{"a":[true],"b":1}');
    }
  });

  test("keep a declared content type and send a string body raw", () => {
    const means = http(
      httpTool("https://api.example/", { headers: { "Content-Type": "text/plain" }, body: "hello ${{ args.name }}" }),
      { name: "Ana\n" },
    );
    expect(means.headers["Content-Type"]).toBe("text/plain");
    expect(means.headers["content-type"]).toBe(undefined);
    expect(text(means.body)).toBe("hello Ana\n");
    expect(http(httpTool("https://api.example/")).body).toBe(undefined);
  });

  test("give the request id precedence over a header of that name, in any case", () => {
    const means = http(httpTool("https://api.example/", { headers: { "idempotency-key": "${{ args.k }}" } }), {
      k: "mine",
    });
    expect(means.headers).toEqual({ "Idempotency-Key": CALL.requestId });
  });

  test("replace a request id that no header may hold by its digest", () => {
    const result = renderMeans(httpTool("https://api.example/"), {}, () => undefined, {
      ...CALL,
      requestId: "key:support/refund/ä\n",
    });
    expect(result.ok && (result.means as HttpMeansValue).headers["Idempotency-Key"]).toBe(
      sha256("key:support/refund/ä\n"),
    );
  });

  test.each(["a\r\nX-Evil: 1", "a\nb", "a\0b", "a\tb", "\x7f", "…"])("refuse the header value %j", (value) => {
    expect(
      rendered(httpTool("https://api.example/", { headers: { "X-Note": "n ${{ args.v }}" } }), { v: value }),
    ).toMatchObject({
      ok: false,
      class: "InvalidArguments",
      message: expect.stringContaining("X-Note"),
    });
  });

  test("refuse a secret with a control character as the operator's fault, without quoting it", () => {
    const tool = httpTool("https://api.example/", { headers: { Authorization: "Bearer ${{ secret.pay.token }}" } });
    const result = rendered(tool, {}, { "pay/token": "canary\n4711" });
    expect(result).toMatchObject({ ok: false, class: "ToolInvalid" });
    expect(JSON.stringify(result)).not.toMatch(/canary/);
  });

  test("embed any JSON argument in a body exactly", () => {
    const tool = httpTool("https://api.example/", { body: { value: "${{ args.v }}", fixed: [1, "$${{ x }}"] } });
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const v = JSON.parse(JSON.stringify(value)) as Json;
        expect(text(http(tool, { v }).body)).toBe(canonicalJson({ value: v, fixed: [1, "${{ x }}"] }));
      }),
      { numRuns: 300 },
    );
  });
});

describe("a command", () => {
  test("gets each argument whole, whatever a shell would make of it", () => {
    const nasty = "; rm -rf / | $(id) `id` \n * ?";
    expect(command(commandTool(["git", "log", "--grep=${{ args.q }}", "x${{ args.q }}"]), { q: nasty }).argv).toEqual([
      "git",
      "log",
      `--grep=${nasty}`,
      `x${nasty}`,
    ]);
  });

  test.each([
    [["grep", "${{ args.q }}"], "-rf", false],
    [["grep", "${{ args.q }}"], "--", false],
    [["grep", "${{ args.empty }}${{ args.q }}"], "-rf", false],
    [["grep", "--", "${{ args.q }}"], "-rf", true],
    [["grep", "${{ args.dashes }}", "${{ args.q }}"], "-rf", false],
    [["grep", "--regexp=${{ args.q }}"], "-rf", true],
    [["grep", "${{ args.q }}"], "a-rf", true],
    [["grep", "${{ args.q }}"], "", true],
    [["grep", "--", "${{ args.q }}"], "a\0b", false],
  ])("%j with %j is allowed: %s", (argv, q, allowed) => {
    const result = rendered(commandTool(argv), { q, empty: "", dashes: "--" });
    expect(result.ok).toBe(allowed);
    if (!result.ok) expect(result.class).toBe("InvalidArguments");
  });

  test("takes no insertion as the program or the folder", () => {
    expect(rendered(commandTool(["${{ args.q }}"]), { q: "sh" })).toMatchObject({ ok: false, class: "ToolInvalid" });
    expect(rendered(commandTool(["ls"], { workDir: "/tmp/${{ args.q }}" }), { q: "sh" })).toMatchObject({
      ok: false,
      class: "ToolInvalid",
    });
  });

  test("gets stdin, environment, folder and the request id", () => {
    const means = command(
      commandTool(["jq", "."], {
        stdin: "${{ args }}",
        env: { TOKEN: "${{ secret.pay.token }}", N: "${{ args.n }}" },
        workDir: "/srv",
      }),
      { n: 3 },
    );
    expect(text(means.stdin)).toBe('{"n":3}');
    expect(means.env).toEqual({ TOKEN: "canary-4711", N: "3", ORLOJ_REQUEST_ID: CALL.requestId });
    expect(means.workDir).toBe("/srv");
    expect(rendered(commandTool(["jq"], { env: { N: "${{ args.n }}" } }), { n: "a\0b" })).toMatchObject({
      ok: false,
      class: "InvalidArguments",
    });
  });
});

describe("secrets", () => {
  test("are listed once each, by constant names", () => {
    expect(
      secretsOf(
        httpTool("${{ secret.pay.url }}/x", {
          headers: { A: "${{ secret.pay.token }}", B: '${{ secret["pay-eu"]["api.key"] + secret.pay.url }}' },
        }),
      ),
    ).toEqual([
      { name: "pay", key: "url" },
      { name: "pay", key: "token" },
      { name: "pay-eu", key: "api.key" },
    ]);
    expect(secretsOf(commandTool(["ls"]))).toEqual([]);
  });

  test("that are nowhere stop the call and name what is missing", () => {
    expect(rendered(REFUND, { id: "1", note: "" }, {})).toEqual({
      ok: false,
      class: "SecretMissing",
      message: "secret pay/url is not provided; mount it or set its variable",
    });
  });

  test("guarded by has() may be absent", () => {
    const tool = httpTool("https://api.example/", {
      headers: { A: '${{ has(secret.pay.token) ? secret.pay.token : "none" }}' },
    });
    expect(http(tool, {}, {}).headers["A"]).toBe("none");
    expect(http(tool).headers["A"]).toBe("canary-4711");
  });

  test.each([
    "${{ secret[args.name].token }}",
    "${{ secret.pay }}",
    "${{ secret.pay[args.key] }}",
    "${{ size(secret) }}",
  ])("cannot be chosen by arguments: %s", (value) => {
    expect(rendered(httpTool("https://api.example/", { body: value }), { name: "pay", key: "token" })).toMatchObject({
      ok: false,
      class: "ToolInvalid",
    });
  });

  test("never reach a message, even of an expression that fails over one", () => {
    for (const body of [
      "${{ int(secret.pay.token) }}",
      "${{ secret.pay.token + args.n }}",
      "x ${{ args.none }} ${{ secret.pay.token }}",
    ]) {
      const result = rendered(httpTool("https://api.example/", { body }), { n: 1 });
      expect(result.ok).toBe(false);
      expect(JSON.stringify(result)).not.toContain("canary");
    }
  });
});

test("a field that does not compile, and a type that is not carried out, are the tool's fault", () => {
  expect(rendered(httpTool("https://api.example/${{ args. }}"))).toMatchObject({
    ok: false,
    class: "ToolInvalid",
    message: expect.stringContaining("http.url"),
  });
  expect(rendered(httpTool("https://api.example/${{ env.HOME }}"))).toMatchObject({ ok: false, class: "ToolInvalid" });
  const { http: _http, ...without } = httpTool("https://api.example/");
  expect(rendered(without)).toMatchObject({ ok: false, class: "ToolInvalid" });
});

test("an expression without a value for the arguments is told with its field", () => {
  expect(rendered(httpTool("https://api.example/${{ args.id }}"), {})).toMatchObject({
    ok: false,
    class: "InvalidArguments",
    message: expect.stringContaining("http.url"),
  });
  expect(rendered(httpTool("https://api.example/a?x=${{ args.id }}"), { id: null })).toMatchObject({
    ok: false,
    class: "InvalidArguments",
  });
});
