// What the chart renders, as the files of deploy/kubernetes: with its defaults, and one component for each thing that is off by default.
// Used by scripts/kubernetes.ts, which writes them, and by the test that they are current.
// The real helm renders; without it there is nothing to say.

import { join } from "node:path";
import { command, mustRun, ROOT } from "./command.ts";

const CHART = join(ROOT, "deploy/helm/orloj");
const HEADER = "# Rendered from deploy/helm/orloj by `npm run kubernetes:render`; change the chart instead.\n";

/** What is rendered: the templates that are taken, and where to, below deploy/kubernetes. */
const SETS: readonly { readonly folder: string; readonly settings: readonly string[]; readonly only?: string }[] = [
  { folder: "", settings: [] },
  { folder: "components/hpa", settings: ["--set=worker.autoscaling.mode=hpa"], only: "worker-hpa" },
  { folder: "components/keda", settings: ["--set=worker.autoscaling.mode=keda"], only: "worker-keda" },
  {
    ...{ folder: "components/monitoring", only: "monitoring" },
    settings: [
      "--set=monitoring.enabled=true",
      `--set-file=monitoring.rules=${join(ROOT, "deploy/monitoring/alerts.yaml")}`,
    ],
  },
];

/** True if there is a helm on the path. */
export async function hasHelm(): Promise<boolean> {
  return (await command("helm", ["version", "--short"])).code === 0;
}

/** What `helm template` prints. @throws Error with what helm says */
export function helmTemplate(...settings: readonly string[]): Promise<string> {
  return mustRun("helm", ["template", "orloj", CHART, "--namespace=orloj", "--kube-version=1.29.0", ...settings]);
}

/** The files, by path below deploy/kubernetes. @throws Error with what helm says */
export async function renderedFiles(): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  for (const { folder, settings, only } of SETS) {
    for (const [template, documents] of bySource(await helmTemplate(...settings))) {
      if (only !== undefined && template !== only) continue;
      files.set(join(folder, `${template}.yaml`), HEADER + documents.join("---\n"));
    }
  }
  return files;
}

// helm writes a document after `---` and a comment that names its template.
function bySource(text: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const part of text.split(/^---\n/m)) {
    const [comment = "", template] = /^# Source: orloj\/templates\/(.+)\.yaml\n/.exec(part) ?? [];
    if (template === undefined) continue;
    const document = `${part.slice(comment.length).trim()}\n`;
    found.set(template, [...(found.get(template) ?? []), document]);
  }
  return found;
}
