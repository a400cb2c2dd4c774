// One replica of the control plane, wired: caches, coalesced commands, dispatch, and the interface that rpc calls.
// Made by main.ts over an open database; started before the listeners, stopped after them.
// Nothing here decides anything: it only joins rooms.

import type pg from "pg";
import type { Clock } from "../kit/clock.ts";
import { DomainError, messageOf } from "../kit/errors.ts";
import type { Ids } from "../kit/ids.ts";
import type { Random } from "../kit/random.ts";
import type { Redactor } from "../kit/redactor.ts";
import { RELEASE } from "../kit/release.ts";
import { publicPem, type SigningKey } from "./audit/checkpoint.ts";
import { apply } from "./commands/apply.ts";
import { authenticate, refusalReason } from "./commands/authenticate.ts";
import { Caches } from "./commands/caches.ts";
import { cancelRun } from "./commands/cancel_run.ts";
import type { Changes } from "./commands/changes.ts";
import type { CommandContext, Hints } from "./commands/context.ts";
import type { ControlPlane, InvokeInput } from "./commands/control_plane.ts";
import { deleteResource } from "./commands/delete_resource.ts";
import { diagnose } from "./commands/diagnose.ts";
import type { HostFacts } from "./commands/diagnose_host.ts";
import { explainDecisions } from "./commands/explain_decisions.ts";
import { createToken, listTokens, revokeToken } from "./commands/manage_tokens.ts";
import { planApply } from "./commands/plan_apply.ts";
import { type QuotaSettings, Quotas } from "./commands/quotas.ts";
import { exportedAudit, listAudit, watchAudit } from "./commands/read_audit.ts";
import { listDeadLetters, readDeadLetter } from "./commands/read_dead_letters.ts";
import { listLeases, listWorkers, readWorker } from "./commands/read_fleet.ts";
import { readGauges } from "./commands/read_gauges.ts";
import { listResources, readResource } from "./commands/read_resources.ts";
import { listRuns, listTasks, namespaceOf, readRun, readTask } from "./commands/read_runs.ts";
import { StatusReader } from "./commands/read_status.ts";
import { listTaskLogs, watchTaskLogs } from "./commands/read_task_logs.ts";
import { readTraces } from "./commands/read_traces.ts";
import { Refusals } from "./commands/record_refusal.ts";
import type { RetentionSettings } from "./commands/remove_expired.ts";
import { discardDeadLetter, replayDeadLetter } from "./commands/replay_dead_letters.ts";
import { requesterOf } from "./commands/requester.ts";
import { type CommandServices, createServices } from "./commands/services.ts";
import { drainWorker, revokeLease } from "./commands/steer_fleet.ts";
import { Tokens } from "./commands/tokens.ts";
import { tryDecisions } from "./commands/try_decisions.ts";
import { validateManifests } from "./commands/validate.ts";
import type { Principal } from "./commands/views.ts";
import { watchRun } from "./commands/watch_run.ts";
import { Claimer } from "./dispatch/claimer.ts";
import { HeadKeeper, type HeadSink } from "./dispatch/head_keeper.ts";
import { Renewer } from "./dispatch/renewer.ts";
import { Retention } from "./dispatch/retention.ts";
import { Sealer } from "./dispatch/sealer.ts";
import { SessionSeats } from "./dispatch/seats.ts";
import { SessionRegistry } from "./dispatch/session_registry.ts";
import { Starter } from "./dispatch/starter.ts";
import { Tick } from "./dispatch/tick.ts";
import type { Timing } from "./dispatch/timing.ts";
import { Identities, type ListenerRevocations } from "./identity/identify.ts";
import type { IdentitySettings } from "./identity/settings.ts";
import { ManifestPool } from "./manifests/pool.ts";
import { databaseEndpoints, listenerEndpoints } from "./own_endpoints.ts";
import type { PolicySet } from "./policy/types.ts";
import type { ListenerPorts } from "./rpc/listeners.ts";
import type { Allowances } from "./secrets/allowances.ts";
import { SecretAccess } from "./secrets/secret_access.ts";
import type { Secrets } from "./secrets/secrets.ts";
import { createHintListener, createHintNotifier } from "./storage/listen.ts";
import type { Store } from "./storage/store.ts";
import type { Logger } from "./telemetry/log.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import type { RunTracer } from "./telemetry/run_tracer.ts";

/** What a replica is made of. */
export interface ReplicaOptions {
  readonly store: Store;
  /** For renewals and the tick: work that fills the other store's pool must not cost leases. */
  readonly leaseStore: Store;
  /** For audit retention; absent: audit records are kept for ever. */
  readonly maintenanceStore?: Store;
  readonly pool: pg.Pool;
  readonly databaseUrl: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly ids: Ids;
  readonly log: Logger;
  /** Counts what the stores commit, and measures batches. */
  readonly metrics: Metrics;
  /** Traces what the stores commit; absent: tracing is off. */
  readonly tracer?: RunTracer;
  /** Told of what the stores commit. */
  readonly changes: Changes;
  readonly timing: Timing;
  readonly secrets: Secrets;
  /** Which of them manifests may name, by namespace. */
  readonly allowances: Allowances;
  /** Learns what is handed out. */
  readonly redactor: Redactor;
  readonly retention: RetentionSettings;
  /** What a namespace may have at most. */
  readonly quotas: QuotaSettings;
  /** What becomes of something that no enforcing policy decides. */
  readonly unattached: PolicySet["unattached"];
  /** Who may call, beside those with tokens. */
  readonly identity: IdentitySettings;
  /** Whose certificates are revoked; absent: nobody's. */
  readonly revocations?: ListenerRevocations;
  /** What this machine says of itself. */
  readonly host: HostFacts;
  /** Signs heads of the audit trail, and where they go. */
  readonly audit: { readonly key: SigningKey; readonly heads: HeadSink };
}

/** A wired replica. */
export interface Replica {
  readonly controlPlane: ControlPlane;
  readonly tokens: Tokens;
  start(): Promise<void>;
  /** Where its listeners are, before the first worker is taken in. */
  listening(bound: ListenerPorts): void;
  /** Tells workers goodbye; then stops the loops once what is under way has committed. */
  stop(): Promise<void>;
}

/** Wires a replica. */
export function createReplica(options: ReplicaOptions): Replica {
  const { clock, random, log, store, ids, timing, metrics, tracer } = options;
  const replicaId = ids.next("rep");
  const ownEndpoints = databaseEndpoints(options.databaseUrl);
  const { changes } = options;
  const notifier = createHintNotifier(options.pool, { replicaId, clock });
  const hints: Hints = {
    workReady() {
      sealer.wake();
      claimer.wake();
      notifier.hint("work");
    },
    runsChanged(runIds) {
      sealer.wake();
      changes.runsChanged(runIds);
      notifier.hint("runs");
    },
    slotsFree: (groups) => starter.wake(groups),
    cancel: (orders) => registry.cancel(orders),
  };
  const secrets = new SecretAccess({
    ...{ secrets: options.secrets, allowances: options.allowances, redactor: options.redactor },
    onTrouble: (event, fields) => log.warn(event, fields),
  });
  const context: CommandContext = {
    ...{ store, caches: new Caches(options.unattached), ids, log, secrets, redactor: options.redactor, hints },
    seats: new SessionSeats(
      () => claimer,
      () => registry,
    ),
  };
  const services = createServices(context, (kind, items) => metrics.batch(kind, items), clock);
  const sealer = new Sealer(context, clock);
  const heads = new HeadKeeper(context, clock, options.audit.key, options.audit.heads);
  const retention = new Retention(context, options.maintenanceStore, clock, random, options.retention);
  const claimer: Claimer = new Claimer(context, services, () => registry);
  const starter = new Starter(context);
  const forLeases: CommandContext = { ...context, store: options.leaseStore };
  const renewer: Renewer = new Renewer(forLeases, () => registry, clock, timing);
  const registry: SessionRegistry = new SessionRegistry({
    ...{ context, services, timing, clock, replicaId, ownEndpoints },
    onCredit: () => claimer.creditChanged(),
    onRenewal: (session) => renewer.pending(session),
  });
  const tick = new Tick({
    context: forLeases,
    services,
    claimer,
    starter,
    sealer,
    renewer,
    registry,
    clock,
    timing,
    replicaId,
  });
  const listener = createHintListener({
    ...{ url: options.databaseUrl, replicaId, clock, random },
    onHint: (topics) => {
      if (topics.length === 0 || topics.includes("work")) claimer.wake();
      sealer.wake();
      changes.anythingChanged();
    },
    onError: (error) => log.warn("hints.disconnected", { error: messageOf(error) }),
  });
  const manifests = new ManifestPool(clock);
  const tokens = new Tokens(context, random);
  const onKeyTrouble = (issuer: string, error: unknown) =>
    log.warn("identity.keys_unreadable", { issuer, error: messageOf(error) });
  const identities = new Identities(options.identity, clock, onKeyTrouble, options.revocations);
  const audit = { key: options.audit.key, sign: () => heads.look() };
  const sources = {
    sessions: () => registry.load(),
    waiting: () => Object.fromEntries(Object.entries(services).map(([kind, { waiting }]) => [kind, waiting])),
    cluster: () => readGauges(context),
  };
  const own = () =>
    metrics
      .ofReplica(sources)
      .flatMap(({ name, samples }) =>
        samples.map(({ labels, value }) => ({ name: name.replace(/^orloj_/, ""), labels, value })),
      );
  const status = new StatusReader(context, clock, { replicaId, version: RELEASE, own });
  const health = {
    status: () => status.read(),
    diagnose: () => diagnose({ ...context, clock, replicaId, version: RELEASE, host: options.host }),
    scrape: () => metrics.scrape(sources),
  };
  const refusals = new Refusals(context, clock);
  const quotas = new Quotas(options.quotas, clock);
  const parts = {
    ...{ quotas, context, services, registry, changes, manifests, tokens, identities, refusals, audit, health, clock },
    ...(tracer && { tracer }),
  };
  return {
    controlPlane: createControlPlane(parts),
    tokens,
    async start() {
      tracer?.start((runIds, taskIds) => readTraces(context, runIds, taskIds));
      manifests.start();
      await claimer.loadRoutes();
      listener.start();
      tick.start();
      sealer.start();
      heads.start();
      retention.start();
    },
    listening: (bound) => void ownEndpoints.push(...listenerEndpoints(bound)),
    async stop() {
      await Promise.all([claimer.stop(), retention.stop()]);
      await registry.drain(timing.drainMs, clock);
      await registry.close();
      await tick.stop();
      await starter.stop();
      await renewer.stop();
      await Promise.all(Object.values(services).map((coalescer) => coalescer.drained()));
      await manifests.stop();
      await sealer.stop();
      await refusals.stop();
      await heads.stop();
      await listener.stop();
      await notifier.drained();
      await tracer?.stop();
      metrics.stop();
    },
  };
}

interface Parts {
  readonly quotas: Quotas;
  readonly context: CommandContext;
  readonly services: CommandServices;
  readonly registry: SessionRegistry;
  readonly changes: Changes;
  readonly manifests: ManifestPool;
  readonly tokens: Tokens;
  readonly identities: Identities;
  readonly refusals: Refusals;
  readonly audit: { readonly key: SigningKey; sign(): Promise<void> };
  readonly health: Pick<ControlPlane, "scrape" | "diagnose"> & { status: ControlPlane["readStatus"] };
  readonly clock: Clock;
  readonly tracer?: RunTracer;
}

function createControlPlane({
  quotas,
  context,
  services,
  registry,
  changes,
  manifests,
  tokens,
  identities,
  refusals,
  audit,
  health,
  clock,
  tracer,
}: Parts): ControlPlane {
  const watching = { ...context, changes };
  const start = async (principal: Principal, input: InvokeInput) => {
    quotas.invoked(input.namespace);
    return await services.invoke.add({ principal: requesterOf(principal, input), input });
  };
  const invoke = (principal: Principal, input: InvokeInput) =>
    tracer === undefined
      ? start(principal, input)
      : tracer.invocation(input, (sampled) => start(principal, { ...input, sampled }));
  return {
    apply: (principal, input) => apply({ ...context, pool: manifests, quotas }, principal, input),
    planApply: (principal, input) => planApply({ ...context, pool: manifests }, principal, input),
    validate: (_principal, input) => validateManifests({ ...context, pool: manifests }, input),
    getResource: (kind, namespace, name) => readResource(context, kind, namespace, name),
    listResources: (filter, page) => listResources(context, filter, page),
    deleteResource: (principal, kind, namespace, name, force) =>
      deleteResource(context, principal, kind, namespace, name, force),
    invoke,
    async invokeBatch(principal, inputs) {
      const results = await Promise.allSettled(inputs.map((input) => invoke(principal, input)));
      return results.map((result) => (result.status === "fulfilled" ? result.value : asError(result.reason)));
    },
    getRun: (runId) => readRun(context, runId),
    listRuns: (filter, page) => listRuns(context, filter, page),
    watchRun: (runId, signal) => watchRun(watching, runId, signal),
    cancelRun: (principal, runId, reason) => cancelRun(context, services, principal, runId, reason),
    getTask: (taskId) => readTask(context, taskId),
    listTasks: (runId, page) => listTasks(context, runId, page),
    listTaskLogs: (of, page) => listTaskLogs(context, of, page),
    watchTaskLogs: (of, signal) => watchTaskLogs({ ...context, clock }, of, signal),
    listDeadLetters: (filter, page) => listDeadLetters(context, filter, page),
    getDeadLetter: (taskId) => readDeadLetter(context, taskId),
    replayDeadLetter: (principal, taskId, how) => replayDeadLetter(context, services, principal, taskId, how),
    discardDeadLetter: (principal, taskId, reason) => discardDeadLetter(services, principal, taskId, reason),
    listWorkers: (page) => listWorkers(context, page),
    getWorker: (worker) => readWorker(context, worker),
    listLeases: (filter, page) => listLeases(context, filter, page),
    drainWorker: (principal, worker, windowMs) => drainWorker(context, principal, worker, windowMs),
    revokeLease: (principal, taskId, reason) => revokeLease(context, services, principal, taskId, reason),
    listAudit: (principal, filter, page) => listAudit(context, principal, filter, page),
    watchAudit: (principal, filter, afterId, signal) => watchAudit(watching, principal, filter, afterId, signal),
    exportAudit: (principal, request) => exportedAudit(context, audit, principal, request),
    explainDecisions: (principal, input) => explainDecisions(context, principal, input),
    tryDecisions: (input) => tryDecisions(context, input),
    auditKey: () => ({ name: audit.key.name, publicPem: publicPem(audit.key.publicKey) }),
    createToken: (principal, token) => createToken(context, tokens, principal, token),
    listTokens: (ended, page) => listTokens(context, ended, page),
    revokeToken: (principal, tokenId) => revokeToken(context, principal, tokenId),
    namespaceOf: (of) => namespaceOf(context, of),
    recordRefusal: (refusal) => refusals.record(refusal),
    authenticate: (credentials) => authenticate(identities, tokens, credentials),
    refusalReason: (credentials) => refusalReason(identities, credentials),
    ready: async () => {
      const answered = await context.store.read((queries) => queries.bundles.revisions()).catch(() => undefined);
      return answered !== undefined;
    },
    scrape: health.scrape,
    readStatus: health.status,
    diagnose: health.diagnose,
    connectWorker: (principal, peer) => registry.connect(principal, peer),
  };
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new DomainError("INVARIANT_BROKEN", String(reason));
}
