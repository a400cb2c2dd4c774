// The kinds of tools that the conformance suite runs: how each is made to behave, and where its effects are counted.
// Kinds that reach the counting server have one path for each behaviour; databases count rows that hold request ids.

import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type pg from "pg";
import type { CountingServer } from "../harness/counting_server.ts";

/** What a tool is made to do. */
export type Behaviour = "ok" | "denied" | "refuse" | "gone" | "flaky" | "hang" | "slow" | "schema" | "leak";

/** One kind under test. */
export interface Kind {
  readonly name: string;
  /** Type and block of a tool that behaves so. */
  block(behaviour: Behaviour): Readonly<Record<string, unknown>>;
  /** Failure classes when the endpoint refuses, and when it is not there. */
  readonly classes: { readonly refuse: string; readonly gone: string };
  /** Classes of a failure that passes. */
  readonly passing: readonly string[];
  /** Result of `ok`. */
  readonly result: unknown;
  /** True if the result repeats what the tool was given. */
  readonly echoes: boolean;
  /** Request ids of the effects so far. */
  effects(behaviour: Behaviour): Promise<readonly string[]>;
  /** Makes the first attempt of `flaky` fail, until what it returns is called. */
  disturb(): Promise<() => Promise<void>>;
  /** Resolves when a call of `hang` is under way, and when nothing of it is left. */
  begun(): Promise<void>;
  ended(): Promise<void>;
}

/** Secrets that the tools name, as the server's environment gives them. */
export const LEAKED = "canary-7f3a9c1e5b";

/** Answers of the counting server by behaviour, on the paths of a kind. */
export function prepareSink(sink: CountingServer, kind: string): void {
  sink.respond(`/${kind}/ok`, () => ({ body: '{"done":true}' }));
  sink.respond(`/${kind}/schema`, () => ({ body: '{"done":true}' }));
  sink.respond(`/${kind}/refuse`, () => ({ status: 400 }));
  sink.respond(`/${kind}/flaky`, (_call, number) =>
    number === 1 ? { status: 503, headers: { "retry-after": "0" } } : { body: '{"done":true}' },
  );
  sink.respond(`/${kind}/leak`, ({ headers, body }) => ({ body: JSON.stringify({ leaked: headers["x-leak"], body }) }));
  sink.hold(`/${kind}/hang`);
  sink.hold(`/${kind}/slow`);
}

/** What kinds share that reach the counting server. */
function counted(sink: CountingServer, name: string): Pick<Kind, "effects" | "disturb" | "begun" | "ended"> {
  return {
    effects: async (behaviour) => sink.calls(`/${name}/${behaviour}`).map((call) => call.idempotencyKey ?? ""),
    disturb: async () => async () => {},
    begun: () => sink.waitForCount(`/${name}/hang`, 1),
    ended: async () => void (await sink.waitForAbort(`/${name}/hang`)),
  };
}

const NOWHERE = "http://127.0.0.1:1";
const DONE = { done: true };

/** Kinds that reach the counting server over HTTP by themselves. */
export function httpKinds(sink: CountingServer): Kind[] {
  const url = (kind: string, behaviour: Behaviour) =>
    behaviour === "gone" ? NOWHERE : `\${{ secret.sink.url }}/${kind}/${behaviour}`;
  const http: Kind = {
    name: "http",
    block: (behaviour) => ({
      type: "http",
      http: {
        ...{ method: "POST", url: url("http", behaviour), body: "${{ args }}", allowPrivateNetwork: true },
        headers: { "x-leak": "${{ secret.leak.value }}" },
      },
    }),
    classes: { refuse: "Http4xx", gone: "ConnectionRefused" },
    passing: ["Http503"],
    ...{ result: DONE, echoes: true },
    ...counted(sink, "http"),
  };
  const webhook: Kind = {
    name: "webhook",
    block: (behaviour) => ({
      type: "webhook",
      webhook: {
        ...{ url: url("webhook", behaviour), signingSecret: "${{ secret.hook.key }}", events: ["thing.done"] },
        ...{ data: { leak: "${{ secret.leak.value }}" }, allowPrivateNetwork: true },
      },
    }),
    classes: { refuse: "Http4xx", gone: "ConnectionRefused" },
    passing: ["Http503"],
    ...{ result: { delivered: true, status: 200 }, echoes: false },
    ...counted(sink, "webhook"),
  };
  return [http, webhook];
}

/** Kinds that start a program, and an MCP server that is reached by URL. */
export function programKinds(sink: CountingServer): Kind[] {
  const program = join(import.meta.dirname, "effect_program.ts");
  const env = { SINK: "${{ secret.sink.url }}", LEAK: "${{ secret.leak.value }}" };
  const argv = (mode: string, kind: string, behaviour: Behaviour) =>
    behaviour === "gone" ? ["no-such-program"] : [process.execPath, program, mode, `/${kind}/${behaviour}`];
  const command: Kind = {
    name: "command",
    block: (behaviour) => ({ type: "command", command: { argv: argv("command", "command", behaviour), env } }),
    classes: { refuse: "ExitStatus", gone: "CommandNotFound" },
    passing: ["ExitStatus"],
    ...{ result: DONE, echoes: true },
    ...counted(sink, "command"),
  };
  const local: Kind = {
    name: "mcp-local",
    block: (behaviour) => ({
      type: "mcp",
      mcp: { command: argv("mcp", "mcp-local", behaviour), env, tool: "effect" },
    }),
    classes: { refuse: "McpError", gone: "CommandNotFound" },
    passing: ["McpError"],
    ...{ result: DONE, echoes: true },
    ...counted(sink, "mcp-local"),
  };
  const remote: Kind = {
    name: "mcp-remote",
    block: (behaviour) => ({
      type: "mcp",
      mcp: {
        url: behaviour === "gone" ? NOWHERE : `\${{ secret.mcp.url }}/mcp-remote/${behaviour}`,
        ...{ headers: { "x-leak": "${{ secret.leak.value }}" }, tool: "effect", allowPrivateNetwork: true },
      },
    }),
    classes: { refuse: "McpError", gone: "ConnectionRefused" },
    passing: ["McpError"],
    ...{ result: DONE, echoes: true },
    ...counted(sink, "mcp-remote"),
  };
  return [command, local, remote];
}

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  const giveUp = performance.now() + 20_000;
  while (!(await what())) {
    if (performance.now() > giveUp) throw new Error("it did not come true in time");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Statements of a behaviour; `id` is the request id in that database. */
function statement(behaviour: Behaviour, id: string, endless: string, wrong: string): Record<string, unknown> {
  if (behaviour === "hang" || behaviour === "slow") return { statement: endless };
  if (behaviour === "refuse") return { statement: wrong };
  if (behaviour === "leak") return { statement: "select $1 as leaked", parameters: ["${{ secret.leak.value }}"] };
  const insert = `insert into effects (behaviour, id) values ($1, ${id}) returning 1 as done`;
  return { statement: insert, parameters: [behaviour], access: "readWrite" };
}

const ROW = { rows: [{ done: 1 }], rowCount: 1 };

/** Kinds whose effects are rows. */
export function databaseKinds(admin: pg.Client, role: string, folder: string): Kind[] {
  const file = join(folder, "effects.db");
  const endless =
    "with recursive n(i) as (select count(*) from effects union all select i + 1 from n) select max(i) as i from n";
  const open = (): DatabaseSync => new DatabaseSync(file, { timeout: 5_000 });
  const inUse = () => {
    const database = new DatabaseSync(file, { timeout: 0 });
    try {
      database.exec("begin exclusive; rollback");
      return false;
    } catch {
      return true;
    } finally {
      database.close();
    }
  };
  const sqlite: Kind = {
    name: "sqlite",
    block: (behaviour) => ({
      type: "database",
      database: {
        ...{ driver: "sqlite", file: behaviour === "gone" ? "gone.db" : "effects.db" },
        ...statement(behaviour, "orloj_request_id()", endless, "select json('{') as broken"),
      },
    }),
    classes: { refuse: "SqlError", gone: "WorkDirForbidden" },
    passing: ["SqlConflict", "Timeout"],
    ...{ result: ROW, echoes: true },
    async effects(behaviour) {
      const database = open();
      const rows = database.prepare("select id from effects where behaviour = ?").all(behaviour);
      database.close();
      return rows.map((row) => String(row["id"]));
    },
    async disturb() {
      const holder = open();
      holder.exec("begin exclusive");
      return async () => holder.close();
    },
    begun: () => until(inUse),
    ended: () => until(() => !inUse()),
  };
  const active = async () =>
    ((await admin.query("select 1 from pg_stat_activity where usename = $1 and state = 'active'", [role])).rowCount ??
      0) > 0;
  const postgres: Kind = {
    name: "postgres",
    block: (behaviour) => ({
      type: "database",
      database: {
        ...{ driver: "postgres", dsn: behaviour === "gone" ? "postgres://u@127.0.0.1:1/d" : "${{ secret.shop.dsn }}" },
        ...statement(
          behaviour,
          "current_setting('orloj.request_id')",
          "select pg_sleep(60)::text as i",
          "select 1/0 as broken",
        ),
        allowPrivateNetwork: true,
      },
    }),
    classes: { refuse: "SqlError", gone: "ConnectionRefused" },
    passing: ["SqlConflict", "Timeout"],
    ...{ result: ROW, echoes: true },
    async effects(behaviour) {
      const { rows } = await admin.query<{ id: string }>("select id from effects where behaviour = $1", [behaviour]);
      return rows.map(({ id }) => id);
    },
    async disturb() {
      await admin.query("begin; lock table effects in exclusive mode");
      return async () => void (await admin.query("rollback"));
    },
    begun: () => until(active),
    ended: () => until(async () => !(await active())),
  };
  return [sqlite, postgres];
}
