// The bundle: the resolved snapshot of the specs that a run uses, content-addressed; and the worker's view of it.
// Made by resolve.ts at Invoke; stored by digest; compiled once and cached by commands.
// Holds specs only. Policies, attachments, labels and `guarded` are always read live and never come from here.

import type { JsonObject } from "../../kit/json.ts";
import type { AgentSpec, AgentSystemSpec, ToolSpec, WorkflowTemplateSpec } from "./specs.ts";

/** A spec with the identity that decisions and audit records name. */
export interface Resolved<Spec> {
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
  readonly digest: string;
  readonly spec: Spec;
}

/** See the file header. Stored as canonical JSON; the digest is of that text. */
export interface Bundle {
  readonly workflow: Resolved<WorkflowTemplateSpec>;
  /** With the systems that it contains in their places. */
  readonly system: Resolved<AgentSystemSpec>;
  /** Systems that it contains; absent: none. Their policies count for the whole run. */
  readonly systems?: readonly Omit<Resolved<AgentSystemSpec>, "spec">[];
  /** By the name that nodes use. */
  readonly agents: Readonly<Record<string, Resolved<AgentSpec>>>;
  /** By the name that agents' `ref` uses. */
  readonly tools: Readonly<Record<string, Resolved<ToolSpec>>>;
}

/** What a worker may know of an agent: no endpoint, header, argv, environment, statement or secret, of it or of any tool. */
export interface AgentView {
  readonly name: string;
  readonly spec: Omit<AgentSpec, "http" | "command" | "errorHandling" | "requirements">;
  /** Tools as the model sees them, by alias, in declared order. */
  readonly tools: readonly ToolView[];
}

/** A tool as a model sees it, and what the worker needs to retry its calls. */
export interface ToolView {
  /** Alias. */
  readonly name: string;
  readonly description: string;
  readonly inputSchema: JsonObject;
  readonly effect: ToolSpec["effect"];
  readonly onError: "tell" | "fail";
  readonly onInvalid?: "fail";
  readonly retry: ToolSpec["retry"];
}

/** The worker view of a bundle; has a digest of its own. */
export interface WorkerViewDocument {
  /** By the name that nodes use. */
  readonly agents: Readonly<Record<string, AgentView>>;
}
