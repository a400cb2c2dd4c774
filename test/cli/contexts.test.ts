// Contexts: which server and which credentials a command line means, and that no credential goes anywhere else.
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { chosenContext, resolveConnection } from "../../cli/connection.ts";
import { startScriptedServer } from "../sdk/scripted_server.ts";
import { runVerb, temporaryFolder } from "./run_orloj.ts";

function person() {
  const folder = temporaryFolder();
  const env = { HOME: folder.path };
  const file = join(folder.path, ".config/orloj/contexts.json");
  const config = (...words: string[]) => runVerb(["config", ...words], { directory: folder.path, env });
  return { ...folder, path: folder.path, env, file, config, [Symbol.dispose]: () => folder[Symbol.dispose]() };
}

test("a context is made, chosen, shown without its token, and forgotten; the file is its owner's", async () => {
  using me = person();
  expect(await me.config("current-context")).toEqual({ code: 0, out: "local\n", err: "" });
  const made = await me.config("set-context", "prod", "--server", "https://orloj.example", "--token", "s3cret");
  expect(made).toMatchObject({ code: 0, out: "", err: expect.stringContaining(me.file) });
  expect(statSync(me.file).mode & 0o777).toBe(0o600);
  expect((await me.config("use-context", "prod")).code).toBe(0);
  expect((await me.config("current-context")).out).toBe("prod\n");
  const list = await me.config("get-contexts");
  expect(list.out).toMatch(/^\* +prod +https:\/\/orloj\.example +kept/m);
  expect(list.out).toMatch(/^ +local +/m);
  const view = await me.config("view");
  expect(JSON.parse(view.out)).toMatchObject({ current: "prod", contexts: { prod: { token: "[hidden]" } } });
  for (const { out, err } of [made, list, view]) expect(out + err).not.toContain("s3cret");
  expect((await me.config("delete-context", "prod")).err).toContain("The context is local now");
  expect(JSON.parse(readFileSync(me.file, "utf8"))).toEqual({ contexts: {} });
});

test("flags win over ORLOJ_CONTEXT, that over what was chosen; ORLOJ_HOME means the server of that home", async () => {
  using me = person();
  for (const name of ["a", "b", "c"]) await me.config("set-context", name, "--server", `https://${name}.example`);
  await me.config("use-context", "a");
  const endpoint = (flags: object, env: object = {}) =>
    resolveConnection(flags, { ...me.env, ...env }, me.path).endpoint;
  expect(endpoint({})).toBe("https://a.example");
  expect(endpoint({}, { ORLOJ_CONTEXT: "b" })).toBe("https://b.example");
  expect(endpoint({ context: "c" }, { ORLOJ_CONTEXT: "b" })).toBe("https://c.example");
  expect(endpoint({ context: "c" }, { ORLOJ_SERVER: "https://env.example" })).toBe("https://c.example");
  expect(endpoint({}, { ORLOJ_SERVER: "https://env.example" })).toBe("https://env.example");
  expect(endpoint({ server: "https://flag.example" }, { ORLOJ_CONTEXT: "b" })).toBe("https://flag.example");
  expect(endpoint({}, { ORLOJ_HOME: join(me.path, "nowhere") })).toBe("http://127.0.0.1:7601");
  expect(chosenContext({}, { ...me.env, ORLOJ_HOME: "x" })).toBe("local");
});

test("local is the file that a server wrote, and old files are read", async () => {
  using me = person();
  mkdirSync(join(me.path, ".orloj"));
  const kept = { endpoint: "http://127.0.0.1:9", token: "dev", workerEndpoint: "127.0.0.1:8", joinToken: "j" };
  writeFileSync(join(me.path, ".orloj/config.json"), JSON.stringify(kept));
  await me.config("set-context", "prod", "--server", "https://orloj.example", "--token", "far", "--use");
  expect(resolveConnection({ context: "local" }, me.env, me.path)).toMatchObject({
    ...{ endpoint: "http://127.0.0.1:9", token: "dev" },
  });
  await me.config("use-context", "local");
  expect(resolveConnection({}, me.env, me.path)).toMatchObject({ endpoint: "http://127.0.0.1:9", token: "dev" });
});

test("a context's token goes to its own server alone, not even to this machine", async () => {
  using me = person();
  await me.config("set-context", "prod", "--server", "https://orloj.example", "--token", "far", "--use");
  const token = (flags: object) => resolveConnection(flags, me.env, me.path).token;
  expect(token({})).toBe("far");
  expect(token({ server: "https://orloj.example" })).toBe("far");
  expect(token({ server: "https://orloj.example:8443" })).toBeUndefined();
  expect(token({ server: "http://orloj.example" })).toBeUndefined();
  expect(token({ server: "http://127.0.0.1:7601" })).toBeUndefined();
  expect(token({ token: "mine" })).toBe("mine");
});

test("the token comes from a file, a variable or a command, each time anew; the newest source takes the place of the others", async () => {
  using me = person();
  await using server = await startScriptedServer({ workflows: { listRuns: () => ({ runs: [] }) } });
  const sent = async (env: Record<string, string> = {}) => {
    const ended = await runVerb(["runs"], { directory: me.path, env: { ...me.env, ...env } });
    return { ...ended, authorization: server.seen.at(-1)?.authorization };
  };
  const file = join(me.path, "token");
  writeFileSync(file, "from-file\n");
  await me.config("set-context", "x", "--server", server.endpoint, "--token", "kept", "--use");
  expect((await sent()).authorization).toBe("Bearer kept");
  await me.config("set-context", "x", "--token-file", "token");
  expect((await sent()).authorization).toBe("Bearer from-file");
  writeFileSync(file, "rotated");
  expect((await sent()).authorization).toBe("Bearer rotated");
  await me.config("set-context", "x", "--token-env", "MY_TOKEN");
  expect((await sent({ MY_TOKEN: "from-env" })).authorization).toBe("Bearer from-env");
  expect(await sent()).toMatchObject({ code: 2, err: expect.stringContaining("MY_TOKEN is not set") });
  await me.config("set-context", "x", "--token-command", "printf from-; echo command");
  expect((await sent()).authorization).toBe("Bearer from-command");
  await me.config("set-context", "x", "--token-command", "exit 3");
  const failed = await sent();
  expect(failed.code).toBe(2);
  expect(failed.err).toContain("the token command of context x failed (exit 3)");
  expect(Object.keys(JSON.parse(readFileSync(me.file, "utf8")).contexts.x)).toEqual(["server", "tokenCommand"]);
});

test("an empty value takes something away, and what does not fit is refused with what to do", async () => {
  using me = person();
  await me.config("set-context", "x", "--server", "https://x.example", "--ca", "ca.pem", "--token", "t");
  await me.config("set-context", "x", "--ca", "", "--token", "");
  expect(JSON.parse(readFileSync(me.file, "utf8")).contexts.x).toEqual({ server: "https://x.example" });
  for (const [words, error] of [
    [["set-context", "local", "--server", "https://x.example"], "local is the server that runs on this machine"],
    [["set-context", "no name", "--server", "https://x.example"], "is no name for a context"],
    [["set-context", "y"], "name it with --server URL"],
    [["set-context", "y", "--server", "ftp://x"], "is no http or https URL"],
    [["set-context", "y", "--server", "https://x.example", "--cert", "c.pem"], "belong together"],
    [["set-context", "y", "--server", "https://x.example", "--token", "t", "--token-env", "E"], "one source"],
    [["use-context", "nope"], "use one of local, x, or orloj config set-context nope"],
    [["delete-context", "nope"], "there is no context nope"],
  ] as const) {
    expect(await me.config(...words), words.join(" ")).toMatchObject({ code: 2, err: expect.stringContaining(error) });
  }
  const unknown = await runVerb(["--context", "nope", "runs"], { directory: me.path, env: me.env });
  expect(unknown).toMatchObject({ code: 2, err: expect.stringContaining("there is no context nope") });
});

test("a file that others may write is refused, for it can name commands; one that is no JSON says so", async () => {
  using me = person();
  await me.config("set-context", "x", "--server", "https://x.example");
  chmodSync(me.file, 0o620);
  expect(await me.config("get-contexts")).toMatchObject({ code: 2, err: expect.stringContaining("chmod 600") });
  chmodSync(me.file, 0o600);
  writeFileSync(me.file, "{");
  expect(await me.config("get-contexts")).toMatchObject({ code: 2, err: expect.stringContaining("is not JSON") });
  const homeless = await runVerb(["config", "set-context", "x", "--server", "https://x.example"], { env: {} });
  expect(homeless).toMatchObject({ code: 2, err: expect.stringContaining("set HOME or XDG_CONFIG_HOME") });
});
