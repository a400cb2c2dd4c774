// Fifty secrets through real processes at debug level: results, echoes, errors, timeouts, a killed worker, dead letters, denials,
// models, a rotation. Those who were to get them got them; nothing that is printed, written, stored or answered has any, in any form.

import { createHmac } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { expect, test } from "vitest";
import type { RunHandle } from "../../sdk/index.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { type RunningProcess, runOrloj } from "../harness/processes.ts";
import { Canaries, echoes } from "./canary_secrets.ts";
import { answerAs, asks, calls, canaryCommand, canaryHttp, canaryWebhook, contentOf, ENDINGS } from "./canary_tools.ts";
import { policy } from "./documents.ts";
import { type Stage, startStage } from "./stage.ts";

const WHOLE = ["header", "query", "body"];
const HTTP: Readonly<Record<string, readonly string[]>> = {
  ...{ ok: WHOLE, echo: WHOLE, error: WHOLE, slow: WHOLE, crash: WHOLE, parked: WHOLE, denied: WHOLE, deadly: WHOLE },
  ...{ plain: ["header", "body"], broken: ["header", "body"], huge: ["header", "body"], gone: ["header", "body"] },
};
const COMMANDS = { tells: ENDINGS.tells, fails: ENDINGS.fails, hangs: ENDINGS.hangs };
const MODELS = ["model-ok", "model-echo", "model-400", "model-401", "model-500"];
const PARKED = ["parked", "deadly"];
const TEST_MS = 400_000;

/** Fifty, as files or in the worker's environment; values with odd characters where they can be sent. */
function plant(canaries: Canaries) {
  for (const [name, keys] of Object.entries(HTTP)) for (const key of keys) canaries.file(name, key, key !== "header");
  for (const name of Object.keys(COMMANDS)) for (const key of ["env", "argv", "stdin"]) canaries.file(name, key, true);
  for (const name of MODELS) canaries.file(name, "key");
  const own = canaries.make("model-own");
  const signing = canaries.add("hook/signing", `whsec_${Buffer.from("canary48".repeat(4)).toString("base64")}`);
  canaries.put("hook", "signing", signing);
  const rotated = [canaries.file("rotate", "header"), canaries.make("rotate/next")] as const;
  return { own, signing, rotated };
}

function manifests(witness: string, url: string): object[] {
  const special: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
    slow: { timeout: "1s" },
    parked: { effect: "write" },
  };
  const deadly = calls("deadly", { ref: "deadly", onError: "fail" }, {});
  return [
    ...Object.entries(HTTP).map(([name, keys]) => canaryHttp(name, keys, special[name])),
    ...Object.keys(HTTP).flatMap((name) => (name === "deadly" ? deadly : calls(name))),
    ...Object.entries(COMMANDS).map(([name, end]) => canaryCommand(name, end, witness, { timeout: "3s" })),
    ...Object.keys(COMMANDS).flatMap((name) => calls(name)),
    canaryHttp("rotate", ["header"]),
    ...calls("rotate"),
    canaryWebhook("hook"),
    ...calls("hook"),
    ...MODELS.flatMap((name) => asks(name, url)),
    ...asks("model-own", url, {}, false),
    ...asks("prompted", url, { tools: ["echo"] }, false),
    policy("denied-to-all", {
      attachTo: [{ kind: "Tool", name: "denied" }],
      checkpoints: ["tool.call"],
      deny: { cel: "args.n == 1" },
    }),
  ];
}

/** Everything that was printed, written, stored or can be asked for, by where it is. */
async function gather(stage: Stage, workers: readonly RunningProcess[], runs: ReadonlyMap<string, RunHandle>) {
  const texts = new Map<string, string>();
  for (const [index, { output }] of [stage.server, ...workers].entries()) {
    texts.set(`process ${index}`, output.stdout + output.stderr);
  }
  for (const file of readdirSync(stage.server.home, { recursive: true, encoding: "utf8" })) {
    const path = join(stage.server.home, file);
    if (statSync(path).isFile()) texts.set(`file ${file}`, readFileSync(path, "latin1"));
  }
  const client = new pg.Client({ connectionString: stage.server.databaseUrl });
  await client.connect();
  const { rows: tables } = await client.query<{ name: string }>(
    "select quote_ident(table_name) as name from information_schema.tables where table_schema = 'public'",
  );
  for (const { name } of tables) {
    const { rows } = await client.query<{ text: string }>(`select t::text as text from ${name} t`);
    texts.set(`table ${name}`, rows.map(({ text }) => text).join("\n"));
  }
  await client.end();
  const letters = [...(await stage.client.deadLetters.listDeadLetters({})).deadLetters].map(({ taskId }) => taskId);
  const verbs = [
    ...["get all -A", "runs", "workers", "dead-letters list --all", "audit list"].map((verb) => `${verb} -o json`),
    ...["audit export", "dead-letters list"],
    ...[...runs.values()].map(({ id }) => `describe run ${id} -o json`),
    ...letters.map((id) => `dead-letters show ${id} -o json`),
    ...letters.map((id) => `describe task ${id}`),
  ];
  for (const verb of verbs) {
    const { code, stdout, stderr } = await runOrloj(verb.split(" "), { server: stage.server });
    expect([verb, code, stderr]).toEqual([verb, 0, expect.any(String)]);
    texts.set(`orloj ${verb}`, stdout + stderr);
  }
  return { texts, letters, tables: tables.map(({ name }) => name) };
}

test(
  "50 canaries: each reaches the one that it is for, and no log, file, table or answer holds any",
  async () => {
    const canaries = new Canaries(await temporaryFolder("canary"));
    const witness = join(await temporaryFolder("witness"), "seen");
    const { own, signing, rotated } = plant(canaries);
    expect(canaries.all().size).toBe(50);
    const stage = await startStage({ args: ["--log-level", "debug", "--secrets-dir", canaries.directory] });
    const { client, sink } = stage;
    answerAs(sink);
    await stage.apply(...manifests(witness, sink.url));
    const env = { ORLOJ_LOG_LEVEL: "debug", ORLOJ_WORKER_SLOTS: "8" };
    const ownModel = { ORLOJ_OPENAI_BASE_URL: `${sink.url}/model-own/v1`, OPENAI_API_KEY: own };
    const first = await stage.worker("first", { ...env, ...ownModel });

    const runs = new Map<string, RunHandle>();
    const start = async (workflow: string, key = workflow) => {
      const run = await client.workflow(workflow).invoke();
      runs.set(key, run);
      return run;
    };
    const end = (run: RunHandle) => run.result().then(JSON.stringify, (error: Error) => `${error}`);

    // Killed in the middle of a call; the next worker makes it again.
    sink.hold("/crash");
    const crash = await start("crash");
    await sink.waitForCount("/crash", 1);
    first.signal("SIGKILL");
    const second = await stage.worker("second", { ...env, ...ownModel, ORLOJ_LOG_FORMAT: "json" });
    await sink.waitForCount("/crash", 2);
    sink.release("/crash");
    await end(crash);

    sink.hold("/slow");
    const plain = [...Object.keys(HTTP), ...Object.keys(COMMANDS), ...MODELS, "model-own", "prompted", "hook"];
    const others = plain.filter((name) => name !== "crash");
    const ends = new Map<string, string>();
    await Promise.all(
      others.map(async (name) => {
        const run = await start(name);
        if (PARKED.includes(name)) await stage.record("task.dead_lettered", ({ runId }) => runId === run.id);
        else ends.set(name, await end(run));
      }),
    );
    await end(await start("rotate", "rotate before"));
    canaries.put("rotate", "header", rotated[1]);
    await end(await start("rotate", "rotate after"));

    // Who was to get one got it: else the search below proves nothing.
    const hook = sink.calls("/hook")[0];
    const { "webhook-id": id, "webhook-timestamp": time, "webhook-signature": signature } = hook?.headers ?? {};
    const signed = createHmac("sha256", Buffer.from(signing.slice(6), "base64")).update(`${id}.${time}.${hook?.body}`);
    expect(signature).toBe(`v1,${signed.digest("base64")}`);
    const inCommands = readFileSync(witness, "utf8").trim().split("\n");
    const seen = inCommands.flatMap((line) => {
      const { env: variable, argv, stdin } = JSON.parse(line) as Record<string, string>;
      return [variable, argv, (JSON.parse(stdin ?? "{}") as { inner: string }).inner];
    });
    const received = new Set([...sink.calls().flatMap(contentOf), ...seen, signing]);
    const missed = [...canaries.all()].filter(([, value]) => !received.has(value)).map(([place]) => place);
    expect(missed).toEqual(["denied/header", "denied/query", "denied/body"]);
    expect(sink.count("/denied")).toBe(0);

    // The ends are those that were meant.
    const told = Object.fromEntries([...ends].map(([name, text]) => [name, text.slice(0, 200)]));
    for (const name of ["echo", "plain", "tells", "model-echo", "prompted", "fails", "model-400", "model-500"]) {
      expect([name, ends.get(name)]).toEqual([name, expect.stringContaining("[redacted]")]);
    }
    const classes: [string, RegExp][] = [
      ["error", /Http5xx/],
      ["gone", /Http4xx/],
      ["slow", /Timeout/],
      ["hangs", /Timeout/],
      ["broken", /ResponseInvalid/],
      ["huge", /ResponseTooLarge/],
      ["fails", /ExitStatus/],
      ["denied", /denied/],
    ];
    for (const [name, pattern] of classes) expect([name, told[name]]).toEqual([name, expect.stringMatching(pattern)]);

    // What models were asked holds no tool's secret.
    const prompts = sink.calls().filter(({ path }) => path.endsWith("/chat/completions"));
    expect(prompts.length).toBeGreaterThanOrEqual(MODELS.length + 3);
    expect(prompts.flatMap(({ body }) => canaries.found(body))).toEqual([]);

    expect(await second.stop()).toMatchObject({ code: 0 });
    const { texts, letters, tables } = await gather(stage, [first, second], runs);
    expect(letters).toHaveLength(PARKED.length);
    expect(tables).toEqual(expect.arrayContaining(["journal", "tool_call", "audit_event", "dead_letter", "task"]));
    for (const table of ["journal", "tool_call", "audit_event"])
      expect(texts.get(`table ${table}`)).toContain("[redacted]");
    const hits = [...texts].flatMap(([where, text]) => canaries.found(text).map((place) => `${where}: ${place}`));
    expect(hits).toEqual([]);
  },
  TEST_MS,
);

test("the search finds a canary in every form in which a tool can echo it", () => {
  const canaries = new Canaries("/nowhere");
  const value = canaries.make("one", true);
  const forms = ["raw", "json", "base64", "base64url", "hex", "url", "form"];
  expect(canaries.found(`${value} ${JSON.stringify(echoes(value))}`)).toEqual(forms.map((form) => `one: ${form}`));
  expect(canaries.found(JSON.stringify(echoes("another value altogether")))).toEqual([]);
});
