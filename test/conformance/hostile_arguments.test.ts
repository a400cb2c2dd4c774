// Hostile arguments through a real server and a real worker: paths, headers, argument vectors, SQL, and addresses. Each value of a
// corpus is refused, or arrives as exactly one value in the one place that the manifest gave it. What happened is counted where it
// would happen: at the counting service, at a listener on every address of this machine, in the folder, and in the databases.

import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import pg from "pg";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { system, template } from "../e2e/documents.ts";
import { type Stage, startStage } from "../e2e/stage.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { testDatabase, withAdmin } from "../harness/database.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { overTcp } from "../harness/postgres_bridge.ts";

const ROLE = `hostile_${process.pid}`;
const PATHS = [
  ...["plain", "a b", "..", ".", "", "%2e%2e", "../admin", "a/../../admin", "..;/admin", "..\\admin", "．．/admin"],
  ...[
    "//admin.example/x",
    "@admin.example/",
    "http://admin.example/",
    "?admin=1",
    "#admin",
    "&admin=1",
    "%00",
    "%0d%0a",
  ],
  ...["\r\nX-Admin: 1", "a\u0000b", "\ud800", "é/ü"],
];
const HEADERS = [
  ...["plain", "é", "\u0100", "a\u0000", "a\tb", "\u007f", "a\nX-Admin: 1", "a\r\nX-Admin: 1", "a\rX-Admin: 1"],
  ...["a\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n", "\u560d\u560aX-Admin: 1"],
];
const WORDS = [
  ...[
    "plain",
    "; touch made",
    "$(touch made)",
    "`touch made`",
    "| touch made",
    "&& touch made",
    "> made",
    "a\ntouch made",
  ],
  ...[
    "--eval=require('fs').writeFileSync('made','')",
    "-e",
    "-",
    "--",
    "*",
    "~",
    "$HOME",
    "../../etc/passwd",
    "a\u0000b",
    "",
  ],
];
const SQL = [
  ...[
    "a",
    "'; drop table orders; --",
    "' or '1'='1",
    "') union select word from vault --",
    "$1",
    "\\'; delete from orders; --",
  ],
  ...[
    "a\u0000b",
    "/*",
    "1; attach database 'x' as y",
    "'; copy orders to program 'touch made'; --",
    "x".repeat(10_000),
  ],
];
/** Spellings of this machine's own address, as hosts of a URL. */
const LOOPBACK = [
  ...[
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
  ],
  ...[
    "127.000.000.001",
    "①②⑦.0.0.1",
    "127。0。0。1",
    "127.0.0.2",
    "127.255.255.254",
    "localhost",
    "LOCALHOST",
    "localhost.",
  ],
  ...[
    "0.0.0.0",
    "0",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
  ],
  ...["[2002:7f00:1::]", "[::127.0.0.1]"],
];
/** Where a redirect may not lead from a worker whose operator listed 127.0.0.1 alone. */
const MOVED = [
  ...[
    "127.0.0.2",
    "127.2",
    "2130706434",
    "0x7f.2",
    "127.255.255.254",
    "0.0.0.0",
    "0",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
  ],
  ...["[::ffff:127.0.0.2]", "[::ffff:7f00:2]", "[64:ff9b::7f00:2]", "[2002:7f00:1::]", "169.254.169.254", "10.0.0.1"],
];

let stage: Stage;
let admin: pg.Client;
let folder = "";
let forbidden: { readonly port: number; readonly connections: () => number };

// Listens on every address of this machine, and counts whoever comes.
async function everywhere(): Promise<typeof forbidden> {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, "::", resolve));
  atEndOfFile(() => void server.close());
  return { port: (server.address() as { port: number }).port, connections: () => connections };
}

const orders = "create table orders (id text primary key); create table vault (word text);";
const rows = "insert into orders values ('a'); insert into vault values ('canary-vault');";

beforeAll(async () => {
  folder = await temporaryFolder("hostile");
  mkdirSync(join(folder, "work"));
  const program = join(folder, "words.mjs");
  writeFileSync(program, "process.stdout.write(JSON.stringify({ words: process.argv.slice(2) }));");
  const file = new DatabaseSync(join(folder, "work", "shop.db"));
  file.exec(orders + rows);
  file.close();
  const shop = await testDatabase({ migrated: false });
  admin = new pg.Client({ connectionString: shop.url });
  await admin.connect();
  await admin.query(`${orders}${rows} create role ${ROLE} login password 'pw'; grant select on orders to ${ROLE}`);
  forbidden = await everywhere();
  stage = await startStage({
    leaseTtl: "20s",
    env: { ORLOJ_SECRET_SHOP_DSN: await overTcp(shop.url, ROLE, "pw") },
  });
  await stage.worker("w1", { ORLOJ_WORK_DIR: join(folder, "work"), ORLOJ_PRIVATE_NETWORKS: "127.0.0.1/32" });
  const statement = { statement: "select id from orders where id = $1", parameters: ["${{ args.value }}"] };
  await stage.apply(
    ...each("path", "http", {
      ...{ method: "GET", url: "${{ secret.sink.url }}/orders/${{ args.value }}/state?of=${{ args.value }}" },
      allowPrivateNetwork: true,
    }),
    ...each("header", "http", {
      ...{ method: "GET", url: "${{ secret.sink.url }}/header", allowPrivateNetwork: true },
      headers: { "X-Note": "${{ args.value }}" },
    }),
    ...each("word", "command", { argv: [process.execPath, program, "${{ args.value }}"] }),
    ...each("word-after", "command", { argv: [process.execPath, program, "--", "${{ args.value }}"] }),
    ...each("sqlite", "database", { driver: "sqlite", file: "shop.db", ...statement }),
    ...each("postgres", "database", {
      ...{ driver: "postgres", dsn: "${{ secret.shop.dsn }}", allowPrivateNetwork: true, ...statement },
    }),
  );
});

afterAll(async () => {
  await admin.query(`drop owned by ${ROLE}`);
  await admin.end();
  await withAdmin(inject("postgres").adminUrl, (client) => client.query(`drop role ${ROLE}`));
});

const ONCE = { effect: "read", timeout: "20s", retry: { on: [], maxAttempts: 1 } };

/** A tool, and a workflow that calls it with each of a list of values. */
function each(name: string, type: string, block: object): object[] {
  const inputSchema = { type: "object", required: ["value"], properties: { value: { type: "string" } } };
  const map = { over: "input.values", as: "value", concurrency: 8, onItemError: "collect" };
  const nodes = [{ name: "call", tool: name, map, input: { value: "${{ value }}" } }];
  return [
    {
      ...{ apiVersion: "orloj.dev/v1", kind: "Tool", metadata: { name } },
      spec: { type, description: name, inputSchema, ...ONCE, [type]: block },
    },
    system(name, { nodes, output: { value: "${{ nodes.call.outputs }}" } }),
    template(name, { parameters: { type: "object" } }),
  ];
}

/** What became of one value. */
interface Item {
  readonly output?: unknown;
  readonly error?: { readonly class: string; readonly message: string };
}

async function tryAll(name: string, values: readonly string[]): Promise<Map<string, Item>> {
  const outcomes = await (await stage.client.workflow(name).invoke({ values })).result<Item[]>();
  expect(outcomes).toHaveLength(values.length);
  return new Map(values.map((value, index) => [value, outcomes[index] as Item]));
}

/** What every corpus must not have done. */
async function expectNothingElse(): Promise<void> {
  expect(forbidden.connections()).toBe(0);
  expect(readdirSync(folder).sort()).toEqual(["words.mjs", "work"]);
  expect(readdirSync(join(folder, "work"))).toEqual(["shop.db"]);
  const file = new DatabaseSync(join(folder, "work", "shop.db"), { readOnly: true });
  expect(file.prepare("select id from orders").all()).toEqual([{ id: "a" }]);
  file.close();
  expect((await admin.query("select id from orders")).rows).toEqual([{ id: "a" }]);
}

test("paths: one segment and one part of the query, whatever a value holds", async () => {
  const outcomes = await tryAll("path", PATHS);
  for (const call of stage.sink.calls()) {
    const [, value = ""] = /^\/orders\/([^/]+)\/state$/.exec(call.path) ?? [];
    expect(PATHS, call.path).toContain(decodeURIComponent(value));
    expect([...call.query], call.path).toEqual([["of", decodeURIComponent(value)]]);
    expect(call.headers["x-admin"]).toBe(undefined);
  }
  const arrived = [...outcomes.values()].filter(({ error }) => error === undefined).length;
  expect(stage.sink.calls()).toHaveLength(arrived);
  for (const value of ["..", ".", ""]) expect(outcomes.get(value)?.error?.class).toBe("ToolFailed");
  expect(outcomes.get("a/../../admin")?.error).toBe(undefined);
  await expectNothingElse();
});

test("headers: one value, or no request", async () => {
  const outcomes = await tryAll("header", HEADERS);
  const seen = stage.sink.calls("/header").map(({ headers }) => headers);
  expect(seen.map((headers) => headers["x-note"]).sort()).toEqual(["plain", "é"].sort());
  for (const headers of seen) expect(headers["x-admin"]).toBe(undefined);
  expect(stage.sink.count("/admin")).toBe(0);
  expect([...outcomes].filter(([, { error }]) => error === undefined).map(([value]) => value)).toEqual(["plain", "é"]);
  await expectNothingElse();
});

test("argument vectors: one word as it is; what begins with - only after --", async () => {
  const plain = await tryAll("word", WORDS);
  const after = await tryAll("word-after", WORDS);
  for (const value of WORDS) {
    const nul = value.includes("\0");
    const option = value.startsWith("-");
    expect(plain.get(value), value).toMatchObject(
      nul || option ? { error: { class: "ToolFailed" } } : { output: { words: [value] } },
    );
    expect(after.get(value), value).toMatchObject(
      nul ? { error: { class: "ToolFailed" } } : { output: { words: ["--", value] } },
    );
  }
  await expectNothingElse();
});

test.each(["sqlite", "postgres"])("SQL in %s: a value is a value", async (name) => {
  for (const [value, { output, error }] of await tryAll(name, SQL)) {
    expect(JSON.stringify([output, error])).not.toContain("canary-vault");
    if (value.includes("\0") && error !== undefined) continue;
    expect(output, value).toEqual({ rows: value === "a" ? [{ id: "a" }] : [], rowCount: value === "a" ? 1 : 0 });
  }
  await expectNothingElse();
});

test("addresses: no spelling of this machine is reached without leave, nor by a redirect to what the operator did not list", async () => {
  const refused = new Map<string, object>();
  for (const [index, host] of LOOPBACK.entries()) {
    const url = `http://${host}:${forbidden.port}/`;
    refused.set(`spelling-${index}`, { method: "GET", url, allowPrivateNetwork: false });
  }
  for (const [index, host] of MOVED.entries()) {
    const name = `moved-${index}`;
    stage.sink.respond(`/${name}`, () => ({ status: 307, headers: { location: `http://${host}:${forbidden.port}/` } }));
    refused.set(name, { method: "GET", url: `\${{ secret.sink.url }}/${name}`, allowPrivateNetwork: true });
  }
  await stage.apply(...[...refused].flatMap(([name, http]) => each(name, "http", http)));
  for (const [name, block] of refused) {
    const outcome = (await tryAll(name, ["x"])).get("x");
    expect(outcome?.error?.message, JSON.stringify(block)).toMatch(/failed with (?:AddressForbidden|DnsError)/);
  }
  for (const index of MOVED.keys()) expect(stage.sink.count(`/moved-${index}`)).toBe(1);
  await expectNothingElse();
});
