// Holds the pool to its promise: no manifest blocks the event loop for 100 ms, takes more than 2 s, or ends the process.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Clock, systemClock } from "../../kit/clock.ts";
import { DomainError } from "../../kit/errors.ts";
import { ManifestPool } from "../../server/manifests/pool.ts";
import type { Manifest } from "../../server/manifests/specs.ts";
import { startProbe } from "../harness/loop_probe.ts";

const MB = 1_000_000;
const HOSTILE: Readonly<Record<string, string | Uint8Array>> = {
  "900 opening brackets": "[".repeat(900),
  "a megabyte of opening maps": "{a: ".repeat(MB / 4),
  "deep dashes": "- ".repeat(MB / 2),
  "deep question marks": "? ".repeat(MB / 2),
  "an alias bomb": `a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [${"*c, ".repeat(1_000)}]`,
  "200 000 anchors": "- &a x\n".repeat(100_000),
  "huge integers": `a: ${"9".repeat(MB / 2)}\nb: 0x${"f".repeat(1_000)}`,
  "20 000 huge integers": "- 99999999999999999999\n".repeat(20_000),
  "prototype keys": '{"__proto__": {"polluted": true}, "constructor": {"prototype": {"polluted": true}}}',
  "an escaped prototype key": '"\\x5f_proto__": {polluted: true}',
  "merge keys": "a: {}\nb:\n  <<: {polluted: true}",
  "a NUL": "a: 1\0",
  "a byte order mark alone": "\uFEFF",
  "a UTF-16 byte order mark": Uint8Array.of(0xff, 0xfe, 0x61, 0),
  "invalid UTF-8": Uint8Array.of(0x61, 0x3a, 0x20, 0xc3, 0x28),
  "more than a mebibyte": "#".repeat(1_048_577),
  "120 000 keys": Array.from({ length: 120_000 }, (_, index) => `k${index}:`).join("\n"),
  "9 000 keys": Array.from({ length: 9_000 }, (_, index) => `k${index}:`).join("\n"),
  "half a million comment lines": "#\n".repeat(MB / 2),
  "a million line breaks": `a:${"\n".repeat(MB)}`,
  "49 000 comment lines": `a: 1\n${"#\n".repeat(49_000)}`,
  "a long quoted string": `a: "${"\\n".repeat(MB / 3)}"`,
  "a long plain string of many lines": `a: ${"x\n  ".repeat(MB / 4)}`,
  "10 000 documents": "---\na\n".repeat(10_000),
  "1 000 edges with broken conditions": `apiVersion: orloj.dev/v1\nkind: AgentSystem\nmetadata: {name: s}\nspec:\n  nodes: [{name: a, agent: x}]\n  output: {value: 1}\n  edges:\n${Array.from({ length: 1_000 }, (_, index) => `    - {from: a, to: a, when: "((( ${index}"}\n`).join("")}`,
  "nested macros": `apiVersion: orloj.dev/v1\nkind: AgentSystem\nmetadata: {name: s}\nspec:\n  nodes: [{name: a, agent: x}]\n  output: {value: "\${{ [1,2,3].map(a, [1].map(b, [2].map(c, c))) }}"}\n`,
};

let pool: ManifestPool;
beforeAll(async () => {
  pool = new ManifestPool(systemClock());
  pool.start();
  await pool.parse([{ file: "warm.yaml", bytes: Buffer.from("a: 1") }]);
});
afterAll(() => pool.stop());
const probe = startProbe();

describe("hostile manifests", () => {
  for (const [name, content] of Object.entries(HOSTILE)) {
    it(`answers ${name} in time without holding the event loop`, async () => {
      const bytes = typeof content === "string" ? Buffer.from(content) : content;
      probe.reset();
      const startMs = performance.now();
      const answer = await pool.validate([{ file: "m.yaml", bytes }], async () => []).catch((error: unknown) => error);
      const tookMs = performance.now() - startMs;
      // The pool itself gives up after 2 s; the rest is room for a machine that is shared.
      expect(tookMs).toBeLessThan(20_000);
      expect(probe.read().block).toBeLessThan(100);
      if (answer instanceof Error) expect((answer as DomainError).reason).toBe("MANIFEST_TOO_SLOW");
      else if (name !== "a byte order mark alone") {
        expect((answer as { diagnostics: unknown[] }).diagnostics.length).toBeGreaterThan(0);
      }
      expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    });
  }

  it("still serves the next manifest after all of them", async () => {
    const [parsed] = await pool.parse([{ file: "m.yaml", bytes: Buffer.from("\uFEFFa: 1") }]);
    expect(parsed?.documents.length).toBe(1);
    expect(parsed?.diagnostics).toEqual([]);
  });
});

const AGENT =
  "apiVersion: orloj.dev/v1\nkind: Agent\nmetadata: {name: a, namespace: shop}\nspec: {model: {provider: scripted, script: [{text: hi}]}, tools: [t]}\n";
const TOOL: Manifest = {
  kind: "Tool",
  metadata: { name: "t", namespace: "system", labels: {}, annotations: {} },
  spec: {} as never,
};

describe("the pool", () => {
  it("asks for what the manifests refer to, in the own namespace and in system, and uses it", async () => {
    const asked: string[] = [];
    const load = async (keys: readonly { kind: string; namespace: string; name: string }[]) => {
      asked.push(...keys.map((key) => `${key.kind}/${key.namespace}/${key.name}`));
      return [TOOL];
    };
    const { manifests, diagnostics } = await pool.validate([{ file: "a.yaml", bytes: Buffer.from(AGENT) }], load);
    expect(asked).toEqual(["Tool/shop/t", "Tool/system/t"]);
    expect(diagnostics).toEqual([]);
    expect(manifests).toMatchObject([{ file: "a.yaml", line: 3, column: 18, manifest: { kind: "Agent" } }]);
  });

  it("keeps validations that arrive together apart", async () => {
    const one = pool.validate([{ file: "1.yaml", bytes: Buffer.from("a: 1") }], async () => []);
    const two = pool.validate([{ file: "2.yaml", bytes: Buffer.from(AGENT) }], async () => []);
    expect(new Set((await one).diagnostics.map(({ file }) => file))).toEqual(new Set(["1.yaml"]));
    expect(new Set((await two).diagnostics.map(({ file }) => file))).toEqual(new Set(["2.yaml"]));
  });

  it("fails one validation when its load fails, and serves the next", async () => {
    const failing = pool.validate([{ file: "a.yaml", bytes: Buffer.from(AGENT) }], () =>
      Promise.reject(new Error("database away")),
    );
    await expect(failing).rejects.toThrow("database away");
    expect((await pool.parse([{ file: "b.yaml", bytes: Buffer.from("b: 1") }])).length).toBe(1);
  });

  /** Fires at once what is to come after these delays, and nothing else. */
  const firing = (...delays: number[]): Clock => ({
    ...systemClock(),
    after: (delayMs, callback) => {
      if (delays.includes(delayMs)) queueMicrotask(callback);
      return () => undefined;
    },
  });

  it("ends a thread that has worked for its whole limit", async () => {
    const limited = new ManifestPool(systemClock(), { fileTimeoutMs: 60 });
    const failed = await limited
      .parse([{ file: "big.yaml", bytes: Buffer.from(HOSTILE["9 000 keys"] as string) }])
      .catch((error: unknown) => error);
    expect(failed).toMatchObject({ reason: "MANIFEST_TOO_SLOW", message: expect.stringContaining("within 60 ms") });
    await limited.stop();
  });

  it("leaves a thread its time that only waits for its turn", async () => {
    const patient = new ManifestPool(firing(700), { fileTimeoutMs: 700 });
    expect(await patient.parse([{ file: "a.yaml", bytes: Buffer.from("a: 1") }])).toHaveLength(1);
    await patient.stop();
  });

  it("ends a thread that does not answer with MANIFEST_TOO_SLOW and starts another", async () => {
    const slow = new ManifestPool(firing(35), { fileTimeoutMs: 7 });
    const failed = await slow
      .parse([{ file: "slow.yaml", bytes: Buffer.from("a: 1") }])
      .catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(DomainError);
    expect(failed).toMatchObject({ reason: "MANIFEST_TOO_SLOW", metadata: { file: "slow.yaml" } });
    const answer = await slow.validate([], async () => []);
    expect(answer.manifests).toEqual([]);
    await slow.stop();
  });

  it("answers a crash of the thread, and starts another", async () => {
    const small = new ManifestPool(systemClock(), { heapMib: 12 });
    const bytes = Buffer.from(Array.from({ length: 9_000 }, (_, index) => `k${index}:`).join("\n"));
    const failed = await small
      .parse(Array.from({ length: 3 }, () => ({ file: "m.yaml", bytes })))
      .catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(DomainError);
    await small.stop();
  });

  it("refuses work after stop", async () => {
    const stopped = new ManifestPool(systemClock());
    await stopped.stop();
    await expect(stopped.parse([{ file: "a", bytes: Buffer.from("a: 1") }])).rejects.toMatchObject({
      reason: "SHUTTING_DOWN",
    });
  });

  it("does not keep the process alive once it has answered", () => {
    const url = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
    const script = `
      import { ManifestPool } from ${url("../../server/manifests/pool.ts")};
      import { systemClock } from ${url("../../kit/clock.ts")};
      const parsed = await new ManifestPool(systemClock()).parse([{ file: "a.yaml", bytes: Buffer.from("a: 1") }]);
      console.log(parsed.length);
    `;
    const cwd = fileURLToPath(new URL("../../", import.meta.url));
    const child = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      cwd,
      timeout: 30_000,
      encoding: "utf8",
    });
    expect(child.stderr).toBe("");
    expect(child).toMatchObject({ status: 0, stdout: "1\n" });
  });
});
