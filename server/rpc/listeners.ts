// The three listeners of a server: API (HTTP/2 and HTTP/1.1), worker (HTTP/2), ops (probes), and how they start and stop.
// Called by main.ts, which passes the control plane in.
// Never listens beyond loopback without TLS, and for workers without mutual TLS; but for ops, which has nothing but probes and metrics, where it is told.
//
// new → start → serving → drain (not ready, still serving) → stop (GOAWAY, calls end, streams aborted, connections destroyed)

import { isIPv4 } from "node:net";
import type { DescService } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import { compressionGzip } from "@connectrpc/connect-node";
import type { Clock } from "../../kit/clock.ts";
import { assert, DomainError } from "../../kit/errors.ts";
import { Health } from "../../proto/gen/grpc/health/v1/health_pb.ts";
import { AuditService } from "../../proto/gen/orloj/v1/audit_pb.ts";
import { DeadLetterService } from "../../proto/gen/orloj/v1/dead_letter_pb.ts";
import { FleetService } from "../../proto/gen/orloj/v1/fleet_pb.ts";
import { ManifestService } from "../../proto/gen/orloj/v1/manifest_pb.ts";
import { PolicyService } from "../../proto/gen/orloj/v1/policy_pb.ts";
import { TokenService } from "../../proto/gen/orloj/v1/token_pb.ts";
import { WorkerService } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { WorkflowService } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import type { ControlPlane } from "../commands/control_plane.ts";
import type { Logger } from "../telemetry/log.ts";
import { auditService } from "./audit_service.ts";
import { CallerRates, type CallRates } from "./caller_rates.ts";
import { Calls } from "./calls.ts";
import type { OnOffence } from "./connections.ts";
import { deadLetterService } from "./dead_letter_service.ts";
import { toConnectError } from "./error_map.ts";
import type { Protocol } from "./first_frames.ts";
import { fleetService } from "./fleet_service.ts";
import { healthService } from "./health.ts";
import { type RpcLimits, rateOf, rpcLimits } from "./limits.ts";
import { manifestService } from "./manifest_service.ts";
import type { NodeHandler } from "./node_call.ts";
import { createOpsHandler } from "./ops.ts";
import { policyService } from "./policy_service.ts";
import { type ListeningPort, Port } from "./port.ts";
import { Readiness } from "./readiness.ts";
import { addReflection } from "./reflection.ts";
import { createRpcHandler, type RpcHandlerOptions } from "./rpc_handler.ts";
import { type TlsMaterial, TlsPort } from "./tls_port.ts";
import { tokenService } from "./token_service.ts";
import { workerService } from "./worker_service.ts";
import { workflowService } from "./workflow_service.ts";

/** Services of the API listener, beside reflection. */
export const API_SERVICES: readonly DescService[] = [
  ManifestService,
  WorkflowService,
  DeadLetterService,
  FleetService,
  PolicyService,
  AuditService,
  TokenService,
  Health,
];
/** Services of the worker listener. */
export const WORKER_SERVICES: readonly DescService[] = [WorkerService, Health];

/** What each listener speaks. */
const PROTOCOLS: Readonly<Record<keyof ListenerPorts, readonly Protocol[]>> = {
  api: ["http2", "http1"],
  worker: ["http2"],
  ops: ["http1"],
};

/** Where a listener listens: an address (or "localhost") and a port, 0 for any free one. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** What the listeners need. */
export interface ListenersOptions {
  readonly controlPlane: ControlPlane;
  readonly clock: Clock;
  readonly log: Logger;
  readonly api: ListenAddress;
  readonly worker: ListenAddress;
  readonly ops: ListenAddress;
  /** Certificates of the API listener; absent: no TLS, and loopback only. */
  readonly tls?: TlsMaterial;
  /** Certificates of the worker listener, its clientCa among them: mutual TLS and no join token; absent: loopback only. */
  readonly workerTls?: TlsMaterial;
  /** Overrides of RPC_LIMITS. */
  readonly limits?: Partial<RpcLimits>;
  /** Calls that callers of a role may make a second, where it is not limits.callRate. */
  readonly callRates?: CallRates;
  /** Serve reflection without credentials; true by default on loopback, false beyond it. */
  readonly reflectionOpen?: boolean;
}

/** Ports that the listeners have. */
export interface ListenerPorts {
  readonly api: number;
  readonly worker: number;
  readonly ops: number;
}

/** The running listeners. */
export interface Listeners {
  /** Listens on all three or on none. @throws CONFIG_INVALID when an address is taken or not on loopback. */
  start(): Promise<ListenerPorts>;
  /** New connections get other certificates; only for a listener that was made with some. */
  replaceTls(listener: "api" | "worker", tls: TlsMaterial): void;
  /** Health and readiness say no from now on; everything is still served. */
  drain(): void;
  /**
   * Ends gracefully: no new connection or call, watches end with SHUTTING_DOWN, calls and worker streams have limits.drainMs,
   * then worker streams end with SHUTTING_DOWN, and limits.closeMs later every connection is destroyed. Idempotent. Whoever
   * wants workers to leave politely sends them Drain before.
   */
  stop(): Promise<void>;
}

type Name = keyof ListenerPorts;

/** The listeners. @throws CONFIG_INVALID for a host that is not on loopback or a bad limit. */
export function createListeners(options: ListenersOptions): Listeners {
  const limits = rpcLimits(options.limits);
  const certificates = { api: options.tls, worker: options.workerTls, ops: undefined };
  for (const name of ["api", "worker"] as const) {
    if (certificates[name] === undefined) requireLoopback(name, options[name].host);
  }
  assert(options.workerTls === undefined || options.workerTls.clientCa !== undefined, "worker TLS is mutual");
  const readiness = new Readiness(options.controlPlane, options.clock);
  const apiShutdown = new AbortController();
  const workerShutdown = new AbortController();
  const { clock, log, controlPlane } = options;
  const onOffence =
    (listener: Name): OnOffence =>
    (peer, reason, why) => {
      log.debug("rpc.offence", { listener, peer, reason, why });
      void controlPlane.recordRefusal({ listener, method: "", reason, peer });
    };
  const callsOf = (name: Name) => new Calls({ clock, limits, onOffence: onOffence(name) });
  const calls: Record<Name, Calls> = { api: callsOf("api"), worker: callsOf("worker"), ops: callsOf("ops") };
  const handlers: Record<Name, NodeHandler> = {
    api: apiHandler(options, limits, readiness, { calls: calls.api, shutdown: apiShutdown.signal }),
    worker: workerHandler(options, limits, readiness, { calls: calls.worker, shutdown: workerShutdown.signal }),
    ops: createOpsHandler(readiness, calls.ops, () => controlPlane.scrape()),
  };
  const portOptions = (name: Name) => ({
    ...{ name, clock, log, limits, handler: handlers[name], onOffence: onOffence(name), protocols: PROTOCOLS[name] },
    callsFull: (address: string) => calls[name].full(address),
  });
  const tlsPort = (name: "api" | "worker") => {
    const tls = certificates[name];
    return tls && new TlsPort({ ...portOptions(name), tls, mutual: name === "worker" });
  };
  const tlsPorts = { api: tlsPort("api"), worker: tlsPort("worker") };
  const ports: Record<Name, ListeningPort> = {
    api: tlsPorts.api ?? new Port(portOptions("api")),
    worker: tlsPorts.worker ?? new Port(portOptions("worker")),
    ops: new Port(portOptions("ops")),
  };
  const destroyAll = () => Promise.all(Object.values(ports).map((each) => each.destroy()));
  let stopped: Promise<void> | undefined;

  const stop = async () => {
    readiness.drain();
    const rpcPorts = [ports.api, ports.worker];
    for (const each of rpcPorts) each.stopAccepting();
    apiShutdown.abort(shuttingDown());
    await idleWithin(rpcPorts, clock, limits.drainMs);
    workerShutdown.abort(shuttingDown());
    await idleWithin(rpcPorts, clock, limits.closeMs);
    await destroyAll();
  };

  return {
    async start() {
      const names = ["api", "worker", "ops"] as const;
      // Settled, so that a listener that comes up after another failed is closed as well.
      const results = await Promise.allSettled(
        names.map((name) => ports[name].listen(options[name].host, options[name].port)),
      );
      const failed = results.find((result) => result.status === "rejected");
      if (failed !== undefined) {
        await destroyAll();
        throw failed.reason;
      }
      const [api = 0, worker = 0, ops = 0] = results.map((result) =>
        result.status === "fulfilled" ? result.value : 0,
      );
      return { api, worker, ops };
    },
    replaceTls: (listener, next) => tlsPorts[listener]?.replace(next),
    drain: () => readiness.drain(),
    stop() {
      stopped ??= stop();
      return stopped;
    },
  };
}

/** What a handler has of its own listener. */
type Own = Pick<RpcHandlerOptions, "calls" | "shutdown">;

function apiHandler(options: ListenersOptions, limits: RpcLimits, readiness: Readiness, own: Own) {
  const { controlPlane, log, clock } = options;
  return createRpcHandler({
    ...shared(options, limits, own),
    listener: { name: "api", loopback: isLoopback(options.api.host) },
    writeBytesMax: limits.apiWriteBytesMax,
    compressions: [compressionGzip],
    reflectionOpen: options.reflectionOpen ?? isLoopback(options.api.host),
    routes(router: ConnectRouter) {
      router.service(ManifestService, manifestService());
      router.service(WorkflowService, workflowService(log, controlPlane));
      router.service(DeadLetterService, deadLetterService(log));
      router.service(FleetService, fleetService());
      router.service(PolicyService, policyService());
      router.service(AuditService, auditService());
      router.service(TokenService, tokenService());
      router.service(Health, healthService(API_SERVICES, readiness, clock));
      addReflection(router, API_SERVICES, { clock, rate: rateOf(limits, "message") });
    },
  });
}

function workerHandler(options: ListenersOptions, limits: RpcLimits, readiness: Readiness, own: Own) {
  const { controlPlane, clock } = options;
  return createRpcHandler({
    ...shared(options, limits, own),
    listener: { name: "worker", loopback: options.workerTls === undefined },
    writeBytesMax: limits.workerWriteBytesMax,
    compressions: [],
    reflectionOpen: false,
    routes(router: ConnectRouter) {
      router.service(
        WorkerService,
        workerService(controlPlane, clock, { unreadMs: limits.unreadMs, rate: rateOf(limits, "message") }),
      );
      router.service(Health, healthService(WORKER_SERVICES, readiness, clock));
    },
  });
}

function shared(options: ListenersOptions, limits: RpcLimits, own: Own) {
  const { controlPlane, log, clock, callRates = {} } = options;
  const rates = new CallerRates(clock, rateOf(limits, "call"), callRates);
  return { ...{ controlPlane, log, clock, rates, readBytesMax: limits.readBytesMax }, ...own };
}

// Connect hands the reason to clients as it is when it is a ConnectError.
function shuttingDown() {
  return toConnectError(
    new DomainError("SHUTTING_DOWN", "this server is stopping: connect to another one or try again"),
  );
}

async function idleWithin(ports: readonly ListeningPort[], clock: Clock, limitMs: number): Promise<void> {
  const idle = new AbortController();
  const all = Promise.all(ports.map((port) => port.idle())).then(() => idle.abort());
  await Promise.race([all, clock.sleep(limitMs, idle.signal)]);
}

/** True for an address that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

function requireLoopback(name: Name, host: string): void {
  if (isLoopback(host)) return;
  throw new DomainError(
    "CONFIG_INVALID",
    `the ${name} listener may not listen on ${host}: only loopback (127.0.0.1 or ::1) is served without ${name === "worker" ? "mutual TLS" : "TLS"}`,
    { listener: name, host },
  );
}
