// Reads the section `secrets` of the configuration file: which secrets the manifests of a namespace may name. Strict, every error
// with its place, none thrown. Called by server/config_file.ts.

import type { Findings } from "../manifests/diagnostics.ts";
import { Fields, join, LABEL, LABEL_RULE, readStringList } from "../manifests/fields.ts";
import { describe, type Tree } from "../manifests/tree.ts";
import { ALL, type AllowanceList } from "./allowances.ts";

const PATTERN = /^(?:\*|[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}\/(?:\*|[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}))$/;

/** The list; incomplete if findings have errors. */
export function readAllowances(findings: Findings, tree: Tree, path: string): AllowanceList | undefined {
  const fields = Fields.of(findings, tree, path, ["allow"]);
  const allow = fields?.required("allow");
  if (fields === undefined || allow === undefined) return undefined;
  if (allow.kind !== "map") {
    const hint = "write namespaces with their secrets, such as payments: [pay/token]";
    findings.error("E-TYPE", allow.at, fields.at("allow"), `expected a map, found ${describe(allow)}`, hint);
    return undefined;
  }
  const list = allow.entries.map(({ key, at: keyAt, value }) => {
    const at = join(fields.at("allow"), key);
    if (key !== ALL && !LABEL.test(key)) {
      findings.error("E-VALUE", keyAt, at, "is no namespace", `${LABEL_RULE}; or "*" for all`);
    }
    const patterns = readStringList(findings, value, at);
    const strange = patterns.find((pattern) => !PATTERN.test(pattern));
    if (strange !== undefined) {
      findings.error("E-VALUE", value.at, at, `"${strange}" names no secrets`, 'write NAME/KEY, NAME/* or "*"');
    }
    return [key, patterns] as const;
  });
  return Object.fromEntries(list);
}
