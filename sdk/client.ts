// The client of the control plane: a typed client for every service, and a short way to invoke workflows.
// Called by services that use Orloj and by the CLI.
// Raw clients throw ConnectError (see OrlojError.from); everything else here throws OrlojError.

import { type Client, createClient as createServiceClient, type Transport } from "@connectrpc/connect";
import { AuditService } from "../proto/gen/orloj/v1/audit_pb.ts";
import { DeadLetterService } from "../proto/gen/orloj/v1/dead_letter_pb.ts";
import { FleetService } from "../proto/gen/orloj/v1/fleet_pb.ts";
import { ManifestService } from "../proto/gen/orloj/v1/manifest_pb.ts";
import { PolicyService } from "../proto/gen/orloj/v1/policy_pb.ts";
import { TokenService } from "../proto/gen/orloj/v1/token_pb.ts";
import { WorkflowService } from "../proto/gen/orloj/v1/workflow_pb.ts";
import { OrlojError } from "./errors.ts";
import { type Host, processHost } from "./host.ts";
import { BATCH_MAX, InvokeBatcher } from "./invoke_batcher.ts";
import { RunHandle } from "./run_handle.ts";
import { activeTraceparent } from "./trace.ts";
import { type ConnectionOptions, connectTransport, resilientTransport } from "./transport.ts";
import type {
  AnyWorkflow,
  AnyWorkflows,
  InvokeArguments,
  NamespaceOf,
  TagOption,
  WorkflowCatalog,
  WorkflowNameOf,
  WorkflowTypes,
} from "./workflow_types.ts";

const CALL_TIMEOUT_MS = 60_000;

/** Options of createClient. */
export interface ClientOptions extends ConnectionOptions {
  /** Deadline of one try of a unary call, in ms; 60,000 by default. */
  readonly callTimeoutMs?: number;
  /** Invocations of one event-loop turn that share a batch, 1..100; 100 by default, 1 sends each alone. */
  readonly invokeBatchMax?: number;
  /** Another transport, such as createRouterTransport in tests; endpoint, token and tls are then not used. */
  readonly transport?: Transport;
  /** Time and randomness; the process's own by default. */
  readonly host?: Host;
}

/** Somebody a service invokes for. What it may say of them is bounded by its right. */
export interface Person {
  readonly id: string;
  readonly groups?: readonly string[];
  readonly claims?: Readonly<Record<string, string>>;
}

/** What is not the workflow's own of one invocation. */
interface InvocationOptions {
  /** Free strings, unverified; policies see them as context.metadata. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Whom to invoke for; needs the right invoke-as. The run's requester is then this person, and the caller is recorded beside it. */
  readonly onBehalfOf?: Person;
  /** Same key and body: the first run again. Generated when absent; at most 255 characters. */
  readonly idempotencyKey?: string;
  /** W3C trace context that the run is to be part of; that of the active OpenTelemetry span when absent, if the program has one. */
  readonly traceparent?: string;
  /** Stops waiting for the answer; an invocation that was sent by then may still start. */
  readonly signal?: AbortSignal;
}

/** Options of one invocation, with the tags of its workflow. */
export type InvokeOptions<Tags extends object = AnyWorkflow["tags"]> = InvocationOptions & TagOption<Tags>;

/** A workflow template by name. */
export interface WorkflowHandle<Types extends WorkflowTypes = AnyWorkflow> {
  /**
   * Starts a run.
   *
   * @param params JSON object that fits the template's parameters.
   * @throws OrlojError WORKFLOW_NOT_FOUND, PARAMS_INVALID, POLICY_DENIED, IDEMPOTENCY_CONFLICT
   */
  invoke(
    ...args: InvokeArguments<Types["parameters"], Types["tags"], InvokeOptions<Types["tags"]>>
  ): Promise<RunHandle<Types["output"]>>;
}

/** See the file header. The catalog is what `orloj codegen` writes; without one, workflows are not typed. */
export interface OrlojClient<Catalog extends WorkflowCatalog = AnyWorkflows> {
  readonly manifests: Client<typeof ManifestService>;
  readonly workflows: Client<typeof WorkflowService>;
  readonly deadLetters: Client<typeof DeadLetterService>;
  readonly fleet: Client<typeof FleetService>;
  readonly policies: Client<typeof PolicyService>;
  readonly audit: Client<typeof AuditService>;
  readonly tokens: Client<typeof TokenService>;
  /** A workflow template; nothing is asked of the server until it is invoked. Namespace "default" when absent. */
  workflow<
    Name extends WorkflowNameOf<Catalog, Namespace>,
    Namespace extends NamespaceOf<Catalog> = NamespaceOf<Catalog> & "default",
  >(name: Name, options?: { readonly namespace?: Namespace }): WorkflowHandle<Catalog[Namespace][Name]>;
  /** A run that exists, by id. */
  run(id: string): RunHandle;
}

/**
 * Makes a client. Connects with the first call.
 *
 * @typeParam Catalog the types of the workflows, as `orloj codegen` writes them.
 */
export function createClient<Catalog extends WorkflowCatalog = AnyWorkflows>(
  options: ClientOptions,
): OrlojClient<Catalog> {
  const host = options.host ?? processHost;
  const transport = resilientTransport(
    options.transport ?? connectTransport(options),
    host,
    options.callTimeoutMs ?? CALL_TIMEOUT_MS,
  );
  const workflows = createServiceClient(WorkflowService, transport);
  const batcher = new InvokeBatcher(workflows, options.invokeBatchMax ?? BATCH_MAX);
  return {
    manifests: createServiceClient(ManifestService, transport),
    workflows,
    deadLetters: createServiceClient(DeadLetterService, transport),
    fleet: createServiceClient(FleetService, transport),
    policies: createServiceClient(PolicyService, transport),
    audit: createServiceClient(AuditService, transport),
    tokens: createServiceClient(TokenService, transport),
    run: (id) => new RunHandle(workflows, host, { id }),
    // Types of workflows exist for the compiler alone: what is sent is the same with and without a catalog.
    workflow: ((name, { namespace = "" } = {}) => ({
      async invoke(params = {}, { tags = {}, metadata = {}, onBehalfOf, idempotencyKey, traceparent, signal } = {}) {
        const item = {
          namespace,
          workflow: name,
          parametersJson: JSON.stringify(params),
          tags: given(tags),
          metadata: { ...metadata },
          idempotencyKey: idempotencyKey || host.uniqueKey(),
          traceparent: traceparent ?? activeTraceparent(),
          ...(onBehalfOf === undefined ? {} : { onBehalfOf: personOf(onBehalfOf) }),
        };
        const { run, duplicate } = await batcher.add(item, signal);
        if (run === undefined) throw OrlojError.from(new Error("the server answered without a run"));
        return new RunHandle(workflows, host, { id: run.id, invoked: run, duplicate });
      },
    })) satisfies OrlojClient["workflow"] as unknown as OrlojClient<Catalog>["workflow"],
  };
}

// A tag that is undefined is left out, as JSON leaves out a parameter: optional members may hold it.
function given(tags: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(tags).filter((tag): tag is [string, string] => tag[1] !== undefined));
}

function personOf({ id, groups = [], claims = {} }: Person) {
  return { id, groups: [...groups], claims: { ...claims } };
}
