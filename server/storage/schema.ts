// The tables as Kysely sees them; migrations/ makes them. One interface a table, columns as they are stored.
// Those of the audit trail are in audit_schema.ts. Read by the query files of this room only. JSON that is hashed or sent on is text; jsonb is used where SQL looks inside.

import type { Generated, JSONColumnType } from "kysely";
import type { AuditCheckpointTable, AuditEventTable, AuditRemovalTable, AuditSegmentTable } from "./audit_schema.ts";
import type { OptionalTime, Time } from "./column_types.ts";
import type { TaskLogTable } from "./task_log_schema.ts";

type Labels = JSONColumnType<Record<string, string>>;

/** catalog and policy revision: two rows, each bumped by the transaction that changes what it counts. */
export interface RevisionTable {
  name: "catalog" | "policy";
  value: bigint;
}

/** The current manifest of each resource. */
export interface ResourceTable {
  kind: string;
  namespace: string;
  name: string;
  generation: number;
  digest: string;
  labels: Labels;
  /** Canonical manifest JSON, defaults filled in. */
  document: string;
  create_time: Time;
  update_time: Time;
  /** The set of manifests that it was last applied with; null: none. */
  apply_set: string | null;
}

/** Every generation of each resource. */
export interface ResourceRevisionTable {
  kind: string;
  namespace: string;
  name: string;
  generation: number;
  digest: string;
  document: string;
  applied_by: string;
  create_time: Time;
}

/** Resolved snapshots of specs, by digest, with the worker view made from each. */
export interface BundleTable {
  digest: string;
  document: string;
  view_digest: string;
  view_document: string;
  /** What the template says of it, in ms; null: the server's setting. */
  run_retention_ms: Generated<bigint | number | null>;
  dead_letter_retention_ms: Generated<bigint | number | null>;
  create_time: Time;
}

/** Requirements behind each route hash. */
export interface RouteTable {
  route: string;
  requirements: JSONColumnType<RouteRequirements>;
}

/** What a worker must offer to take tasks of a route. */
export interface RouteRequirements {
  readonly runtime: string;
  readonly handler?: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Runs. due_time is the deadline while RUNNING, the end of the grace while CANCELLING, null at the end. */
export interface RunTable {
  id: string;
  namespace: string;
  workflow: string;
  bundle_digest: string;
  state: string;
  cause: string | null;
  conditions: string[];
  requester_id: string;
  /** Canonical JSON of the principal. */
  requester: string;
  tags: Labels;
  metadata: Labels;
  parameters: string;
  input: string;
  output: string | null;
  failure_class: string | null;
  failure_message: string | null;
  stop_reason: string | null;
  idempotency_key: string | null;
  request_digest: string | null;
  priority: number;
  timeout_ms: number;
  grace_ms: number;
  create_time: Time;
  start_time: OptionalTime;
  end_time: OptionalTime;
  due_time: OptionalTime;
  /** Clock stopped while parked: what was left, in ms. */
  remaining_ms: number | null;
  /** The finished run whose dead letter this one replays. */
  replay_of: string | null;
  /** W3C trace id, 32 hex digits; empty for runs of an earlier version. */
  trace_id: Generated<string>;
  /** Whether its spans are recorded. */
  trace_sampled: Generated<boolean>;
  /** Group that it is counted in; null: its workflow counts none. */
  concurrency_group: string | null;
  /** "held" while it goes on; "waiting" for its turn; null: neither, or no group. */
  slot: string | null;
  /** Place in the queue of its group while it waits: lower first. */
  queue_order: bigint | null;
}

/** Runs that are counted together, by the key of their workflow's concurrency. */
export interface ConcurrencyGroupTable {
  /** "namespace/workflow/key". */
  id: string;
  namespace: string;
  workflow: string;
  key: string;
  /** Null: the limit was taken away. */
  max_running: number | null;
  /** Runs with a slot, and runs that wait for one. */
  running: number;
  waiting: number;
}

/** Nodes of runs, one row each, with the counters that joins are decided by. */
export interface NodeStateTable {
  run_id: string;
  node: string;
  /** Counts up whenever a loop begins the node anew. */
  iteration: number;
  state: string;
  unresolved: number;
  taken: number;
  open_tasks: number;
  output: string | null;
  failure_class: string | null;
  failure_message: string | null;
  /** Indexes of the outgoing edges that were taken. */
  routes: number[] | null;
  /** Canonical JSON: how often each loop edge into the node was taken, by its index. */
  loop_taken: string | null;
  /** Canonical JSON: the output at the loop edge that was taken last. */
  loop_last: string | null;
  /** Of a mapped node that was activated. */
  items_total: number | null;
  /** Of a mapped node: its first item whose task was not let go yet. */
  items_next: number | null;
}

/** Tasks. READY with a lease row means LEASED. */
export interface TaskTable {
  id: string;
  run_id: string;
  namespace: string;
  node: string;
  iteration: number;
  item: number;
  agent: string;
  route: string;
  state: string;
  attempt: number;
  deliveries: number;
  claim_order: bigint;
  /** Root of the replay lineage; the id itself unless replayed. Request ids are derived from it. */
  origin_task_id: string;
  input: string;
  output: string | null;
  failure_class: string | null;
  failure_message: string | null;
  worker: string | null;
  /** Token and digest of the accepted outcome: a resent outcome is `duplicate`, not LEASE_LOST. */
  outcome_token: string | null;
  outcome_digest: string | null;
  create_time: Time;
  end_time: OptionalTime;
  /** When a WAITING task wakes; null: when its map lets it go. */
  due_time: OptionalTime;
  /** The dead letter that it replays. */
  replay_of: string | null;
  /** Specs that it uses in place of its run's: a replay with the manifests of now. */
  bundle_digest: string | null;
}

/** Tasks parked for a person, and what was decided about them. */
export interface DeadLetterTable {
  task_id: string;
  run_id: string;
  namespace: string;
  workflow: string;
  node: string;
  agent: string;
  cause: string;
  failure_class: string;
  failure_message: string;
  attempt: number;
  deliveries: number;
  state: string;
  park_time: Time;
  resolve_time: OptionalTime;
  resolved_by: string | null;
  request_digest: string | null;
  replay_task_id: string | null;
  replay_run_id: string | null;
}

/** The queue: insert and delete only. */
export interface ReadyTable {
  task_id: string;
  run_id: string;
  route: string;
  claim_order: bigint;
  /** Token of a lease that expired and that nobody superseded yet: late work still counts. */
  last_token: string | null;
  /** Session that held last_token: nobody else can present it. */
  last_session_id: string | null;
  /** False once it has been claimed before: only then a journal may exist. */
  fresh: boolean;
}

/** Live leases. */
export interface LeaseTable {
  task_id: string;
  run_id: string;
  token: string;
  session_id: string;
  worker: string;
  attempt: number;
  delivery: number;
  accepted: boolean;
  /** Journal length at the claim; a longer one resets the count of deliveries. */
  journal_length: number;
  claim_time: Time;
  withheld: Generated<string[]>;
}

/** Sessions of workers. Expiry lives here: one HOT update a worker. */
export interface WorkerSessionTable {
  id: string;
  epoch: bigint;
  instance_id: string;
  name: string;
  identity: string;
  labels: Labels;
  slots: number;
  runtimes: string[];
  handlers: Generated<string[]>;
  version: string;
  replica_id: string;
  state: string;
  connect_time: Time;
  last_seen_time: Time;
  expire_time: Time;
}

/** One row: when some replica last looked for lost leases, and from when on they may be taken away. */
export interface SweepTable {
  /** True: there is one row. */
  id: boolean;
  seen_time: Time;
  sweep_from: Time;
}

/** Recorded turns and tool results of tasks, in order. */
export interface JournalTable {
  task_id: string;
  sequence: number;
  kind: string;
  /** Turn or result as canonical JSON; null for a failed call. */
  payload: string | null;
  turn_sequence: number | null;
  call_index: number | null;
  tool: string | null;
  failure_class: string | null;
  failure_message: string | null;
  create_time: Time;
}

/** The ledger: one row a request id. */
export interface ToolCallTable {
  request_id: string;
  namespace: string;
  run_id: string;
  task_id: string;
  tool: string;
  tool_generation: number;
  effect: string;
  arguments_digest: string;
  state: string;
  attempt: number;
  grant_id: string;
  grant_token: string;
  grant_expire_time: Time;
  result: string | null;
  failure_class: string | null;
  failure_message: string | null;
  turn_sequence: number;
  call_index: number;
  /** Declared keys only: root of the lineage that has it. */
  origin_task_id: string | null;
  create_time: Time;
  end_time: OptionalTime;
  /** Declared keys only: how long others may reuse it, and how long it outlives its run. */
  expire_time: OptionalTime;
  /** "namespace/name" of its tool if its grant counts against the tool's concurrency. */
  limited_tool: string | null;
}

/** Calls of limited tools that were told to wait. */
export interface ToolWaiterTable {
  /** "namespace/name". */
  tool: string;
  request_id: string;
  since: Time;
  /** When it asked last. */
  seen_time: Time;
}

/** How much of a policy's limit is used, for one key in one window. */
export interface PolicyLimitTable {
  policy: string;
  limit_name: string;
  checkpoint: string;
  key_digest: string;
  window_ms: bigint;
  window_start: Time;
  expire_time: Time;
  count: number;
}

/** Bearer tokens, hashed. Roles hold everywhere; grants are rights, and roles in namespaces. */
export interface AccessTokenTable {
  id: string;
  hash: string;
  principal_id: string;
  kind: string;
  groups: string[];
  claims: Labels;
  roles: string[];
  grants: { right: string; namespace?: string }[];
  method: string;
  create_by: string;
  create_time: Time;
  expire_time: OptionalTime;
  revoke_time: OptionalTime;
}

/** All tables. */
export interface Database {
  revision: RevisionTable;
  resource: ResourceTable;
  resource_revision: ResourceRevisionTable;
  bundle: BundleTable;
  route: RouteTable;
  run: RunTable;
  concurrency_group: ConcurrencyGroupTable;
  node_state: NodeStateTable;
  task: TaskTable;
  dead_letter: DeadLetterTable;
  ready: ReadyTable;
  lease: LeaseTable;
  worker_session: WorkerSessionTable;
  sweep: SweepTable;
  journal: JournalTable;
  tool_call: ToolCallTable;
  tool_waiter: ToolWaiterTable;
  audit_event: AuditEventTable;
  audit_segment: AuditSegmentTable;
  audit_removal: AuditRemovalTable;
  audit_checkpoint: AuditCheckpointTable;
  policy_limit: PolicyLimitTable;
  access_token: AccessTokenTable;
  task_log: TaskLogTable;
}
