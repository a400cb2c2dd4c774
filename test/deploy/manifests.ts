// The files of deploy/ as data, and the schemas of Kubernetes and of two operators, by kind.
// Used by the tests of this folder.

import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1";
import { PrometheusRule, ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import { Deployment } from "kubernetes-models/apps/v1";
import { HorizontalPodAutoscaler } from "kubernetes-models/autoscaling/v2";
import { NetworkPolicy } from "kubernetes-models/networking.k8s.io/v1";
import { PodDisruptionBudget } from "kubernetes-models/policy/v1";
import { ConfigMap, Namespace, Service, ServiceAccount } from "kubernetes-models/v1";
import { parseAllDocuments } from "yaml";

/** Root of the repository. */
export const ROOT = join(import.meta.dirname, "../..");
/** deploy/. */
export const DEPLOY = join(ROOT, "deploy");

/** A Kubernetes object, as far as tests look into it. */
// biome-ignore lint/suspicious/noExplicitAny: what it is, is what these tests find out
export type Manifest = Record<string, any>;

/** Every document of a YAML text, as Kubernetes reads YAML: 0440 is octal. @throws Error for what is no YAML */
export function documentsOf(text: string): Manifest[] {
  return parseAllDocuments(text, { version: "1.1" }).flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    const value = document.toJS() as Manifest | null;
    return value === null ? [] : [value];
  });
}

/** Paths of the files below a folder of deploy/ that end so, from deploy/. */
export function filesBelow(folder: string, end: string): string[] {
  const names = readdirSync(join(DEPLOY, folder), { recursive: true, encoding: "utf8" });
  return names.filter((name) => name.endsWith(end)).map((name) => relative(DEPLOY, join(DEPLOY, folder, name)));
}

/** A file of deploy/. */
export function read(path: string): string {
  return readFileSync(join(DEPLOY, path), "utf8");
}

interface Schema {
  /** Where its types are, for the compiler. */
  readonly types: string;
  check(manifest: Manifest): void;
}

const schema = (types: string, of: new (data: never) => { validate(): void }): Schema => ({
  types: join(ROOT, "node_modules", types),
  check: (manifest) => new of(manifest as never).validate(),
});

/** By apiVersion/kind. */
export const SCHEMAS: Readonly<Record<string, Schema>> = {
  "v1/ConfigMap": schema("kubernetes-models/v1/ConfigMap", ConfigMap),
  "v1/Namespace": schema("kubernetes-models/v1/Namespace", Namespace),
  "v1/Service": schema("kubernetes-models/v1/Service", Service),
  "v1/ServiceAccount": schema("kubernetes-models/v1/ServiceAccount", ServiceAccount),
  "apps/v1/Deployment": schema("kubernetes-models/apps/v1/Deployment", Deployment),
  "autoscaling/v2/HorizontalPodAutoscaler": schema(
    "kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler",
    HorizontalPodAutoscaler,
  ),
  "networking.k8s.io/v1/NetworkPolicy": schema("kubernetes-models/networking.k8s.io/v1/NetworkPolicy", NetworkPolicy),
  "policy/v1/PodDisruptionBudget": schema("kubernetes-models/policy/v1/PodDisruptionBudget", PodDisruptionBudget),
  "keda.sh/v1alpha1/ScaledObject": schema("@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject", ScaledObject),
  "monitoring.coreos.com/v1/ServiceMonitor": schema(
    "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor",
    ServiceMonitor,
  ),
  "monitoring.coreos.com/v1/PrometheusRule": schema(
    "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule",
    PrometheusRule,
  ),
};

/** apiVersion/kind. */
export function kindOf({ apiVersion, kind }: Manifest): string {
  return `${apiVersion}/${kind}`;
}

/**
 * A TypeScript file that compiles if the manifests have only fields that their kinds have, of the right types: what the schemas leave open.
 * Line N is the Nth manifest, after as many lines of imports as there are kinds.
 */
export function typedText(manifests: readonly Manifest[]): string {
  const kinds = [...new Set(manifests.map(kindOf))];
  const imports = kinds.map((kind, index) => {
    const { types } = SCHEMAS[kind] as Schema;
    return `import type { I${kind.split("/").at(-1)} as K${index} } from "${types}.js";`;
  });
  const values = manifests.map(
    (manifest, index) => `export const m${index}: K${kinds.indexOf(kindOf(manifest))} = ${JSON.stringify(manifest)};`,
  );
  return [...imports, ...values].join("\n");
}
