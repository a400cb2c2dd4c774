// Renders and signs the request of a webhook tool as Standard Webhooks 1.0 says it: webhook-id, webhook-timestamp and
// webhook-signature over "id.timestamp.body". The signing secret stays here: what leaves is a signature, good for one body.
// A repetition of the call has the same id and the same body, so that a receiver sees what it already has. Called by render.ts.

import { createHmac } from "node:crypto";
import { canonicalJson, isJsonObject, type Json, type JsonObject, sha256 } from "../../kit/json.ts";
import type { Bindings } from "../../language/types.ts";
import type { ToolSpec } from "../manifests/specs.ts";
import { evaluationError, joined, RenderError, renderPieces } from "./pieces.ts";
import { renderUrl } from "./render_http.ts";
import type { ToolTemplates } from "./templates.ts";

/** What a worker needs to deliver one webhook. Holds no secret but what the URL holds. */
export interface WebhookMeansValue {
  readonly kind: "webhook";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly allowPrivateNetwork: boolean;
}

/** Length of a signing key in bytes, as the specification recommends it. */
const KEY_BYTES = { min: 24, max: 64 };
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/;

/** Renders one delivery. @throws RenderError */
export function renderWebhook(
  spec: NonNullable<ToolSpec["webhook"]>,
  templates: NonNullable<ToolTemplates["webhook"]>,
  bindings: Bindings,
  call: { readonly header: string; readonly key: string; readonly nowMs: number },
): WebhookMeansValue {
  const url = renderUrl("webhook.url", renderPieces("webhook.url", templates.url, bindings));
  const secret = joined(renderPieces("webhook.signingSecret", templates.signingSecret, bindings));
  const event: JsonObject = { type: eventOf(spec, bindings), data: dataOf(templates, bindings) };
  const body = canonicalJson(event);
  // A full stop divides what is signed, so an id must hold none.
  const id = call.key.includes(".") ? sha256(call.key) : call.key;
  const timestamp = String(Math.floor(call.nowMs / 1_000));
  const signatures = webhookSignatures(secret, { id, timestamp, body });
  return {
    kind: "webhook",
    url,
    headers: {
      "content-type": "application/json",
      [call.header]: call.key,
      "webhook-id": id,
      "webhook-timestamp": timestamp,
      "webhook-signature": signatures.join(" "),
    },
    body: new TextEncoder().encode(body),
    allowPrivateNetwork: spec.allowPrivateNetwork,
  };
}

function eventOf(spec: NonNullable<ToolSpec["webhook"]>, { args }: Bindings): string {
  const [only, ...others] = spec.events;
  if (only !== undefined && others.length === 0) return only;
  const named = isJsonObject(args) ? args["event"] : undefined;
  if (typeof named === "string" && spec.events.includes(named)) return named;
  throw new RenderError(
    "InvalidArguments",
    `webhook.events: the argument "event" is not one of ${spec.events.join(", ")}`,
  );
}

function dataOf(templates: NonNullable<ToolTemplates["webhook"]>, bindings: Bindings): Json {
  if (templates.data === undefined) return bindings["args"] as Json;
  const result = templates.data.evaluate(bindings);
  if (!result.ok) throw evaluationError("webhook.data", templates.data, result.error);
  return result.value;
}

/** One signature a key of the secret: v1, HMAC-SHA256 over "id.timestamp.body". @throws RenderError for a secret that is none */
export function webhookSignatures(
  secret: string,
  { id, timestamp, body }: { readonly id: string; readonly timestamp: string; readonly body: string },
): string[] {
  return signingKeys(secret).map(
    (key) => `v1,${createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64")}`,
  );
}

// Several keys, with white space between them, sign side by side: so a receiver's key is rotated without a gap.
function signingKeys(secret: string): Buffer[] {
  const keys = secret
    .trim()
    .split(/\s+/)
    .map((text) => {
      const encoded = text.startsWith("whsec_") ? text.slice(6) : "";
      return BASE64.test(encoded) ? Buffer.from(encoded, "base64") : Buffer.alloc(0);
    });
  if (keys.every((key) => key.length >= KEY_BYTES.min && key.length <= KEY_BYTES.max)) return keys;
  const what = `whsec_ and the base64 of ${KEY_BYTES.min} to ${KEY_BYTES.max} bytes`;
  throw new RenderError("ToolInvalid", `webhook.signingSecret: the secret is not ${what}`);
}
