// Reads where a tool sends to: an address and headers, with what may be inserted there. Arguments never choose scheme or host,
// and no credential is written out. Called by the blocks that speak HTTP: http, webhook, mcp, and that of an http agent.
// What depends on the value of an insertion is refused when it is rendered (server/grant), not here.

import { compileStringTemplate, type Segment } from "../../language/template.ts";
import type { Findings } from "./diagnostics.ts";
import { checkTemplate } from "./expressions.ts";
import { type Fields, readStrings } from "./fields.ts";
import { checkSecrets } from "./secret_rule.ts";
import { positionInside, type ScalarTree, type Tree } from "./tree.ts";

/** What a tool's block may insert; an agent's inserts secrets only. */
export const TOOL_VARIABLES: readonly string[] = ["args", "secret"];
const HEADER_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
const RESERVED_HEADERS = new Set([
  "host",
  "content-length",
  "transfer-encoding",
  "connection",
  "upgrade",
  "te",
  "trailer",
]);

/** Reads headers, whose values are templates. @param reserved names that are set for the author, in lower case */
export function readHeaders(
  findings: Findings,
  tree: Tree,
  path: string,
  variables = TOOL_VARIABLES,
  reserved: readonly string[] = [],
): Record<string, string> {
  const headers = readStrings(findings, tree, path);
  checkTemplate(findings, tree, path, variables);
  checkSecrets(findings, tree, path);
  if (tree.kind !== "map") return headers;
  const seen = new Set<string>();
  for (const entry of tree.entries) {
    const name = entry.key.toLowerCase();
    const inner = `${path}.${entry.key}`;
    if (!HEADER_NAME.test(entry.key)) findings.error("E-VALUE", entry.at, inner, `"${entry.key}" is not a header name`);
    if (RESERVED_HEADERS.has(name) || reserved.includes(name))
      findings.error("E-VALUE", entry.at, inner, `"${entry.key}" is set by the worker`, "remove it");
    if (seen.has(name))
      findings.error("E-DUPLICATE-KEY", entry.at, inner, `the header "${entry.key}" is given twice`, "keep one");
    seen.add(name);
    if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(headers[entry.key] ?? "")) {
      findings.error("E-VALUE", entry.value.at, inner, "a header value takes no line break or control character");
    }
  }
  return headers;
}

/** Reads an address that must be there, and checks what is inserted into it. */
export function readAddress(fields: Fields, key: string, variables = TOOL_VARIABLES): string | undefined {
  const url = fields.requiredString(key);
  const tree = fields.get(key);
  if (url !== undefined && tree?.kind === "scalar") checkUrl(fields.findings, tree, fields.at(key), url, variables);
  return url;
}

function checkUrl(findings: Findings, tree: ScalarTree, path: string, url: string, variables: readonly string[]): void {
  if (checkTemplate(findings, tree, path, variables) === undefined) return;
  const compiled = compileStringTemplate(url, { variables });
  if (!compiled.ok) return;
  checkSecrets(findings, tree, path);
  const [first, ...rest] = compiled.value.segments;
  if (first?.kind === "expression") {
    if (!isSecret(first)) {
      const message = "an address may begin with a secret only: arguments never choose scheme or host";
      findings.error(
        "E-URL",
        positionInside(tree, first.offset),
        path,
        message,
        "begin with https://host/ or ${{ secret.NAME.url }}",
      );
    }
    const [second] = rest;
    if (second !== undefined && !(second.kind === "literal" && /^[/?#]/.test(second.text))) {
      findings.error(
        "E-URL",
        positionInside(tree, first.offset),
        path,
        "after the base address comes / or ?",
        'write "${{ secret.NAME.url }}/path"',
      );
    }
    return;
  }
  const literal = first?.kind === "literal" ? first.text : "";
  if (!/^https?:\/\//i.test(literal)) {
    findings.error(
      "E-URL",
      tree.at,
      path,
      "the address is not http or https",
      "begin with https://host/ or ${{ secret.NAME.url }}",
    );
    return;
  }
  // Scheme and host end at the first of these; an insertion before it would be part of them.
  const hostEnds = /^https?:\/\/[^/?#]*[/?#]/i.test(literal);
  const [second] = rest;
  if (!hostEnds && second?.kind === "expression") {
    const message = "scheme and host take no insertion";
    findings.error(
      "E-URL",
      positionInside(tree, second.offset),
      path,
      message,
      "write the host out, or begin with ${{ secret.NAME.url }}",
    );
  } else if (!URL.canParse(/^https?:\/\/[^/?#]*/i.exec(literal)?.[0] ?? "")) {
    findings.error("E-URL", tree.at, path, "the address has no valid host", "write it as https://host/path");
  }
}

/** True for an insertion that reads secrets and nothing else. */
export function isSecret(segment: Segment): boolean {
  if (segment.kind !== "expression") return false;
  return segment.references.length > 0 && segment.references.every((reference) => reference.path[0] === "secret");
}
