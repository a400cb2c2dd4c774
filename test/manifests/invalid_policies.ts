// Policies that must be refused, or draw a warning.
// Read by validate.test.ts through invalid_manifests.ts. § stands right before the place of the finding.
// Never holds a row that a valid manifest could match.

import { ATTACH, HTTP, head, type InvalidManifest, MATCH, policy, row, TOOL, template, tool } from "./invalid_row.ts";

const limited = (limits: string) => policy(`${ATTACH}\n${MATCH}\nlimits: ${limits}`);

/** Every row. */
export const INVALID_POLICIES: readonly InvalidManifest[] = [
  row("E-MISSING", "a policy without allow and deny", policy(`§${ATTACH}`), "allow"),
  row("E-MISSING", "a policy without attachTo", policy(`§${MATCH}`), '"attachTo" is missing'),
  row(
    "E-VALUE",
    "an empty selector",
    policy(`attachTo: [{kind: Agent, §selector: {}}]\n${MATCH}`),
    "the selector names no label",
  ),
  row(
    "E-VALUE",
    "a selector of namespaces",
    policy(`attachTo: [{kind: Namespace, §selector: {a: b}}]\n${MATCH}`),
    "namespaces have no labels",
  ),
  row(
    "E-MISSING",
    "an attachment without name and selector",
    policy(`attachTo: [§{kind: Agent}]\n${MATCH}`),
    '"name" is missing',
  ),
  row(
    "E-EXPRESSION",
    "CEL with a misspelt member",
    policy(`${ATTACH}\nallow: {cel: "§requester.grups.size() > 0"}`),
    'did you mean "groups"?',
  ),
  row(
    "E-EXPRESSION",
    "CEL with an unknown variable",
    policy(`${ATTACH}\nallow: {cel: "§requestor.id == 'a'"}`),
    'unknown name "requestor"',
  ),
  row("E-CONDITION", "CEL that is no condition", policy(`${ATTACH}\nallow: {cel: §requester.id}`), "not true or false"),
  row(
    "E-EXPRESSION",
    "CEL of more than 4 KiB",
    policy(`${ATTACH}\nallow: {cel: "§${"true && ".repeat(600)}true"}`),
    "longer than 4096 bytes",
  ),
  row(
    "E-CHECKPOINT",
    "CEL that reads arguments where there are none",
    policy(`${ATTACH}\ncheckpoints: [§agent.run]\nallow: {cel: "args.amount < 5"}`),
    "args.amount, which does not exist at agent.run",
  ),
  row(
    "E-CHECKPOINT",
    "exists of a tool where there is none",
    policy(`${ATTACH}\ncheckpoints: [§agent.run]\nallow: {exists: tool.name}`),
    "tool.name, which does not exist at agent.run",
  ),
  row("E-VALUE", "exists of a misspelt path", policy(`${ATTACH}\nallow: {exists: §requester.ids}`), "no member"),
  row("E-VALUE", "exists of the time", policy(`${ATTACH}\nallow: {exists: §now}`), "for CEL alone"),
  row(
    "E-VALUE",
    "a cron of six fields",
    policy(`${ATTACH}\nallow: {time: {in: [{cron: §"0 0 9 * * *", duration: 1h, timeZone: UTC}]}}`),
    "five fields",
  ),
  row(
    "E-VALUE",
    "a cron with an hour that does not exist",
    policy(`${ATTACH}\nallow: {time: {in: [{cron: §"0 24 * * *", duration: 1h, timeZone: UTC}]}}`),
    '"24" is not a hour',
  ),
  row(
    "E-MISSING",
    "a window without a zone",
    policy(`${ATTACH}\nallow: {time: {in: [§{cron: "0 9 * * *", duration: 1h}]}}`),
    '"timeZone" is missing',
  ),
  row(
    "E-VALUE",
    "an offset for a zone",
    policy(`${ATTACH}\nallow: {time: {in: [{cron: "0 9 * * *", duration: 1h, timeZone: §"+02:00"}]}}`),
    "IANA",
  ),
  row(
    "E-VALUE",
    "a window that ends before it begins",
    policy(`${ATTACH}\nallow: {time: {in: [{from: 2026-01-02T00:00:00Z, to: §2026-01-01T00:00:00Z}]}}`),
    "ends before it begins",
  ),
  row(
    "E-REFERENCE",
    "a library policy that does not exist",
    policy(`${ATTACH}\nallow: {policyRef: §nobody}`),
    'no Policy "nobody"',
  ),
  row(
    "E-REFERENCE",
    "a policy that is attached, used as a library",
    `${policy(`${ATTACH}\n${MATCH}`)}---\n${head("Policy", "user", `${ATTACH}\nallow: {policyRef: §only}`)}`,
    "attached itself",
  ),
  row(
    "E-CYCLE",
    "policies that use each other",
    `${head("Policy", "one", "attachTo: []\nallow: {policyRef: §two}")}---\n${head("Policy", "two", "attachTo: []\nallow: {not: {policyRef: one}}")}`,
    "default/one → default/two → default/one",
  ),
  row(
    "E-CHECKPOINT",
    "a library policy that reads what is not there",
    `${policy(`${ATTACH}\nallow: {all: [{policyRef: §calls}]}`)}---\n${head("Policy", "calls", "attachTo: []\nallow: {exists: tool.name}")}`,
    "set checkpoints: [tool.call]",
  ),
  row("E-MISSING", "a limit without max", limited("[§{name: a, key: [], window: 1h}]"), '"max" is missing'),
  row("E-MISSING", "a limit without window", limited("[§{name: a, key: [], max: 1}]"), '"window" is missing'),
  row("E-MISSING", "a limit without name", limited("[§{key: [], max: 1, window: 1h}]"), '"name" is missing'),
  row("E-MISSING", "a limit without key", limited("[§{name: a, max: 1, window: 1h}]"), '"key" is missing'),
  row("E-UNKNOWN-KEY", "a limit's other field", limited("[{name: a, key: [], max: 1, window: 1h, §per: 1h}]"), "per"),
  row(
    "E-DUPLICATE",
    "two limits of one name",
    limited("[{name: a, key: [], max: 1, window: 1h}, {§name: a, key: [], max: 2, window: 2h}]"),
    "given twice",
  ),
  row("E-VALUE", "a limit of nothing", limited("[{name: a, key: [], max: §0, window: 1h}]"), "between 1"),
  row("E-VALUE", "a window of a second", limited("[{name: a, key: [], max: 1, window: §1s}]"), "between 1m"),
  row(
    "E-VALUE",
    "a key that is no path",
    limited("[{name: a, key: [§requestor.id], max: 1, window: 1h}]"),
    'did you mean "requester"?',
  ),
  row(
    "E-CHECKPOINT",
    "a limit of what runs, where nothing is counted",
    policy(
      "attachTo: [{kind: Agent, name: solo}]\nallow: {match: {agent.names: [solo]}}\ncheckpoints: [agent.run]\n§limits: [{name: a, key: [], max: 1, window: 1h}]",
    ),
    "limits count at workflow.run, tool.call",
  ),
  row(
    "E-CHECKPOINT",
    "a limit by arguments of a workflow",
    policy(
      "attachTo: [{kind: Namespace, name: default}]\nallow: {exists: requester.id}\ncheckpoints: [§workflow.run]\nlimits: [{name: a, key: [args.n], max: 1, window: 1h}]",
    ),
    "which does not exist at workflow.run",
  ),
  row(
    "E-CHECKPOINT",
    "a limit of a library policy",
    policy(`attachTo: []\n${MATCH}\n§limits: [{name: a, key: [], max: 1, window: 1h}]`),
    "counts nothing",
  ),
  row(
    "W-UNVERIFIED",
    "a limit by what the request says",
    limited("[{name: a, key: [§context.metadata.who], max: 1, window: 1h}]"),
    "anybody",
    "warning",
  ),
  row("E-UNION", "a condition of two members", policy(`${ATTACH}\nallow: §{all: [], not: {}}`), "exactly one"),
  row(
    "E-UNKNOWN-KEY",
    "a misspelt matcher",
    policy(`${ATTACH}\nallow: {match: {§requester.group: [a]}}`),
    'did you mean "requester.groups"?',
  ),
  row("E-TYPE", "a matcher without list", policy(`${ATTACH}\nallow: {match: {requester.groups: §ops}}`), "[a, b]"),
  row(
    "E-TYPE",
    "a matched number",
    policy(`${ATTACH}\nallow: {match: {context.tags: {customer-id: [§123]}}}`),
    'quote it: "123"',
  ),
  row(
    "E-VALUE",
    "an empty list of values",
    policy(`${ATTACH}\nallow: {match: {requester.groups: §[]}}`),
    "never matches",
  ),
  row(
    "E-VALUE",
    "an unknown kind of requester",
    policy(`${ATTACH}\nallow: {match: {requester.kinds: [§human]}}`),
    "not one of",
  ),
  row(
    "E-CHECKPOINT",
    "a checkpoint out of reach",
    policy(`${ATTACH}\ncheckpoints: [§workflow.run]\n${MATCH}`),
    "out of reach",
  ),
  row(
    "E-CHECKPOINT",
    "a checkpoint at which a field does not exist",
    policy(`${ATTACH}\ncheckpoints: [§agent.run]\nallow: {match: {tool.names: [x]}}`),
    "does not exist at agent.run",
  ),
  row(
    "E-REFERENCE",
    "an attachment to nothing",
    policy(`attachTo: [{kind: Agent, name: §fre}]\n${MATCH}`),
    'did you mean "free"?',
  ),
  row(
    "E-REFERENCE",
    "another namespace",
    policy(`attachTo: [{kind: Namespace, name: §prod}]\n${MATCH}`),
    "does not reach",
  ),
  row(
    "W-UNVERIFIED",
    "metadata of the request",
    policy(`${ATTACH}\nallow: {match: {context.metadata: {who: [§me]}}}`),
    "anybody",
    "warning",
  ),
  row(
    "W-UNVERIFIED",
    "a tag of the request",
    `${template("tags: {ticket: {from: request}}")}---\n${head("Policy", "p", "attachTo: [{kind: WorkflowTemplate, name: flow}]\nallow: {match: {context.tags: {ticket: [§t]}}}")}`,
    "anybody",
    "warning",
  ),
  row(
    "E-UNVERIFIED",
    "a tag of the request on a guarded tool",
    `${tool(`${HTTP}\nguarded: true`)}---\n${template("tags: {ticket: {from: request}}")}---\n${head("Policy", "p", "attachTo: [{kind: Tool, name: refund}]\nallow: {exists: §context.tags.ticket}")}`,
    "the tool is guarded",
  ),
  row(
    "E-UNVERIFIED",
    "metadata on a tool that is guarded and selected",
    `${head("Tool", "pay", `type: http\n${TOOL}\n${HTTP}\neffect: write\nguarded: true`).replace("{name: pay}", "{name: pay, labels: {risk: high}}")}---\n${head("Policy", "p", "attachTo: [{kind: Tool, selector: {risk: high}}]\nallow: {cel: §context.metadata.who == 'me'}")}`,
    "the tool is guarded",
  ),
  row(
    "W-UNVERIFIED",
    "CEL on metadata",
    policy(`${ATTACH}\nallow: {cel: §context.metadata.who == 'me'}`),
    "read a tag",
    "warning",
  ),
];
