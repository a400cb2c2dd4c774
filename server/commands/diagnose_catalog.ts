// Looks at the catalog: policies that are attached to nothing, and secrets that manifests name and this replica does not have.
// Called by diagnose.ts. Reads every manifest once; the matching itself is pure.

import { agentSecretsOf, secretsOf } from "../grant/templates.ts";
import { policyRefsOf } from "../manifests/policy_condition.ts";
import { SYSTEM_NAMESPACE } from "../manifests/references.ts";
import type { AttachmentSpec, Manifest, SecretRef } from "../manifests/specs.ts";
import { type ResourceRow, resourceQueries } from "../storage/resources.ts";
import type { Store } from "../storage/store.ts";
import type { CommandContext } from "./context.ts";
import { type Finding, fine, type Look, trouble } from "./findings.ts";

const SHOWN_MAX = 100;

/** Policies whose attachments no resource fits, and library policies that nobody uses. */
export function policyLook(store: Store): Look {
  return {
    name: "policies",
    async run() {
      const rows = await store.read(({ db }) => resourceQueries(db).all());
      return unattachedPolicies(rows);
    },
  };
}

/** Secrets by name, as this replica has them; another replica may have others. */
export function secretLook(context: Pick<CommandContext, "store" | "secrets">): Look {
  return {
    name: "secrets",
    async run() {
      const rows = await context.store.read(({ db }) => resourceQueries(db).all());
      return absentSecrets(rows, context.secrets);
    },
  };
}

/** The findings of policyLook over the rows of a catalog. */
export function unattachedPolicies(rows: readonly ResourceRow[]): Finding[] {
  const id = "policies.unattached";
  const policies = rows.filter(({ kind }) => kind === "Policy");
  const used = new Set(policies.flatMap((row) => usedLibraries(row)));
  const findings: Finding[] = [];
  for (const row of policies) {
    const subject = `Policy ${row.namespace}/${row.name}`;
    const { attachTo } = (JSON.parse(row.document) as Manifest<"Policy">).spec;
    if (attachTo.length === 0) {
      if (used.has(`${row.namespace}/${row.name}`)) continue;
      const message = "it is a library policy, and no policy uses it: it decides nothing";
      findings.push(trouble("warning", id, { subject, message, nextStep: "use it by policyRef, or delete it" }));
    } else if (!attachTo.some((attachment) => rows.some((one) => fits(row.namespace, attachment, one)))) {
      const message = "nothing in the catalog is what it is attached to: it decides nothing";
      const nextStep =
        "correct attachTo (names, labels, namespace), or delete it; orloj get all -A shows what there is";
      findings.push(trouble("warning", id, { subject, message, nextStep }));
    }
  }
  return bounded(findings) ?? [fine(id, `${policies.length} policies, each attached to something`)];
}

function fits(namespace: string, { kind, name, selector }: AttachmentSpec, row: ResourceRow): boolean {
  if (namespace !== SYSTEM_NAMESPACE && row.namespace !== namespace) return false;
  if (kind === "Namespace") return row.kind !== "Policy" && (name === undefined || row.namespace === name);
  if (row.kind !== kind || (name !== undefined && row.name !== name)) return false;
  return Object.entries(selector ?? {}).every(([label, value]) => row.labels[label] === value);
}

// Of its own namespace, or else of system: as a name is looked for.
function usedLibraries({ namespace, document }: ResourceRow): string[] {
  const { allow, deny } = (JSON.parse(document) as Manifest<"Policy">).spec;
  return [...policyRefsOf(allow, []), ...policyRefsOf(deny, [])].flatMap(({ name }) => [
    `${namespace}/${name}`,
    `${SYSTEM_NAMESPACE}/${name}`,
  ]);
}

/** The findings of secretLook over the rows of a catalog. */
export function absentSecrets(
  rows: readonly ResourceRow[],
  secrets: Pick<CommandContext["secrets"], "give">,
): Finding[] {
  const findings: Finding[] = [];
  let named = 0;
  for (const row of rows) {
    for (const secret of secretsNamedBy(row)) {
      named += 1;
      const given = secrets.give(row.namespace, secret);
      if (given.ok) continue;
      const about = `${row.kind} ${row.namespace}/${row.name}`;
      const subject = `${secret.name}/${secret.key}`;
      if (given.why === "forbidden") {
        const message = `${about} names it, and its namespace may not`;
        const nextStep = "allow it in secrets.allow of the server's configuration file, or name another one";
        findings.push(trouble("error", "secrets.forbidden", { subject, message, nextStep }));
      } else {
        const message = `${about} names it, and this replica has no such secret: its calls fail with SecretMissing`;
        const nextStep = "put it into --secrets-dir as NAME/KEY, or into ORLOJ_SECRET_NAME_KEY, on every replica";
        findings.push(trouble("error", "secrets.absent", { subject, message, nextStep }));
      }
    }
  }
  return bounded(findings) ?? [fine("secrets.present", `${named} named, all there`)];
}

function secretsNamedBy(row: ResourceRow): readonly SecretRef[] {
  if (row.kind === "Tool") return secretsOf((JSON.parse(row.document) as Manifest<"Tool">).spec);
  if (row.kind !== "Agent") return [];
  const agent = (JSON.parse(row.document) as Manifest<"Agent">).spec;
  const key = agent.model?.secretRef;
  return [...agentSecretsOf(agent), ...(key === undefined ? [] : [key])];
}

// Undefined for none; what is beyond the limit is counted in the last one.
function bounded(findings: readonly Finding[]): Finding[] | undefined {
  const last = findings[SHOWN_MAX];
  if (last === undefined) return findings.length === 0 ? undefined : [...findings];
  const more = { ...last, subject: "", message: `and ${findings.length - SHOWN_MAX} more` };
  return [...findings.slice(0, SHOWN_MAX), more];
}
