// What a task needs of a worker, as one short hash, and whether a worker can serve it.
// Called by commands when a task becomes READY (routeOf) and by dispatch for each session (canServe).
// Equal needs have an equal route, so that a claim filters by a list of routes in one index.

import { createHash } from "node:crypto";
import { canonicalJson } from "../../kit/json.ts";
import type { AgentSpec } from "../manifests/specs.ts";

/** What a task needs of a worker. */
export interface Requirements {
  /** Agent runtime, or "tool" for a tool node. */
  readonly runtime: string;
  /** Registered handler; runtime "handler" only. */
  readonly handler?: string;
  /** Labels that the worker must have, with these values. */
  readonly labels: Readonly<Record<string, string>>;
}

/** What a worker said of itself in Hello. */
export interface WorkerCapabilities {
  readonly runtimes: readonly string[];
  readonly handlers: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** What an agent's tasks need. */
export function requirementsOf(agent: Pick<AgentSpec, "runtime" | "handler" | "requirements">): Requirements {
  const { runtime, handler, requirements } = agent;
  return { runtime, labels: requirements.labels, ...(handler && { handler: handler.name }) };
}

/** What is needed, for people: "runtime handler, handler refunds, label region=eu". */
export function requirementsText({ runtime, handler, labels }: Requirements): string {
  const needs = [`runtime ${runtime}`, ...(handler === undefined ? [] : [`handler ${handler}`])];
  for (const [key, value] of Object.entries(labels).sort()) needs.push(`label ${key}=${value}`);
  return needs.join(", ");
}

/** 16 hex digits of the hash of the canonical requirements. */
export function routeOf(requirements: Requirements): string {
  const { runtime, handler, labels } = requirements;
  const text = canonicalJson({ runtime, labels: { ...labels }, ...(handler !== undefined && { handler }) });
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/** True if the worker has the runtime, the handler and every label. */
export function canServe(worker: WorkerCapabilities, requirements: Requirements): boolean {
  if (!worker.runtimes.includes(requirements.runtime)) return false;
  if (requirements.handler !== undefined && !worker.handlers.includes(requirements.handler)) return false;
  return Object.entries(requirements.labels).every(
    ([key, value]) => Object.hasOwn(worker.labels, key) && worker.labels[key] === value,
  );
}
