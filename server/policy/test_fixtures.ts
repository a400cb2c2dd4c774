// What policy tests decide on: the manifests of a folder as a policy set, live facts and bundles, and targets checked against them.
// Called by test_folder.ts. Pure: manifests come parsed, with their places.
// The same bundle, input document and structure as on the server; only nobody has to store them first.

import { DomainError, messageOf } from "../../kit/errors.ts";
import type { Bundle } from "../manifests/bundle.ts";
import { didYouMean, type Findings } from "../manifests/diagnostics.ts";
import { lookupIn } from "../manifests/references.ts";
import { resolveBundle } from "../manifests/resolve.ts";
import type { Manifest } from "../manifests/specs.ts";
import { takeTags } from "../manifests/tags.ts";
import { compilePolicies } from "./compile.ts";
import { decideDry, declaredTool } from "./dry_decision.ts";
import type { Explanation } from "./explain.ts";
import type { LiveFacts } from "./input.ts";
import type { Fixture, PolicyTest, TestTarget } from "./test_document.ts";
import type { LimitUse, LivePolicy, PolicySet, Requester } from "./types.ts";

const REVISION = "0";

/** See the file header. */
export class TestFixtures {
  readonly policies: readonly LivePolicy[];
  readonly #set: PolicySet;
  readonly #live: LiveFacts;
  readonly #lookup: ReturnType<typeof lookupIn>;
  readonly #manifests: readonly Manifest[];

  constructor(manifests: readonly Manifest[]) {
    this.#manifests = manifests;
    this.#lookup = lookupIn(manifests);
    this.policies = manifests.filter(isPolicy).map(({ metadata: { namespace, name }, spec }) => ({
      ...{ namespace, name, spec },
      ...{ generation: 0, digest: "" },
    }));
    this.#set = compilePolicies(this.policies, REVISION);
    const find = this.#lookup;
    this.#live = {
      labels: (...key) => find(...key)?.metadata.labels ?? {},
      annotations: (...key) => find(...key)?.metadata.annotations ?? {},
      guarded: (namespace, name) =>
        (find("Tool", namespace, name) as Manifest<"Tool"> | undefined)?.spec.guarded ?? false,
    };
  }

  /** What a target means; undefined, with the reason in findings, if it means nothing. */
  target(findings: Findings, test: PolicyTest, fixture: Fixture<TestTarget>): TargetUnderTest | undefined {
    const before = findings.errors;
    const path = `spec.targets.${fixture.name}`;
    const wrong = (message: string, hint = "") => findings.error("E-REFERENCE", fixture.at, path, message, hint);
    const bundle = this.#bundle(test.namespace, fixture.value.workflow, wrong);
    if (bundle === undefined) return undefined;
    const { agent, tool, tags } = fixture.value;
    if (agent !== undefined && bundle.agents[agent] === undefined) {
      const known = Object.keys(bundle.agents);
      wrong(`no node of the workflow is agent "${agent}"`, didYouMean(agent, known) || `agents: ${known.join(", ")}`);
    } else if (tool !== undefined && !this.#isTool(bundle, agent ?? "", tool)) {
      wrong(`there is no Tool "${tool}"`, didYouMean(tool, this.#namesOf("Tool")));
    }
    for (const { tag, source } of takeTags(bundle.workflow.spec.tags, {}, tags).refused) {
      const from =
        source?.from === "claim"
          ? `it comes from claim "${source.claim}" of the requester`
          : source === undefined
            ? "the workflow declares no such tag"
            : `its value is in the template`;
      wrong(`tag "${tag}" cannot be set by the caller`, from);
    }
    return findings.errors > before ? undefined : { fixture, bundle };
  }

  /** Decides a target for a requester. */
  decide(
    { fixture: { value }, bundle }: TargetUnderTest,
    requester: Requester,
    nowMs: number,
    used: (use: LimitUse) => number,
  ): Explanation {
    const { agent, tool, args, tags, metadata } = value;
    return decideDry({
      ...{ policies: this.#set, live: this.#live, bundle, runId: "run_test", requester, metadata, nowMs },
      ...{ agent, toolName: tool, args, used },
      tags: takeTags(bundle.workflow.spec.tags, requester.claims, tags).tags,
    }).explanation;
  }

  #bundle(namespace: string, workflow: string, wrong: (message: string, hint?: string) => void): Bundle | undefined {
    const stored: Parameters<typeof resolveBundle>[2] = (...key) => {
      const manifest = this.#lookup(...key);
      return manifest && { manifest, generation: 0, digest: "" };
    };
    try {
      return resolveBundle(namespace, workflow, stored).bundle;
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      wrong(messageOf(error), didYouMean(workflow, this.#namesOf("WorkflowTemplate")));
      return undefined;
    }
  }

  // What an agent calls by a name of its own, or a Tool that it may not declare: then structure denies.
  #isTool(bundle: Bundle, agent: string, name: string): boolean {
    return declaredTool(bundle, agent, name) !== undefined || this.#namesOf("Tool").includes(name);
  }

  #namesOf(kind: Manifest["kind"]): string[] {
    return this.#manifests.filter((manifest) => manifest.kind === kind).map(({ metadata }) => metadata.name);
  }
}

/** A target with the bundle of its workflow. */
export interface TargetUnderTest {
  readonly fixture: Fixture<TestTarget>;
  readonly bundle: Bundle;
}

function isPolicy(manifest: Manifest): manifest is Manifest<"Policy"> {
  return manifest.kind === "Policy";
}
