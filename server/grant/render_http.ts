// Renders the block of an http tool: URL, headers, body. Injection-safe by construction.
// URL: each insertion is percent-encoded and stays inside its path segment or query; scheme and host take none, but for a
// base URL from a secret at the very start. Headers: no control characters. Called by render.ts.
// Rules for URLs: WHATWG URL Standard ("single-dot" and "double-dot" segments); for headers: RFC 9110, section 5.5.

import { canonicalJson } from "../../kit/json.ts";
import type { Bindings } from "../../language/types.ts";
import type { ToolSpec } from "../manifests/specs.ts";
import { evaluationError, joined, type Piece, RenderError, renderPieces } from "./pieces.ts";
import type { ToolTemplates } from "./templates.ts";

/** What a worker needs to send one request. Holds secrets. */
export interface HttpMeansValue {
  readonly kind: "http";
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Absent: no body. */
  readonly body?: Uint8Array<ArrayBuffer>;
  readonly allowPrivateNetwork: boolean;
}

const AFTER_AUTHORITY = /^https?:\/\/[^/?#\\]+[/?#]/i;
const DOT_SEGMENT = /^(?:\.|%2e){1,2}$/i;
// What a header value may hold: visible ASCII, space and obs-text. A tab is legal and refused all the same.
const HEADER_VALUE = /^[\x20-\x7e\x80-\xff]*$/;

/** Renders one request. @throws RenderError */
export function renderHttp(
  spec: NonNullable<ToolSpec["http"]>,
  templates: NonNullable<ToolTemplates["http"]>,
  bindings: Bindings,
  idempotency: { readonly header: string; readonly key: string },
): HttpMeansValue {
  const url = renderUrl("http.url", renderPieces("http.url", templates.url, bindings));
  const headers = renderHeaders("http.headers", templates.headers, bindings);
  const body = templates.body && renderContent("http.body", templates.body, bindings);
  if (body?.json === true && !headers.has("content-type")) {
    headers.set("content-type", ["content-type", "application/json"]);
  }
  headers.set(idempotency.header.toLowerCase(), [idempotency.header, idempotency.key]);
  return {
    kind: "http",
    method: spec.method,
    url,
    headers: Object.fromEntries(headers.values()),
    ...(body && { body: body.bytes }),
    allowPrivateNetwork: spec.allowPrivateNetwork,
  };
}

/** Renders headers, by their names in lower case. @throws RenderError */
export function renderHeaders(
  field: string,
  templates: NonNullable<ToolTemplates["http"]>["headers"],
  bindings: Bindings,
): Map<string, readonly [string, string]> {
  const headers = new Map<string, readonly [string, string]>();
  for (const [name, template] of templates) {
    const pieces = renderPieces(`${field}.${name}`, template, bindings);
    const value = joined(pieces);
    if (!HEADER_VALUE.test(value)) {
      const message = `${field}.${name}: the value holds a character that no header may hold (a control or beyond U+00FF)`;
      const byCaller = pieces.some((piece) => piece.inserted?.secretOnly === false);
      throw new RenderError(byCaller ? "InvalidArguments" : "ToolInvalid", message);
    }
    headers.set(name.toLowerCase(), [name, value]);
  }
  return headers;
}

/** Renders a body or standard input: a string raw, any other value as canonical JSON. @throws RenderError */
export function renderContent(
  field: string,
  template: NonNullable<NonNullable<ToolTemplates["http"]>["body"]>,
  bindings: Bindings,
): { readonly bytes: Uint8Array<ArrayBuffer>; readonly json: boolean } {
  const result = template.evaluate(bindings);
  if (!result.ok) throw evaluationError(field, template, result.error);
  const json = typeof result.value !== "string";
  const text = typeof result.value === "string" ? result.value : canonicalJson(result.value);
  return { bytes: new TextEncoder().encode(text), json };
}

/** Renders an address. @throws RenderError */
export function renderUrl(field: string, pieces: readonly Piece[]): string {
  let url = "";
  const encoded = pieces.map((piece, index): Piece => {
    const isBase = index === 0 && piece.inserted?.secretOnly === true;
    const text = piece.inserted === undefined || isBase ? piece.text : encodeInsertion(field, piece, url);
    // A base URL may end in a slash though the path that follows begins with one.
    const next = pieces[index + 1];
    const fitted =
      isBase && next?.inserted === undefined && next?.text.startsWith("/") ? text.replace(/\/$/, "") : text;
    url += fitted;
    return isBase ? { text: fitted } : { ...piece, text: fitted };
  });
  checkSegments(field, encoded);
  if (!isHttpUrl(url)) {
    throw new RenderError("ToolInvalid", `${field}: does not give an http or https URL without user and password`);
  }
  return url;
}

function encodeInsertion(field: string, piece: Piece, before: string): string {
  if (!AFTER_AUTHORITY.test(before)) {
    const message = `${field}: \${{ ${piece.inserted?.expression} }} stands in the scheme or host; only a base URL from a secret may begin a URL`;
    throw new RenderError("ToolInvalid", message);
  }
  try {
    return encodeURIComponent(piece.text);
  } catch {
    throw new RenderError(
      "InvalidArguments",
      `${field}: \${{ ${piece.inserted?.expression} }} is not well-formed text`,
    );
  }
}

// A path segment in which something was inserted must not vanish nor climb: both would reach another resource.
function checkSegments(field: string, pieces: readonly Piece[]): void {
  let segment = "";
  let expression: string | undefined;
  const close = () => {
    if (expression !== undefined && (segment === "" || DOT_SEGMENT.test(segment))) {
      const what = segment === "" ? "empty" : `"." or ".."`;
      const message = `${field}: \${{ ${expression} }} makes its path segment ${what}`;
      throw new RenderError("InvalidArguments", message);
    }
    segment = "";
    expression = undefined;
  };
  for (const piece of pieces) {
    if (piece.inserted !== undefined) {
      segment += piece.text;
      expression = piece.inserted.expression;
      continue;
    }
    const queryAt = piece.text.search(/[?#]/);
    const [first, ...others] = (queryAt === -1 ? piece.text : piece.text.slice(0, queryAt)).split(/[/\\]/);
    segment += first;
    for (const other of others) {
      close();
      segment = other;
    }
    if (queryAt !== -1) break;
  }
  close();
}

function isHttpUrl(text: string): boolean {
  if (/[\s\x00-\x1f\x7f]/.test(text) || !URL.canParse(text)) return false;
  const url = new URL(text);
  return /^https?:$/.test(url.protocol) && url.hostname !== "" && url.username === "" && url.password === "";
}
