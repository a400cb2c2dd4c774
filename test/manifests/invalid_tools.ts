// Tools that must be refused.
// Read by validate.test.ts through invalid_manifests.ts. § stands right before the place of the finding.
// Never holds a row that a valid manifest could match.

import { command, HTTP, head, type InvalidManifest, row, TOOL, tool } from "./invalid_row.ts";

const QUERY = "statement: select 1";
const database = (block: string) =>
  head("Tool", "ask", `type: database\n${TOOL}\neffect: read\ndatabase:\n${block.replace(/^/gm, "  ")}`);
const sql = (statement: string) => database(`driver: sqlite\nfile: a.db\nstatement: §${JSON.stringify(statement)}`);
const mcp = (block: string) =>
  head("Tool", "ask", `type: mcp\n${TOOL}\neffect: read\nmcp:\n${block.replace(/^/gm, "  ")}`);
const WEBHOOK = 'url: https://x/y\nsigningSecret: "${{ secret.a.b }}"';
const webhook = (block: string) =>
  head("Tool", "tell", `type: webhook\n${TOOL}\neffect: write\nwebhook:\n${block.replace(/^/gm, "  ")}`);

/** Every row. */
export const INVALID_TOOLS: readonly InvalidManifest[] = [
  // Tool
  row(
    "E-MISSING",
    "a tool without its block",
    head("Tool", "t", `§type: http\n${TOOL}\neffect: read`),
    '"http" is missing',
  ),
  row("E-MISSING", "a tool without effect", head("Tool", "t", `§type: http\n${HTTP}\n${TOOL}`), '"effect" is missing'),
  row("E-MISSING", "an mcp tool without server", mcp("§tool: t"), "an MCP server is missing"),
  row("E-MISSING", "an mcp tool without the server's tool", mcp("§command: [x]"), '"tool" is missing'),
  row(
    "E-UNION",
    "a server with address and environment",
    mcp("url: https://x/y\ntool: t\n§env: {A: b}"),
    "a server with url",
  ),
  row(
    "E-UNION",
    "a server with command and headers",
    mcp("command: [x]\ntool: t\n§headers: {A: b}"),
    "a server with command",
  ),
  row(
    "E-VALUE",
    "a tool of a server that an argument names",
    mcp('command: [x]\n§tool: "${{ args.id }}"'),
    "no insertion",
  ),
  row(
    "E-VALUE",
    "an argument in the command of a server",
    mcp('command: [x, §"${{ args.id }}"]\ntool: t'),
    "secrets over in env",
  ),
  row("E-SHELL", "a server as a line for a shell", mcp("command: §npx -y server\ntool: t"), "never a line for a shell"),
  row(
    "E-SECRET",
    "a literal credential of a server",
    mcp("command: [x]\nenv: {API_TOKEN: §abc}\ntool: t"),
    "literal credential",
  ),
  row(
    "E-URL",
    "a server at the host that an argument names",
    mcp('url: "https://${{ §args.id }}/y"\ntool: t'),
    "no insertion",
  ),
  row(
    "E-MISSING",
    "a webhook without address",
    webhook('§signingSecret: "${{ secret.a.b }}"\nevents: [a.b]'),
    '"url" is missing',
  ),
  row("E-MISSING", "a webhook without events", webhook(`§${WEBHOOK}`), '"events" is missing'),
  row("E-VALUE", "a webhook that tells nothing", webhook(`${WEBHOOK}\nevents: §[]`), "at least one"),
  row("E-NAME", "an event that is no name", webhook(`${WEBHOOK}\nevents: [§"a b"]`), "not the name of an event"),
  row("E-DUPLICATE", "an event given twice", webhook(`${WEBHOOK}\nevents: [a.b, §a.b]`), "given twice"),
  row(
    "E-SCHEMA",
    "several events and no argument that names one",
    head(
      "Tool",
      "t",
      `type: webhook\ndescription: x\neffect: write\nwebhook:\n  ${WEBHOOK.replace("\n", "\n  ")}\n  events: [a.b, a.c]\n§inputSchema: {type: object}`,
    ),
    'no required argument "event"',
  ),
  row(
    "E-SECRET",
    "a signing secret written out",
    webhook("url: https://x/y\nevents: [a.b]\nsigningSecret: §whsec_abcdefghijklmnop"),
    "write ${{ secret.NAME.KEY }}",
  ),
  row(
    "E-SECRET",
    "a signing secret from an argument",
    webhook('url: https://x/y\nevents: [a.b]\nsigningSecret: §"${{ args.id }}"'),
    "one secret and nothing else",
  ),
  row(
    "E-URL",
    "a webhook to the host that an argument names",
    webhook('url: "https://${{ §args.id }}/y"\nevents: [a.b]\nsigningSecret: "${{ secret.a.b }}"'),
    "no insertion",
  ),
  row("E-MISSING", "a database without driver", database(`§${QUERY}`), '"driver" is missing'),
  row("E-MISSING", "a postgres without dsn", database(`§driver: postgres\n${QUERY}`), '"dsn" is missing'),
  row("E-MISSING", "a sqlite without file", database(`§driver: sqlite\n${QUERY}`), '"file" is missing'),
  row(
    "E-UNION",
    "a sqlite with a dsn",
    database(`driver: sqlite\nfile: a.db\n§dsn: postgres://u@h/d\n${QUERY}`),
    "use file",
  ),
  row("E-VALUE", "a file that climbs", database(`driver: sqlite\n§file: ../a.db\n${QUERY}`), "no .."),
  row(
    "E-URL",
    "a dsn from an argument",
    database(`driver: postgres\ndsn: §"\${{ args.id }}"\n${QUERY}`),
    "neither one secret",
  ),
  row(
    "E-URL",
    "a dsn with an argument inside",
    database(`driver: postgres\ndsn: §"postgres://u@\${{ args.id }}/d"\n${QUERY}`),
    "neither one secret",
  ),
  row(
    "E-SECRET",
    "a password in a dsn",
    database(`driver: postgres\ndsn: §postgres://u:pw12@h/d\n${QUERY}`),
    "credential",
  ),
  row(
    "E-SQL-INTERP",
    "an argument in the statement",
    database("driver: postgres\ndsn: postgres://u@h/d\nstatement: §\"select * from t where id = '${{ args.id }}'\""),
    "$1 and parameters",
  ),
  row("E-SQL", "two statements", sql("select 1; delete from t"), "more than one statement"),
  row("E-SQL", "a statement that is a command of the shell", sql("copy t to program 'id'"), 'begins with "copy"'),
  row("E-SQL", "a function that reads files", sql("select load_extension('x')"), "load_extension"),
  row("E-SQL", "a write of a readOnly tool", sql("delete from t"), "a readOnly statement begins with"),
  row("E-SQL", "a parameter that is not given", sql("select $1"), "0 parameters are given"),
  row(
    "E-VALUE",
    "a readWrite statement of a tool that reads",
    database("driver: sqlite\nfile: a.db\naccess: readWrite\nstatement: delete from t").replace(
      "effect: read",
      "§effect: read",
    ),
    "set effect: write",
  ),
  row("E-UNION", "the block of another type", tool(`${HTTP}\n§command: {argv: [x]}`), "does not belong"),
  row(
    "E-RETRY-UNSAFE",
    "an ambiguous class with deadLetter",
    tool(`${HTTP}\nretry: {on: [RateLimited, §Timeout]}`),
    "onUnknownOutcome: retry",
  ),
  row(
    "E-RETRY-UNSAFE",
    "the same for a destructive tool",
    tool(`${HTTP}\nretry: {on: [§Http5xx]}`, "destructive"),
    "onUnknownOutcome",
  ),
  row(
    "E-SECRET",
    "a literal Authorization header",
    tool('http: {method: POST, url: "https://x/y", headers: {Authorization: §Bearer abcdefgh}}'),
    "secret.NAME.KEY",
  ),
  row(
    "E-SECRET",
    "a literal x-api-key header",
    tool('http: {method: POST, url: "https://x/y", headers: {x-api-key: §"k1"}}'),
    "secret.NAME.KEY",
  ),
  row(
    "E-SECRET",
    "a password in a body",
    tool('http: {method: POST, url: "https://x/y", body: {user: {password: §hunter2}}}'),
    "literal credential",
  ),
  row(
    "E-SECRET",
    "a password in an address",
    tool('http: {method: POST, url: §"https://me:pw12@x/y"}'),
    "looks like a credential",
  ),
  row(
    "E-SECRET",
    "a token in an environment",
    command("command: {argv: [x], env: {API_TOKEN: §abc}}"),
    "literal credential",
  ),
  row("E-URL", "arguments as the base address", tool('http: {method: POST, url: "${{ §args.id }}/x"}'), "secret"),
  row(
    "E-URL",
    "arguments in the host",
    tool('http: {method: POST, url: "https://${{ §args.id }}.example/x"}'),
    "no insertion",
  ),
  row(
    "E-URL",
    "text glued to the base address",
    tool('http: {method: POST, url: "${{ §secret.pay.url }}.evil.example"}'),
    "comes / or ?",
  ),
  row("E-URL", "another scheme", tool('http: {method: POST, url: §"ftp://x/y"}'), "not http"),
  row("E-VALUE", "an unknown method", tool('http: {method: §FETCH, url: "https://x/y"}'), "not one of"),
  row(
    "E-VALUE",
    "a header that the worker sets",
    tool('http: {method: POST, url: "https://x/y", headers: {§Host: a}}'),
    "set by the worker",
  ),
  row(
    "E-EXPRESSION",
    "a body that names something unknown",
    tool('http: {method: POST, url: "https://x/y", body: "${{ §arg }}"}'),
    'did you mean "args"?',
  ),
  row(
    "W-OPTIONAL",
    "a parameter that reads a misspelt argument",
    database('driver: sqlite\nfile: a.db\nstatement: select $1\nparameters: ["${{ §args.idd }}"]'),
    'did you mean "id"?',
    "warning",
  ),
  row(
    "W-OPTIONAL",
    "data of a webhook that read a misspelt argument",
    webhook(`${WEBHOOK}\nevents: [a]\ndata: {x: "\${{ §args.idd }}"}`),
    'did you mean "id"?',
    "warning",
  ),
  row(
    "W-OPTIONAL",
    "arguments for a server that read a misspelt argument",
    mcp('command: [x]\ntool: t\narguments: {x: "${{ §args.idd }}"}'),
    'did you mean "id"?',
    "warning",
  ),
  row(
    "E-EXPRESSION",
    "a header of a server that names no secret",
    mcp('url: https://x/y\nheaders: {X-A: "${{ §secret.pay }}"}\ntool: t'),
    "write secret.NAME.KEY",
  ),
  row("E-SHELL", "a command as one string", command("command: {argv: §jq .items}"), '["jq", ".items"]'),
  row(
    "E-SHELL",
    "a shell with -c",
    command('command: {argv: [/bin/§sh, -c, "ls"]}'.replace("/bin/§sh", "§/bin/sh")),
    "as a shell",
  ),
  row("E-SHELL", "a shell behind env", command('command: {argv: [env, §bash, -lc, "ls"]}'), "as a shell"),
  row("E-SHELL", "a program chosen by arguments", command('command: {argv: [§"${{ args.id }}"]}'), "no insertion"),
  row(
    "E-TYPE",
    "an environment value that is a number",
    command("command: {argv: [x], env: {N: §1}}"),
    'quote it: "1"',
  ),
  row(
    "E-EXPRESSION",
    "a key that reads something else",
    tool(`${HTTP}\nidempotency: {key: §input.id}`),
    "unknown name",
  ),
  row("E-EXPRESSION", "a key as a template", tool(`${HTTP}\nidempotency: {key: "§$\{{ args.id }}"}`), "bare CEL"),
  row("E-VALUE", "a ttl without a key", tool(`${HTTP}\nidempotency: {§ttl: 1h}`), "there is none"),
  row(
    "E-VALUE",
    "a key whose result is not kept",
    tool(`${HTTP}\nidempotency: {key: args.id, §mode: none}`),
    "cannot have a key",
  ),
  row("E-VALUE", "a tool that may never be called", tool(`${HTTP}\nconcurrency: §0`), "between 1 and 10000"),
  row("E-TYPE", "a concurrency that is a word", tool(`${HTTP}\nconcurrency: §many`), "expected a number"),
  row(
    "E-SCHEMA",
    "arguments that are no object",
    head("Tool", "t", `type: http\n${HTTP}\ndescription: x\neffect: read\ninputSchema: §{type: string}`),
    "an object",
  ),
  row(
    "E-EXPRESSION",
    "a secret without key",
    tool('http: {method: POST, url: "${{ §secret.pay }}/x"}'),
    "secret.NAME.KEY",
  ),
];
