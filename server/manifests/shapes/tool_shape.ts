// The shape of kind Tool, with a block for each type.
// Called by kinds.ts of this folder. The rules are those of ../tool.ts and of the files that it reads blocks with.

import { DAY, HOUR, MIB, MINUTE } from "../../../kit/units.ts";
import { CONCURRENCY_MAX } from "../concurrency.ts";
import { DATABASE_ROWS } from "../database_block.ts";
import { KEY_TTL_MS, TOOL_TIMEOUT_MS } from "../tool.ts";
import { COMMAND_OUTPUT_BYTES } from "../tool_blocks.ts";
import { retry } from "./retry_shape.ts";
import {
  chooses,
  duration,
  exactlyOne,
  flag,
  keys,
  list,
  map,
  type Shape,
  schema,
  template,
  text,
  texts,
  when,
  whenThere,
  whole,
  word,
} from "./shape.ts";

const TYPES = ["http", "webhook", "database", "command", "mcp"];
const URL =
  "An http or https address; a template over args and secret. Scheme and host take no insertion, but it may begin with a secret.";
const HEADERS = texts("Headers; values are templates over args and secret.");
const PRIVATE = flag("The address may be private; the worker's ORLOJ_PRIVATE_NETWORKS must list it as well.", false);
const ENV = texts("Environment; values are templates over args and secret.");
const WORK_DIR = text("Work directory inside the worker's ORLOJ_WORK_DIR; no insertion and no ..");
const ARGV = (description: string) => list(description, { type: "string" }, { min: 1 });

const BLOCKS: Readonly<Record<string, Shape>> = {
  http: map(
    "Of type http: the request.",
    {
      method: word("Method.", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
      url: text(URL),
      headers: HEADERS,
      body: template("Body as JSON; a template. Not of GET and HEAD."),
      allowPrivateNetwork: PRIVATE,
    },
    ["method", "url"],
    ["GET", "HEAD"].map((method) => when("method", method, keys([], ["body"]))),
  ),
  webhook: map(
    "Of type webhook: a delivery signed as Standard Webhooks says.",
    {
      url: text(URL),
      signingSecret: text("One secret and nothing else: ${{ secret.NAME.KEY }}."),
      events: list(
        "Events that it may tell; of several, the argument `event` names one.",
        text("Words with full stops between them.", { pattern: "^[A-Za-z0-9_]+(\\.[A-Za-z0-9_]+)*$", maxLength: 255 }),
        { min: 1 },
      ),
      data: template("Data of the event; a template. Absent: the arguments."),
      allowPrivateNetwork: PRIVATE,
    },
    ["url", "signingSecret", "events"],
  ),
  database: map(
    "Of type database: one statement.",
    {
      driver: word("Which database.", ["postgres", "sqlite"]),
      dsn: text("Of postgres: one secret, or postgres://user@host/database for a user without password."),
      file: text("Of sqlite: path inside the worker's ORLOJ_WORK_DIR; no insertion and no .."),
      statement: text("The statement, in which $1, $2, … stand for the parameters. It takes no insertion."),
      parameters: list("Values of the parameters; templates over args and secret.", { description: "A value." }),
      access: word("Whether it may change rows.", ["readOnly", "readWrite"], "readOnly"),
      maxRows: whole("Rows of a result at most.", { min: 1, max: 10_000 }, DATABASE_ROWS),
      allowPrivateNetwork: { ...PRIVATE, description: `Of postgres. ${PRIVATE["description"]}` },
    },
    ["driver", "statement"],
    [
      when("driver", "postgres", keys(["dsn"], ["file"])),
      when("driver", "sqlite", keys(["file"], ["dsn", "allowPrivateNetwork"])),
    ],
  ),
  command: map(
    "Of type command: a program; never a shell.",
    {
      argv: ARGV("The program, written out, and its arguments; templates over args and secret."),
      stdin: template("Standard input; a template."),
      workDir: WORK_DIR,
      env: ENV,
      maxOutputBytes: whole("Bytes of its output at most.", { min: 1, max: 1 * MIB }, COMMAND_OUTPUT_BYTES),
    },
    ["argv"],
  ),
  mcp: map(
    "Of type mcp: one tool of an MCP server.",
    {
      command: ARGV("The program that is the server, and its arguments; no insertion."),
      env: { ...ENV, description: `With command. ${ENV["description"]}` },
      workDir: { ...WORK_DIR, description: `With command. ${WORK_DIR["description"]}` },
      url: text(`Where a server is reached by streamable HTTP. ${URL}`),
      headers: { ...HEADERS, description: `With url. ${HEADERS["description"]}` },
      allowPrivateNetwork: { ...PRIVATE, description: `With url. ${PRIVATE["description"]}` },
      tool: text("Name of the server's tool; no insertion.", { minLength: 1, maxLength: 128 }),
      arguments: template("What the server's tool gets; a template. Absent: the arguments as they are."),
    },
    ["tool"],
    [
      exactlyOne(["command", "url"]),
      whenThere("url", keys([], ["command", "env", "workDir"])),
      whenThere("command", keys([], ["headers", "allowPrivateNetwork"])),
    ],
  ),
};

/** The spec of a Tool. */
export const TOOL_SPEC = map(
  "What can be called, with which arguments, and what that does to the world.",
  {
    type: word("What is called; the block of that name says how.", TYPES),
    description: text("What the tool does; models read it."),
    ...BLOCKS,
    inputSchema: {
      ...schema("JSON Schema of the arguments: an object."),
      required: ["type"],
      properties: { type: { const: "object" } },
    },
    outputSchema: schema("JSON Schema that the result must fit."),
    effect: word("What a call does to the world.", ["read", "write", "destructive"]),
    guarded: flag(
      "Denied unless an enforcing policy that is attached to it is decided at tool.call and allows.",
      false,
    ),
    idempotency: map(
      "How one effect is told from another.",
      {
        mode: word("cached: a recorded result is given again. Absent: none for read, cached for others.", [
          "cached",
          "none",
        ]),
        key: text("CEL over args that names the effect. Absent: a call is named by its task and place."),
        ttl: duration("How long other tasks get the result of a key.", { min: MINUTE, max: 365 * DAY }, KEY_TTL_MS),
        header: text("Header in which the request id is sent.", {
          default: "Idempotency-Key",
          pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
        }),
        onUnknownOutcome: word(
          "Nobody knows whether a call had its effect: a person decides, or it is tried again, which only an endpoint that honours the key allows.",
          ["deadLetter", "retry"],
          "deadLetter",
        ),
      },
      [],
      [whenThere("ttl", keys(["key"])), whenThere("key", { properties: { mode: { const: "cached" } } })],
    ),
    retry: retry(
      "Retry of one call. Absent: 3 attempts on RateLimited, Http503, SqlConflict; of read tools also on ConnectionReset, Timeout, Http5xx.",
      "tool",
    ),
    timeout: duration("Time of one attempt.", { min: 100, max: 1 * HOUR }, TOOL_TIMEOUT_MS),
    concurrency: whole("Calls that are granted at a time. Absent: any number.", { min: 1, max: CONCURRENCY_MAX }),
  },
  ["type", "description", "inputSchema", "effect"],
  chooses("type", TYPES),
);
