// Reads the section `limits` of the configuration file: what an operator bounds otherwise than by default. Strict, every error with its
// place, none thrown. Called by config_file.ts. docs/limits.md is its table.

import { HOUR, MINUTE } from "../kit/units.ts";
import { type NamespaceQuota, OTHERS, type QuotaSettings } from "./commands/quotas.ts";
import type { Role } from "./commands/views.ts";
import type { Findings } from "./manifests/diagnostics.ts";
import { Fields, join, LABEL, LABEL_RULE } from "./manifests/fields.ts";
import type { Tree } from "./manifests/tree.ts";
import type { CallRates } from "./rpc/caller_rates.ts";
import { RPC_LIMITS, type RpcLimits } from "./rpc/limits.ts";

/** What the file bounds. */
export interface LimitSettings {
  readonly listeners: Partial<RpcLimits>;
  readonly callRates: CallRates;
  readonly quotas: QuotaSettings;
}

/** Nothing but the defaults. */
export const NO_LIMITS: LimitSettings = Object.freeze({ listeners: {}, callRates: {}, quotas: {} });

const ROLES: readonly Role[] = ["admin", "operator", "invoker", "auditor", "worker"];
const COUNT = { min: 1, max: 100_000 } as const;
const RATE = { min: 1, max: 1_000_000 } as const;
const AGE = { min: MINUTE, max: 24 * HOUR } as const;

/** The settings; incomplete if findings have errors. */
export function readLimits(findings: Findings, tree: Tree, path: string): LimitSettings {
  const known = [
    "connections",
    "connectionsPerPeer",
    "calls",
    "callsPerPeer",
    "connectionAge",
    "callsPerSecond",
    "namespaces",
  ];
  const fields = Fields.of(findings, tree, path, known);
  if (fields === undefined) return NO_LIMITS;
  const listeners = {
    connectionsMax: fields.integer("connections", COUNT, RPC_LIMITS.connectionsMax),
    connectionsPerPeerMax: fields.integer("connectionsPerPeer", COUNT, RPC_LIMITS.connectionsPerPeerMax),
    callsMax: fields.integer("calls", COUNT, RPC_LIMITS.callsMax),
    callsPerPeerMax: fields.integer("callsPerPeer", COUNT, RPC_LIMITS.callsPerPeerMax),
    ageMs: fields.duration("connectionAge", AGE, RPC_LIMITS.ageMs),
  };
  return { listeners, callRates: readRates(fields), quotas: readQuotas(fields) };
}

function readRates(fields: Fields): CallRates {
  const tree = fields.get("callsPerSecond");
  const rates = tree && Fields.of(fields.findings, tree, fields.at("callsPerSecond"), ROLES);
  if (rates === undefined) return {};
  const entries = ROLES.filter((role) => rates.has(role)).map((role) => [role, rates.integer(role, RATE, 1)]);
  return Object.fromEntries(entries) as CallRates;
}

function readQuotas(fields: Fields): QuotaSettings {
  const tree = fields.get("namespaces");
  const path = fields.at("namespaces");
  if (tree === undefined) return {};
  if (tree.kind !== "map") {
    fields.findings.error(
      "E-TYPE",
      tree.at,
      path,
      "expected a map",
      "write namespaces with their quotas, such as team: {resources: 500}",
    );
    return {};
  }
  const entries = tree.entries.map(({ key, at, value }): [string, NamespaceQuota] => {
    const where = join(path, key);
    if (key !== OTHERS && !LABEL.test(key)) {
      fields.findings.error("E-VALUE", at, where, "is no namespace", `${LABEL_RULE}; or "*" for all others`);
    }
    const quota = Fields.of(fields.findings, value, where, ["invocationsPerSecond", "resources"]);
    if (quota === undefined) return [key, {}];
    return [
      key,
      {
        ...(quota.has("invocationsPerSecond") && {
          invocationsPerSecond: quota.integer("invocationsPerSecond", RATE, 1),
        }),
        ...(quota.has("resources") && { resources: quota.integer("resources", RATE, 1) }),
      },
    ];
  });
  return Object.fromEntries(entries);
}
