// The server process: configuration, database (embedded unless given), migrations, one replica, three listeners, signals.
// Called by cli/server.ts. The only file of the server that makes a real clock and real randomness.
// SIGTERM or SIGINT: not ready → workers told goodbye → listeners end → database closed. A second signal ends at once.

import { resolve } from "node:path";
import { type Clock, systemClock } from "../kit/clock.ts";
import { DomainError, messageOf } from "../kit/errors.ts";
import { createIds } from "../kit/ids.ts";
import { escapeControls } from "../kit/log_text.ts";
import { type Random, systemRandom } from "../kit/random.ts";
import { Redactor } from "../kit/redactor.ts";
import { onStopSignals, outliveClosedOutput } from "../kit/stop_signals.ts";
import { openSpans } from "../tracing/otlp_sink.ts";
import { announce } from "./announce.ts";
import { headSink, loadAuditKey } from "./audit_key.ts";
import { Changes } from "./commands/changes.ts";
import { type Environment, readServerConfig, SERVER_HELP, type ServerConfig } from "./config.ts";
import { timingOf } from "./dispatch/timing.ts";
import { type CertificateFile, hostFacts } from "./host_facts.ts";
import { type CertificateListener, type ListenerRevocations, noRevocations } from "./identity/identify.ts";
import { ListenerTls } from "./listener_tls.ts";
import { type Databases, openDatabases } from "./open_databases.ts";
import { createReplica, type Replica } from "./replica.ts";
import { createListeners, isLoopback } from "./rpc/listeners.ts";
import { Allowances } from "./secrets/allowances.ts";
import { Secrets } from "./secrets/secrets.ts";
import type { OpenDatabase } from "./storage/database.ts";
import { keepEmbedded } from "./storage/embedded/keep.ts";
import { createStore } from "./storage/store.ts";
import { createLogger, type Logger } from "./telemetry/log.ts";
import { Metrics } from "./telemetry/metrics.ts";
import { RunTracer } from "./telemetry/run_tracer.ts";
import { bringUp } from "./upgrade.ts";

/** Runs the server until a signal stops it. @returns the exit code: 0 stopped, 1 could not start, 2 bad configuration */
export async function runServer(argv: readonly string[], env: Environment): Promise<number> {
  outliveClosedOutput();
  const clock = systemClock();
  const redactor = new Redactor();
  let log = createLogger({ clock, redactor });
  try {
    const config = readServerConfig(argv, env);
    if (config.help) {
      process.stdout.write(SERVER_HELP);
      return 0;
    }
    log = createLogger({ clock, redactor, level: config.logLevel });
    for (const url of [config.databaseUrl, config.maintenanceDatabaseUrl]) redactor.learn(url ?? "");
    await serve(config, env, { log, redactor });
    return 0;
  } catch (error) {
    const bad = error instanceof DomainError && error.reason === "CONFIG_INVALID";
    // Findings of a configuration file are a line each.
    const message = redactor.text(messageOf(error)).split("\n").map(escapeControls).join("\n");
    process.stderr.write(`error[E-${bad ? "CONFIG-INVALID" : "SERVER-FAILED"}] ${message}\n`);
    if (!(error instanceof DomainError)) log.error("server.failed", { error });
    return bad ? 2 : 1;
  }
}

/** What the server tells, and what it must not tell. */
interface Telling {
  readonly log: Logger;
  readonly redactor: Redactor;
}

async function serve(config: ServerConfig, env: Environment, { log, redactor }: Telling): Promise<void> {
  const clock = systemClock();
  const random = systemRandom();
  const stop = stopSignal();
  const home = resolve(config.home);
  const audit = {
    key: loadAuditKey(home, config.audit.keyFile),
    heads: headSink(home, config.audit.heads, (text) => void process.stdout.write(text)),
  };
  const revocations = noRevocations();
  const tls = await tlsOf(config, revocations, log);
  const tell = (line: string) => log.info("postgres", { line });
  const embedded = config.databaseUrl === undefined ? await keepEmbedded({ home, clock, log: tell }) : undefined;
  let databases: Databases | undefined;
  try {
    const which = config.databaseUrl === undefined ? "the embedded Postgres" : "the database of ORLOJ_DATABASE_URL";
    if (!stop.asked) await bringUp(config.databaseUrl ?? embedded?.url ?? "", which, config.migrate);
    if (stop.asked) return;
    databases = await openDatabases(config, embedded?.url, log);
    const { url, work, reserved, maintenance } = databases;
    const metrics = new Metrics(clock);
    const tracer = await openTracer(config, { clock, random, log });
    const changes = new Changes(clock);
    const storeOf = ({ db }: OpenDatabase) =>
      createStore(db, clock, (events) => {
        metrics.recorded(events);
        tracer?.recorded(events);
        changes.recorded(new Set(events.map(({ kind }) => kind)));
      });
    const replica = createReplica({
      ...{ store: storeOf(work), pool: work.pool, databaseUrl: url, clock, random, log, metrics, changes },
      ...(tracer && { tracer }),
      leaseStore: storeOf(reserved),
      ...(maintenance && { maintenanceStore: storeOf(maintenance) }),
      ids: createIds(clock, random),
      timing: timingOf(config.leaseTtlMs),
      ...{ retention: config.retention, quotas: config.limits.quotas },
      unattached: config.unattached,
      audit,
      ...{ identity: config.identity, revocations },
      host: hostFacts(home, certificatesOf(config)),
      secrets: new Secrets({ directory: config.secretsDirectory, environment: env }),
      ...{ allowances: new Allowances(config.secretAllowances), redactor },
    });
    await run(config, home, replica, { tls, log, stopped: stop.signal });
  } finally {
    await databases?.close();
    await embedded?.stop();
  }
}

/** TLS of the listeners that have files. */
type Tls = Readonly<Partial<Record<"api" | "worker", ListenerTls>>>;

// Files are read before anything is opened: a mistake in them is told at once.
async function tlsOf(config: ServerConfig, revocations: ListenerRevocations, log: Logger): Promise<Tls> {
  const files = { api: config.tls, worker: config.workers.tls };
  const clock = systemClock();
  const open = async (listener: CertificateListener) => {
    const named = files[listener];
    return (
      named && (await ListenerTls.open({ listener, files: named, revocations: revocations[listener], clock, log }))
    );
  };
  const [api, worker] = [await open("api"), await open("worker")];
  return { ...(api && { api }), ...(worker && { worker }) };
}

async function openTracer(
  { tracing }: ServerConfig,
  parts: { readonly clock: Clock; readonly random: Random; readonly log: Logger },
): Promise<RunTracer | undefined> {
  if (tracing === undefined) return undefined;
  const onTrouble = (error: string, spans: number) => parts.log.warn("trace.unsent", { spans, error });
  const sink = await openSpans(tracing, { clock: parts.clock, onTrouble });
  return new RunTracer({ ...parts, sink, sampling: tracing });
}

// What operators are told of before it expires.
function certificatesOf({ tls, workers }: ServerConfig): CertificateFile[] {
  const listeners = [
    ["API", tls],
    ["worker", workers.tls],
  ] as const;
  return listeners.flatMap(([name, files]) => {
    if (files === undefined) return [];
    const clients =
      files.clientCa === undefined ? [] : [{ use: `CA of clients, ${name} listener`, file: files.clientCa }];
    return [{ use: `${name} listener`, file: files.cert }, ...clients];
  });
}

async function run(
  config: ServerConfig,
  home: string,
  replica: Replica,
  { tls, log, stopped }: { readonly tls: Tls; readonly log: Logger; readonly stopped: Promise<void> },
): Promise<void> {
  const { host, workers, opsHost, ports } = config;
  const clock = systemClock();
  await requireCallers(config, replica);
  const listeners = createListeners({
    ...{ controlPlane: replica.controlPlane, clock, log },
    ...(tls.api && { tls: tls.api.material }),
    ...(tls.worker && { workerTls: tls.worker.material }),
    ...{ limits: config.limits.listeners, callRates: config.limits.callRates },
    api: { host, port: ports.api },
    worker: { host: workers.host, port: ports.worker },
    ops: { host: opsHost, port: ports.ops },
  });
  await replica.start();
  try {
    const bound = await listeners.start();
    replica.listening(bound);
    for (const listener of ["api", "worker"] as const) {
      tls[listener]?.start((next) => listeners.replaceTls(listener, next));
    }
    const handBack = await announce(config, home, replica, bound);
    await stopped;
    log.info("server.stopping");
    listeners.drain();
    await handBack().catch((error: unknown) => log.warn("home.not_handed_back", { error: messageOf(error) }));
  } finally {
    for (const each of Object.values(tls)) each.stop();
    await replica.stop();
    await listeners.stop();
  }
}

// Whoever can reach the API must be able to prove who they are: nothing that a stranger can reach starts without.
async function requireCallers({ host, identity }: ServerConfig, { tokens }: Replica): Promise<void> {
  if (isLoopback(host) || identity.clients.length + identity.issuers.length > 0 || (await tokens.anyMade())) return;
  const message =
    `--host: ${host} is beyond this machine, and nobody could call: name identity.clients or identity.oidc in the file of --config, ` +
    "or make a token first (start on 127.0.0.1 with this database, then orloj token create)";
  throw new DomainError("CONFIG_INVALID", message);
}

// A server that is told to stop while its database starts goes no further than that.
function stopSignal(): { readonly asked: boolean; readonly signal: Promise<void> } {
  let asked = false;
  const signal = new Promise<void>((resolveStop) => {
    onStopSignals(
      systemClock(),
      () => {
        asked = true;
        resolveStop();
      },
      () => process.exit(130),
    );
  });
  return {
    get asked() {
      return asked;
    },
    signal,
  };
}
