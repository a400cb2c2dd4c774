// The plain manifests: valid by the schemas of Kubernetes, without a field that it does not know, current with the chart, and true to
// what the server and the worker need. The real kubectl and helm are asked where they are there.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { command } from "../../scripts/command.ts";
import { hasHelm, helmTemplate, renderedFiles } from "../../scripts/helm.ts";
import { readConfigFile } from "../../server/config_file.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { typeCheck } from "../harness/type_check.ts";
import { DEPLOY, documentsOf, filesBelow, kindOf, type Manifest, read, SCHEMAS, typedText } from "./manifests.ts";

const FILES = filesBelow("kubernetes", ".yaml").filter((path) => !path.endsWith("kustomization.yaml"));
const manifests = FILES.flatMap((path) => documentsOf(read(path)));
const one = (kind: string, name: string, of: readonly Manifest[] = manifests) => {
  const found = of.filter((each) => each["kind"] === kind && each["metadata"].name === name);
  expect(found, `${kind} ${name}`).toHaveLength(1);
  return found[0] as Manifest;
};
const deployments = () => manifests.filter(({ kind }) => kind === "Deployment");
const podOf = (name: string): Manifest => one("Deployment", name)["spec"].template;
const containersOf = (pod: Manifest): Manifest[] => [...(pod["spec"].initContainers ?? []), ...pod["spec"].containers];
const isSubset = (labels: Manifest, of: Manifest) => Object.entries(labels).every(([key, value]) => of[key] === value);

describe("schemas", () => {
  test("there are manifests of every kind that is known, and of no other", () => {
    expect([...new Set(manifests.map(kindOf))].sort()).toEqual(Object.keys(SCHEMAS).sort());
  });

  test.each(manifests.map((manifest) => [`${kindOf(manifest)} ${manifest["metadata"].name}`, manifest]))(
    "%s is valid",
    (_, manifest) => SCHEMAS[kindOf(manifest as Manifest)]?.check(manifest as Manifest),
  );

  test("no manifest has a field that its kind has not, and the check sees one that has", async () => {
    const wrong = structuredClone(podOf("orloj-server"));
    wrong["spec"].containers[0].livenessProb = {};
    const misspelt = {
      ...one("Deployment", "orloj-server"),
      spec: { ...one("Deployment", "orloj-server")["spec"], template: wrong },
    };
    const { findings } = await typeCheck({ "right.ts": typedText(manifests), "wrong.ts": typedText([misspelt]) });
    expect(findings.filter(({ file }) => file === "right.ts")).toEqual([]);
    expect(findings.map(({ file, message }) => `${file} ${message}`).join("\n")).toMatch(/wrong.ts .*livenessProb/);
    const untyped = { ...one("Deployment", "orloj-server"), spec: { replicas: "two" } };
    expect(() => SCHEMAS["apps/v1/Deployment"]?.check(untyped)).toThrow(/replicas/);
  });
});

describe("pods", () => {
  test.each(["orloj-server", "orloj-worker"])(
    "%s runs hardened, without a token, and without variables of Services",
    (name) => {
      const { spec } = podOf(name);
      expect(spec).toMatchObject({
        ...{ automountServiceAccountToken: false, enableServiceLinks: false, serviceAccountName: name },
        securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: "RuntimeDefault" } },
      });
      expect(one("ServiceAccount", name)).toMatchObject({ automountServiceAccountToken: false });
      expect(spec.topologySpreadConstraints).toHaveLength(2);
      for (const container of containersOf(podOf(name))) {
        expect(container["securityContext"]).toEqual({
          ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } },
        });
        expect(container["resources"].requests).toMatchObject({ cpu: expect.anything(), memory: expect.anything() });
        expect(container["resources"].limits).toMatchObject({ memory: expect.anything() });
      }
    },
  );

  test("every mounted volume is declared, and only the migration sees the owner of the tables", () => {
    for (const deployment of deployments()) {
      const { spec } = deployment["spec"].template;
      const volumes = spec.volumes.map(({ name }: Manifest) => name);
      const mounted = containersOf(deployment["spec"].template).flatMap(({ volumeMounts }) => volumeMounts);
      expect([...new Set(mounted.map(({ name }: Manifest) => name))].sort()).toEqual([...volumes].sort());
    }
    const holders = containersOf(podOf("orloj-server")).filter(({ volumeMounts }) =>
      volumeMounts.some(({ name }: Manifest) => name === "owner"),
    );
    expect(holders.map(({ name }) => name)).toEqual(["migrate"]);
    const database = podOf("orloj-server")["spec"].volumes.find(({ name }: Manifest) => name === "database");
    expect(database.secret.items.map(({ key }: Manifest) => key)).toEqual(["url", "maintenance-url"]);
  });

  test("every file that a variable names is in a mounted volume", () => {
    for (const deployment of deployments()) {
      for (const { env = [], volumeMounts } of containersOf(deployment["spec"].template)) {
        const paths = env.map(({ value }: Manifest) => value).filter((value: string) => value.startsWith("/"));
        expect(paths.length).toBeGreaterThan(0);
        const inside = (path: string) =>
          volumeMounts.some(({ mountPath }: Manifest) => path === mountPath || path.startsWith(`${mountPath}/`));
        expect(paths.filter((path: string) => !inside(path))).toEqual([]);
      }
    }
  });

  test("a server gets the time that it takes to stop, a worker that of its drain window", () => {
    const server = podOf("orloj-server")["spec"];
    expect(server.containers[0].lifecycle.preStop.exec.command).toEqual(["sleep", "5"]);
    expect(server.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(5 + 2 + 12 + 10);
    const worker = podOf("orloj-worker")["spec"];
    const [window] = worker.containers[0].args.flatMap(
      (word: string) => /^--drain-window=(\d+)s$/.exec(word)?.[1] ?? [],
    );
    expect(worker.terminationGracePeriodSeconds).toBe(Number(window) + 30);
  });

  test("probes ask the ops port, and a rolling update takes no server away before another one is ready", () => {
    const [server] = podOf("orloj-server")["spec"].containers;
    const { startupProbe, livenessProbe, readinessProbe } = server;
    expect(
      [startupProbe, livenessProbe, readinessProbe].map(({ httpGet }) => `${httpGet.port}${httpGet.path}`),
    ).toEqual([...["ops/healthz", "ops/healthz", "ops/readyz"]]);
    const { replicas, strategy } = one("Deployment", "orloj-server")["spec"];
    expect(replicas).toBe(2);
    expect(strategy.rollingUpdate).toEqual({ maxUnavailable: 0, maxSurge: 1 });
  });

  test("the memory of a worker holds the tools of all its slots at once", () => {
    const [worker] = podOf("orloj-worker")["spec"].containers;
    const slots = Number(worker.args.flatMap((word: string) => /^--slots=(\d+)$/.exec(word)?.[1] ?? [])[0]);
    const tool = Number(worker.env.find(({ name }: Manifest) => name === "ORLOJ_TOOL_MEMORY_MIB").value);
    expect(worker.resources.limits.memory).toBe("2Gi");
    expect(slots * tool).toBeLessThanOrEqual(2_048 - 512);
  });

  test("the configuration file is one that a server reads", async () => {
    const path = join(await temporaryFolder("config"), "orloj.yaml");
    writeFileSync(path, one("ConfigMap", "orloj-config")["data"]["orloj.yaml"]);
    const { identity, tls } = readConfigFile(path);
    expect(identity.clients.map(({ uri }) => uri)).toEqual(["spiffe://orloj.local/client/admin"]);
    expect(identity.roles.map(({ principals }) => principals)).toEqual([["spiffe://orloj.local/client/admin"]]);
    expect(tls).toMatchObject({ cert: "/etc/orloj/tls/tls.crt", key: "/etc/orloj/tls/tls.key" });
  });
});

describe("what points at what", () => {
  test("selectors of Deployments, Services, budgets and network policies find pods, and ports by name are theirs", () => {
    const templates = deployments().map((each) => each["spec"].template);
    const pods = (labels: Manifest) => templates.filter(({ metadata }) => isSubset(labels, metadata.labels));
    const portsOf = (pod: Manifest) =>
      containersOf(pod).flatMap(({ ports = [] }) => ports.map(({ name }: Manifest) => name));
    for (const each of deployments())
      expect(isSubset(each["spec"].selector.matchLabels, each["spec"].template.metadata.labels)).toBe(true);
    for (const { spec, metadata } of manifests.filter(({ kind }) => kind === "Service")) {
      const [pod, second] = pods(spec.selector);
      expect(second, metadata.name).toBeUndefined();
      expect(portsOf(pod as Manifest)).toEqual(
        expect.arrayContaining(spec.ports.map(({ targetPort }: Manifest) => targetPort)),
      );
    }
    for (const { spec } of manifests.filter(({ kind }) => kind === "PodDisruptionBudget"))
      expect(pods(spec.selector.matchLabels)).toHaveLength(1);
    const policies = manifests.filter(({ kind }) => kind === "NetworkPolicy");
    for (const { spec, metadata } of policies) {
      expect(spec.policyTypes).toEqual(["Ingress", "Egress"]);
      expect(pods(spec.podSelector.matchLabels).length, metadata.name).toBeGreaterThan(0);
    }
  });

  test("nothing is let in or out but: workers to the worker port, clients to the API, scrapes, the database, names, and the web", () => {
    const rules = (name: string, way: "ingress" | "egress") =>
      (one("NetworkPolicy", name)["spec"][way] ?? []).map((rule: Manifest) =>
        rule["ports"].map(({ port }: Manifest) => port).join(),
      );
    expect(rules("orloj-default-deny", "ingress")).toEqual([]);
    expect(rules("orloj-default-deny", "egress")).toEqual([]);
    expect(rules("orloj-server", "ingress")).toEqual(["worker", "api", "ops"]);
    expect(rules("orloj-server", "egress")).toEqual(["5432", "53,53"]);
    expect(rules("orloj-worker", "ingress")).toEqual([]);
    expect(rules("orloj-worker", "egress")).toEqual(["worker", "53,53", "443"]);
    const [toServers] = one("NetworkPolicy", "orloj-worker")["spec"].egress;
    expect(isSubset(toServers.to[0].podSelector.matchLabels, podOf("orloj-server")["metadata"].labels)).toBe(true);
    expect(isSubset(toServers.to[0].podSelector.matchLabels, podOf("orloj-worker")["metadata"].labels)).toBe(false);
    const [, , web] = one("NetworkPolicy", "orloj-worker")["spec"].egress;
    expect(web.to[0].ipBlock.except).toContain("169.254.0.0/16");
  });

  test("workers dial the headless Service of the worker port", () => {
    const [worker] = podOf("orloj-worker")["spec"].containers;
    const endpoint = worker.env.find(({ name }: Manifest) => name === "ORLOJ_WORKER_ENDPOINTS").value;
    expect(endpoint).toBe("orloj-workers:7602");
    expect(one("Service", "orloj-workers")["spec"]).toMatchObject({
      clusterIP: "None",
      ports: [{ port: 7602, targetPort: "worker" }],
    });
  });

  test("both scalers count a worker for as many tasks as it has slots, and ask for a metric that a server has", () => {
    const slots = podOf("orloj-worker")["spec"].containers[0].args.flatMap(
      (word: string) => /^--slots=(\d+)$/.exec(word)?.[1] ?? [],
    );
    const { spec: hpa } = one("HorizontalPodAutoscaler", "orloj-worker");
    expect([hpa.metrics[0].external.target.averageValue]).toEqual(slots);
    const { spec: keda } = one("ScaledObject", "orloj-worker");
    expect([keda.triggers[0].metadata.threshold]).toEqual(slots);
    expect(keda.triggers[0].metadata.query).toContain("orloj_cluster_tasks{");
    for (const { scaleTargetRef } of [hpa, keda]) expect(scaleTargetRef.name).toBe("orloj-worker");
  });

  test("the alert rules are those of deploy/monitoring", () => {
    const [alerts] = documentsOf(read("monitoring/alerts.yaml"));
    expect(one("PrometheusRule", "orloj")["spec"]).toEqual(alerts);
  });
});

describe("kubectl", () => {
  let present: boolean;
  beforeAll(async () => {
    present = (await command("kubectl", ["kustomize", "--help"])).code === 0;
    if (!present) console.log("kubectl: not run");
  });
  const build = async (folder: string) => {
    const { code, output, stdout } = await command("kubectl", ["kustomize", folder]);
    expect(code, output).toBe(0);
    return documentsOf(stdout);
  };

  test("builds the manifests into one namespace", async () => {
    if (!present) return;
    const built = await build(join(DEPLOY, "kubernetes"));
    const outside = built.filter(({ kind, metadata }) => kind !== "Namespace" && metadata.namespace !== "orloj");
    expect(outside.map(({ metadata }) => metadata.name)).toEqual([]);
    for (const each of built) SCHEMAS[kindOf(each)]?.check(each);
    expect(one("Deployment", "orloj-worker", built)["spec"].replicas).toBe(2);
  });

  test.each(["hpa", "keda", "monitoring"])("builds them with the component %s", async (name) => {
    if (!present) return;
    const folder = await temporaryFolder("kustomize");
    await command("cp", ["-r", join(DEPLOY, "kubernetes"), join(folder, "base")]);
    const text = `resources: [base]\ncomponents: [base/components/${name}]\nimages: [{name: orloj, newName: registry.example/orloj, newTag: "7"}]\n`;
    writeFileSync(join(folder, "kustomization.yaml"), text);
    const built = await build(folder);
    const images = built
      .filter(({ kind }) => kind === "Deployment")
      .flatMap((each) => containersOf(each["spec"].template));
    expect(new Set(images.map(({ image }) => image))).toEqual(new Set(["registry.example/orloj:7"]));
    const [added] = documentsOf(
      read(
        filesBelow(`kubernetes/components/${name}`, ".yaml").filter(
          (path) => !path.endsWith("kustomization.yaml"),
        )[0] as string,
      ),
    );
    expect(built.map(kindOf)).toContain(kindOf(added as Manifest));
    expect(one("Deployment", "orloj-worker", built)["spec"].replicas).toBe(name === "monitoring" ? 2 : undefined);
  });
});

describe("helm", () => {
  let present: boolean;
  beforeAll(async () => {
    present = await hasHelm();
    if (!present) console.log("helm: not run");
  });

  test("renders exactly these files", async () => {
    if (!present) return;
    const rendered = await renderedFiles();
    expect([...rendered.keys()].sort()).toEqual(
      FILES.map((path) => path.replace(/^kubernetes\//, ""))
        .filter((path) => path !== "namespace.yaml")
        .sort(),
    );
    for (const [path, text] of rendered) expect(read(`kubernetes/${path}`), path).toBe(text);
  });

  test("finds nothing to say about the chart", async () => {
    if (!present) return;
    const { code, output } = await command("helm", ["lint", "--strict", join(DEPLOY, "helm/orloj")]);
    expect(code, output).toBe(0);
  });

  test("renders valid manifests with everything that is off by default", async () => {
    if (!present) return;
    const values = join(await temporaryFolder("values"), "values.yaml");
    writeFileSync(
      values,
      `image: {repository: registry.example/orloj, tag: "7", pullSecrets: [pull]}
database: {maintenance: false}
toolSecrets: [{name: payments, secretName: payments-credentials}]
server: {env: [{name: ORLOJ_LOG_LEVEL, value: debug}], nodeSelector: {disk: fast}, tolerations: [{key: a, operator: Exists}], apiService: {type: LoadBalancer, annotations: {a: b}}}
worker: {labels: {region: eu}, env: [{name: OPENAI_API_KEY, valueFrom: {secretKeyRef: {name: models, key: openai}}}], nodeSelector: {disk: fast}, tolerations: [{key: a, operator: Exists}], autoscaling: {mode: keda}}
networkPolicy: {databaseTo: [{ipBlock: {cidr: 10.0.0.5/32}}], serverEgress: [{ports: [{port: 443}]}]}
monitoring: {enabled: true}
`,
    );
    const files = join(DEPLOY, "monitoring");
    const rendered = documentsOf(
      await helmTemplate(
        "--values",
        values,
        `--set-file=monitoring.rules=${files}/alerts.yaml`,
        `--set-file=monitoring.dashboard=${files}/dashboard.json`,
      ),
    );
    for (const each of rendered) SCHEMAS[kindOf(each)]?.check(each);
    const { findings } = await typeCheck({ "values.ts": typedText(rendered) });
    expect(findings).toEqual([]);
    const { spec } = one("Deployment", "orloj-server", rendered)["spec"].template;
    expect(spec.initContainers[0].args).toEqual(["migrate"]);
    const mounts = spec.containers[0].volumeMounts.map(({ mountPath }: Manifest) => mountPath);
    expect(mounts).toContain("/etc/orloj/secrets/payments");
    const worker = one("Deployment", "orloj-worker", rendered)["spec"].template.spec.containers[0];
    expect(worker.args).toContain("--label=region=eu");
    const dashboard = JSON.parse(one("ConfigMap", "orloj-dashboard", rendered)["data"]["orloj.json"]) as unknown;
    expect(dashboard).toEqual(JSON.parse(read("monitoring/dashboard.json")));
  });

  test("renders workers alone", async () => {
    if (!present) return;
    const rendered = documentsOf(await helmTemplate("--set=server.enabled=false", "--set=worker.endpoints=a:7602"));
    expect(
      rendered
        .map(({ kind, metadata }) => `${kind} ${metadata.name}`)
        .filter((name) => /server$|Service |Config/.test(name)),
    ).toEqual(["ServiceAccount orloj-server"]);
    const [worker] = one("Deployment", "orloj-worker", rendered)["spec"].template.spec.containers;
    expect(worker.env[0]).toEqual({ name: "ORLOJ_WORKER_ENDPOINTS", value: "a:7602" });
  });

  test.each(["worker.slots=0", "server.replicas=none", "worker.autoscaling.mode=magic", "sever.replicas=3"])(
    "refuses %s",
    async (setting) => {
      if (!present) return;
      await expect(helmTemplate(`--set=${setting}`)).rejects.toThrow(/values don't meet|schema/);
    },
  );
});
