// Finds credentials written out in a manifest (E-SECRET): a header, variable or member that holds one by its name, and
// texts that are one by their shape. A value that inserts an expression is not a literal.
// Called by the schemas of Tool and Agent. Never quotes the value it found: findings are logged and sent.

import type { Findings } from "./diagnostics.ts";
import { join } from "./fields.ts";
import { strings, type Tree } from "./tree.ts";

const NAMES =
  /^(?:proxy-)?authorization$|^cookie$|(?:^|[-_.])(?:pass(?:word|wd|phrase)?|secrets?|tokens?|credentials?|api[-_]?keys?|(?:access|private|signing|secret)[-_]?keys?)$|(?:password|secret|token|apikey)$/i;
const SHAPES = [
  /\b(?:Bearer|Basic)\s+[A-Za-z0-9+/._=-]{8,}/,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----/,
  /\b(?:sk|pk|rk)[-_](?:live|test|proj|ant|or)?[-_]?[A-Za-z0-9_-]{16,}/,
  /\bgh[pousr]_[A-Za-z0-9]{20,}/,
  /\bAKIA[0-9A-Z]{16}\b/,
  /\bxox[abprs]-[A-Za-z0-9-]{10,}/,
  /^[a-z][a-z0-9+.-]*:\/\/[^/\s:@]+:[^/\s@$]+@/i,
];
const HINT = "keep it in a secret and write ${{ secret.NAME.KEY }}";

/** Checks every string of a tree by its key and by its shape. */
export function checkSecrets(findings: Findings, tree: Tree, path: string, hint = HINT): void {
  if (findings.trusted) return;
  if (tree.kind === "map") {
    for (const entry of tree.entries) {
      const inner = join(path, entry.key);
      if (NAMES.test(entry.key) && isLiteral(entry.value)) {
        findings.error("E-SECRET", entry.value.at, inner, `"${entry.key}" holds a literal credential`, hint);
      } else checkSecrets(findings, entry.value, inner, hint);
    }
    return;
  }
  for (const { tree: scalar, path: inner } of strings(tree, path)) {
    if (tree.kind === "list") {
      const flag = /^--?([A-Za-z0-9-]+)=(.+)$/.exec(scalar.value);
      if (flag !== null && NAMES.test(flag[1] as string) && !(flag[2] as string).includes("${{")) {
        findings.error("E-SECRET", scalar.at, inner, `"--${flag[1]}" holds a literal credential`, hint);
        continue;
      }
    }
    if (SHAPES.some((shape) => shape.test(scalar.value))) {
      findings.error("E-SECRET", scalar.at, inner, "the text looks like a credential", hint);
    }
  }
}

function isLiteral(tree: Tree): boolean {
  return tree.kind === "scalar" && typeof tree.value === "string" && tree.value !== "" && !tree.value.includes("${{");
}
