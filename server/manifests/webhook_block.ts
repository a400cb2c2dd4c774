// Reads and writes the webhook block of a tool: where to, signed with what, and which events it may tell.
// Called by tool.ts. Source: Standard Webhooks 1.0; an event's name is words divided by full stops, such as refund.created.
// The signing secret is a secret and nothing else: a template around it would not be the receiver's key.

import type { JsonObject } from "../../kit/json.ts";
import { compileStringTemplate } from "../../language/template.ts";
import type { Findings } from "./diagnostics.ts";
import { checkTemplate } from "./expressions.ts";
import { compact, Fields, readString } from "./fields.ts";
import { checkSecrets } from "./secret_rule.ts";
import type { ToolSpec } from "./specs.ts";
import { isSecret, readAddress, TOOL_VARIABLES } from "./tool_address.ts";
import type { Tree } from "./tree.ts";

/** Argument that says which event is told, when a tool may tell several. */
export const EVENT_ARGUMENT = "event";
const EVENT = /^[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*$/;

type Webhook = NonNullable<ToolSpec["webhook"]>;

/** Reads a webhook block. */
export function readWebhook(findings: Findings, tree: Tree, path: string): Webhook | undefined {
  const fields = Fields.of(findings, tree, path, ["url", "signingSecret", "events", "data", "allowPrivateNetwork"]);
  if (fields === undefined) return undefined;
  const url = readAddress(fields, "url");
  const signingSecret = readSigningSecret(fields);
  const events = readEvents(fields);
  const dataTree = fields.get("data");
  if (dataTree !== undefined) {
    checkTemplate(findings, dataTree, fields.at("data"), TOOL_VARIABLES);
    checkSecrets(findings, dataTree, fields.at("data"));
  }
  const data = fields.json("data");
  const allowPrivateNetwork = fields.boolean("allowPrivateNetwork", false);
  if (url === undefined || signingSecret === undefined) return undefined;
  return { url, signingSecret, events, ...(data !== undefined && { data }), allowPrivateNetwork };
}

function readSigningSecret(fields: Fields): string | undefined {
  const text = fields.requiredString("signingSecret");
  const tree = fields.get("signingSecret");
  if (text === undefined || tree === undefined || fields.findings.trusted) return text;
  const path = fields.at("signingSecret");
  const compiled = compileStringTemplate(text, { variables: TOOL_VARIABLES });
  const [only, ...others] = compiled.ok ? compiled.value.segments : [];
  if (only?.kind === "expression" && others.length === 0 && isSecret(only)) return text;
  if (compiled.ok || checkTemplate(fields.findings, tree, path, TOOL_VARIABLES) !== undefined) {
    const message = "the signing secret is not one secret and nothing else";
    fields.findings.error("E-SECRET", tree.at, path, message, "write ${{ secret.NAME.KEY }}");
  }
  return text;
}

function readEvents(fields: Fields): string[] {
  const tree = fields.required("events");
  const items = fields.list("events");
  const path = fields.at("events");
  if (tree?.kind === "list" && items.length === 0) {
    const hint = "name at least one, such as refund.created";
    fields.findings.error("E-VALUE", tree.at, path, "a webhook tells of no event", hint);
  }
  const events: string[] = [];
  for (const [index, item] of items.entries()) {
    const name = readString(fields.findings, item, `${path}[${index}]`);
    if (name === undefined) continue;
    if (!EVENT.test(name) || name.length > 255) {
      const message = `"${name.slice(0, 80)}" is not the name of an event`;
      const hint = "use letters, digits and _ with full stops between words, such as refund.created";
      fields.findings.error("E-NAME", item.at, `${path}[${index}]`, message, hint);
    }
    if (events.includes(name)) {
      fields.findings.error(
        "E-DUPLICATE",
        item.at,
        `${path}[${index}]`,
        `the event "${name}" is given twice`,
        "keep one",
      );
    }
    events.push(name);
  }
  return events;
}

/** Reports several events without the argument that says which one is told. */
export function checkEventArgument(tool: Fields, webhook: Webhook, inputSchema: JsonObject): void {
  if (webhook.events.length < 2) return;
  const { required } = inputSchema;
  if (Array.isArray(required) && required.includes(EVENT_ARGUMENT)) return;
  const message = `the tool may tell ${webhook.events.length} events, and no required argument "${EVENT_ARGUMENT}" says which`;
  const hint = `require it: {required: [${EVENT_ARGUMENT}], properties: {${EVENT_ARGUMENT}: {enum: [${webhook.events.join(", ")}]}}}`;
  tool.findings.error("E-SCHEMA", tool.positionOf("inputSchema"), tool.at("inputSchema"), message, hint);
}

/** The webhook block as a manifest would say it. */
export function webhookJson(webhook: Webhook): JsonObject {
  const { url, signingSecret, events, data, allowPrivateNetwork } = webhook;
  return compact({ url, signingSecret, events: [...events], data, allowPrivateNetwork });
}
