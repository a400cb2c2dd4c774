// The five kinds as types, after parsing: defaults filled in, durations in ms.
// Written by the schemas in this room; read by resolve, graph, policy, commands and (as a worker view) the worker.
// Never holds a position or a comment of the YAML it came from.

import type { Backoff } from "../../kit/backoff.ts";
import type { Json, JsonObject } from "../../kit/json.ts";
import type { WindowText } from "../../language/time_window.ts";
import type { AgentSpec } from "./agent_spec.ts";

export type {
  AgentCommand,
  AgentHttp,
  AgentRuntime,
  AgentSpec,
  AgentTool,
  ModelProvider,
  ModelSpec,
  ScriptRule,
} from "./agent_spec.ts";

/** Names of the five kinds. */
export const KINDS = ["Agent", "AgentSystem", "Tool", "Policy", "WorkflowTemplate"] as const;
/** One of the five kinds. */
export type Kind = (typeof KINDS)[number];

/** Identity and labels of a manifest. */
export interface Metadata {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** When and how often something failed is tried again. */
export interface RetryPolicy {
  /** Error classes that are tried again. */
  readonly on: readonly string[];
  /** Attempts in all, from 1. */
  readonly maxAttempts: number;
  readonly backoff: Backoff;
}

/** A secret by name and key; its value is read when it is granted. */
export interface SecretRef {
  readonly name: string;
  readonly key: string;
}

/** Effects a tool may have on the world. */
export type ToolEffect = "read" | "write" | "destructive";

/** Spec of kind Tool. Template fields stay text; they are rendered when a call is granted. */
export interface ToolSpec {
  readonly type: "http" | "webhook" | "database" | "command" | "mcp";
  readonly description: string;
  readonly http?: {
    readonly method: string;
    readonly url: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly body?: Json;
    readonly allowPrivateNetwork: boolean;
  };
  readonly command?: {
    readonly argv: readonly string[];
    readonly stdin?: Json;
    readonly workDir?: string;
    readonly env: Readonly<Record<string, string>>;
    readonly maxOutputBytes: number;
  };
  readonly webhook?: {
    readonly url: string;
    /** One secret: `whsec_…`. */
    readonly signingSecret: string;
    /** Names of the events that it may tell; of several, the argument `event` names one. */
    readonly events: readonly string[];
    /** Absent: the arguments. */
    readonly data?: Json;
    readonly allowPrivateNetwork: boolean;
  };
  readonly database?: {
    readonly driver: "postgres" | "sqlite";
    /** postgres only. */
    readonly dsn?: string;
    /** sqlite only; inside the worker's work directory. */
    readonly file?: string;
    /** One statement, in which $1, $2, … stand for the parameters. */
    readonly statement: string;
    readonly parameters: readonly Json[];
    readonly access: "readOnly" | "readWrite";
    readonly maxRows: number;
    readonly allowPrivateNetwork: boolean;
  };
  readonly mcp?: {
    /** A server that is started for a call; else `remote`. */
    readonly local?: {
      readonly argv: readonly string[];
      readonly env: Readonly<Record<string, string>>;
      readonly workDir?: string;
    };
    readonly remote?: {
      readonly url: string;
      readonly headers: Readonly<Record<string, string>>;
      readonly allowPrivateNetwork: boolean;
    };
    /** Name of the server's tool. */
    readonly tool: string;
    /** Absent: the arguments as they are. */
    readonly arguments?: Json;
  };
  readonly inputSchema: JsonObject;
  readonly outputSchema?: JsonObject;
  readonly effect: ToolEffect;
  readonly guarded: boolean;
  readonly idempotency: {
    readonly mode: "cached" | "none";
    /** CEL over {args}; absent: the call's place in the journal of its task. */
    readonly key?: string;
    /** How long other tasks may reuse the result of a declared key. */
    readonly ttlMs?: number;
    readonly header: string;
    readonly onUnknownOutcome: "deadLetter" | "retry";
  };
  readonly retry: RetryPolicy;
  readonly timeoutMs: number;
  /** Calls that are granted at a time at most; absent: any number. Decided as the manifest says now. */
  readonly concurrency?: number;
}

/** How many incoming edges a node waits for: all to be resolved and one taken, the first taken, or so many taken. */
export type JoinSpec = "all" | "any" | { readonly quorum: number };

/** A node that is executed once for each item of a list. */
export interface MapSpec {
  /** CEL over {input, nodes, iteration} that gives the list. */
  readonly over: string;
  /** Name of the item in the node's input. */
  readonly as: string;
  /** Items that may be executed at a time. */
  readonly concurrency: number;
  /** fail: an item that fails fails the node; skip: it is left out of the outputs; collect: it is in them, as {error}. */
  readonly onItemError: "fail" | "skip" | "collect";
}

/** One node of an AgentSystem. */
export interface NodeSpec {
  readonly name: string;
  /** One of agent, tool and transform is there. */
  readonly agent?: string;
  /** A tool that is called with the node's input. */
  readonly tool?: string;
  /** Template over {input, nodes, iteration} that makes the node's output, without an agent. */
  readonly transform?: Json;
  readonly map?: MapSpec;
  readonly join: JoinSpec;
  /** all: every edge that holds is taken; first: the first one in file order. */
  readonly route: "all" | "first";
  /** Template over {input, nodes, iteration} and a map's item; absent: the system's input, or the item. */
  readonly input?: Json;
  /** A system that this one contains; in a bundle it has been put in its place, and the node that makes its output names it. */
  readonly system?: string;
  /** Bundles only: the node of the system that contains this one, in whose place it was put. */
  readonly scope?: string;
  /** Bundles only: a transform that takes the input of a contained system, or makes its output. */
  readonly port?: "enter" | "leave";
  /** Bundles only: what the value of a port must fit. */
  readonly schema?: JsonObject;
}

/** Ends of a node that edges tell apart. */
export const EDGE_OUTCOMES = ["succeeded", "failed", "policyDenied", "timedOut"] as const;
/** One of the ends of a node that edges tell apart. */
export type EdgeOutcome = (typeof EDGE_OUTCOMES)[number];

/** How often an edge may lead back, and what happens then. */
export interface LoopSpec {
  readonly max: number;
  /** continue: it counts as not taken; fail: its source fails with LoopExhausted. */
  readonly onExhausted: "continue" | "fail";
}

/** One edge set, flattened to a source and a target. */
export interface EdgeSpec {
  readonly from: string;
  readonly to: string;
  /** CEL condition; absent: always, unless otherwise. */
  readonly when?: string;
  readonly otherwise: boolean;
  readonly outcome: EdgeOutcome;
  /** Equal for the targets of one source in one edge set; counts up in file order. */
  readonly set: number;
  /** Present: the edge leads back. */
  readonly loop?: LoopSpec;
}

/** Spec of kind AgentSystem. */
export interface AgentSystemSpec {
  readonly description: string;
  readonly inputSchema?: JsonObject;
  readonly nodes: readonly NodeSpec[];
  readonly edges: readonly EdgeSpec[];
  readonly output: { readonly schema?: JsonObject /** Template over {input, nodes}. */; readonly value: Json };
}

/** Where the value of a tag comes from. */
export type TagSource =
  | { readonly from: "claim"; readonly claim: string; readonly required: boolean }
  | { readonly from: "template"; readonly value: string }
  | { readonly from: "request"; readonly required: boolean };

/** Spec of kind WorkflowTemplate. */
export interface WorkflowTemplateSpec {
  readonly description: string;
  readonly system: string;
  /** JSON Schema of the parameters; always an object schema. */
  readonly parameters: JsonObject;
  /** Template over {params, tags}; absent: the parameters. */
  readonly input?: Json;
  readonly output: { readonly schema?: JsonObject };
  readonly tags: Readonly<Record<string, TagSource>>;
  readonly timeoutMs: number;
  readonly cancellation: { readonly graceMs: number };
  readonly retry: RetryPolicy;
  readonly priority: "low" | "normal" | "high";
  /** How many of its runs go on at a time; absent: any number. */
  readonly concurrency?: ConcurrencySpec;
  /** How long finished runs and their dead letters are kept; absent members: the server's setting. */
  readonly retention?: { readonly runsMs?: number; readonly deadLettersMs?: number };
}

/** How many runs of a workflow go on at a time, and what becomes of the others. */
export interface ConcurrencySpec {
  /** Runs of a group at most. */
  readonly max: number;
  /** CEL over {params, tags}: runs with equal values are a group; absent: all of them are one. */
  readonly key?: string;
  readonly onLimit: "queue" | "reject";
  /** How long a run that has not begun may wait; absent: without end. Of `queue` only. */
  readonly queueTimeoutMs?: number;
}

/** A policy condition node: exactly one member is set. */
export interface ConditionSpec {
  readonly all?: readonly ConditionSpec[];
  readonly any?: readonly ConditionSpec[];
  readonly not?: ConditionSpec;
  /** Matcher path (such as requester.groups or context.tags) to listed values; a map value for claims, labels, tags, metadata. */
  readonly match?: Readonly<Record<string, MatchValue>>;
  /** Windows of time, ORed. */
  readonly time?: { readonly in: readonly WindowText[] };
  /** CEL over requester, agent, tool, args, workflow, run, context, chain, now. */
  readonly cel?: string;
  /** Path of the input document that must be there. */
  readonly exists?: string;
  /** Name of a library policy. */
  readonly policyRef?: string;
}

/** Values that a matcher lists: a list for plain attributes, key → list for keyed ones. */
export type MatchValue = readonly string[] | Readonly<Record<string, readonly string[]>>;

/** What a policy may be attached to. */
export type AttachmentKind = "Tool" | "Agent" | "AgentSystem" | "WorkflowTemplate" | "Namespace";

/** What a policy is attached to: both members must fit where both are given; one is. */
export interface AttachmentSpec {
  readonly kind: AttachmentKind;
  readonly name?: string;
  /** Labels that the resource has now. */
  readonly selector?: Readonly<Record<string, string>>;
}

/** How often something may happen for each value of a key. */
export interface LimitSpec {
  readonly name: string;
  /** Paths of the input document. */
  readonly key: readonly string[];
  readonly max: number;
  /** Windows follow each other from 1970-01-01T00:00Z on, in ms. */
  readonly windowMs: number;
}

/** Moments at which policies are decided. */
export const CHECKPOINTS = ["workflow.run", "agent.run", "tool.call"] as const;
/** One of the moments at which policies are decided. */
export type Checkpoint = (typeof CHECKPOINTS)[number];

/** Spec of kind Policy. */
export interface PolicySpec {
  readonly description: string;
  readonly mode: "enforce" | "observe";
  /** Empty: a library policy, used by policyRef only. */
  readonly attachTo: readonly AttachmentSpec[];
  /** Resolved: the declared ones, or all at which every field that it reads exists. */
  readonly checkpoints: readonly Checkpoint[];
  readonly allow?: ConditionSpec;
  readonly deny?: ConditionSpec;
  readonly limits: readonly LimitSpec[];
  readonly message: string;
}

/** Spec type of each kind. */
export interface SpecOf {
  Agent: AgentSpec;
  AgentSystem: AgentSystemSpec;
  Tool: ToolSpec;
  Policy: PolicySpec;
  WorkflowTemplate: WorkflowTemplateSpec;
}

/** A parsed manifest. */
export interface Manifest<K extends Kind = Kind> {
  readonly kind: K;
  readonly metadata: Metadata;
  readonly spec: SpecOf[K];
}

/** "Kind/namespace/name". */
export function manifestKey(kind: Kind, namespace: string, name: string): string {
  return `${kind}/${namespace}/${name}`;
}
