// The server process: configuration, database (embedded unless given), migrations, one replica, three listeners, signals.
// Called by cli/server.ts. The only file of the server that makes a real clock and real randomness.
// SIGTERM or SIGINT: not ready → workers told goodbye → listeners end → database closed. A second signal ends at once.

import { resolve } from "node:path";
import { systemClock } from "../kit/clock.ts";
import { DomainError, messageOf } from "../kit/errors.ts";
import { createIds } from "../kit/ids.ts";
import { escapeControls } from "../kit/log_text.ts";
import { systemRandom } from "../kit/random.ts";
import { Redactor } from "../kit/redactor.ts";
import { onStopSignals, outliveClosedOutput } from "../kit/stop_signals.ts";
import { headSink, loadAuditKey } from "./audit_key.ts";
import { type Environment, readServerConfig, SERVER_HELP, type ServerConfig } from "./config.ts";
import { timingOf } from "./dispatch/timing.ts";
import { handBackHomeConfig, readHomeConfig, writeHomeConfig } from "./home.ts";
import { NO_IDENTITY } from "./identity/settings.ts";
import { createReplica, type Replica } from "./replica.ts";
import { createListeners, type ListenerPorts } from "./rpc/listeners.ts";
import { Allowances } from "./secrets/allowances.ts";
import { Secrets } from "./secrets/secrets.ts";
import { openDatabase } from "./storage/database.ts";
import { keepEmbedded } from "./storage/embedded/keep.ts";
import { createStore } from "./storage/store.ts";
import { createLogger, type Logger } from "./telemetry/log.ts";
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
    learnPassword(redactor, config.databaseUrl);
    await serve(config, env, { log, redactor });
    return 0;
  } catch (error) {
    const bad = error instanceof DomainError && error.reason === "CONFIG_INVALID";
    const message = escapeControls(redactor.text(messageOf(error)));
    process.stderr.write(`error[E-${bad ? "CONFIG-INVALID" : "SERVER-FAILED"}] ${message}\n`);
    if (!(error instanceof DomainError)) log.error("server.failed", { error });
    return bad ? 2 : 1;
  }
}

/** Connections for renewals and the tick alone, so that they never wait behind a busy pool. */
const RESERVED_CONNECTIONS = 2;

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
  const tell = (line: string) => log.info("postgres", { line });
  const embedded = config.databaseUrl === undefined ? await keepEmbedded({ home, clock, log: tell }) : undefined;
  const databaseUrl = config.databaseUrl ?? embedded?.url ?? "";
  const onConnectionError = (error: Error) => log.warn("database.connection_lost", { error: error.message });
  const database = openDatabase({ url: databaseUrl, poolMax: config.poolMax, onConnectionError });
  const reserved = openDatabase({ url: databaseUrl, poolMax: RESERVED_CONNECTIONS, onConnectionError });
  try {
    const which = config.databaseUrl === undefined ? "the embedded Postgres" : "the database of ORLOJ_DATABASE_URL";
    if (!stop.asked) await bringUp(databaseUrl, which, config.migrate);
    if (stop.asked) return;
    const replica = createReplica({
      ...{ store: createStore(database.db, clock), pool: database.pool, databaseUrl, clock, random, log },
      leaseStore: createStore(reserved.db, clock),
      ids: createIds(clock, random),
      timing: timingOf(config.leaseTtlMs),
      retention: config.retention,
      audit,
      identity: NO_IDENTITY,
      secrets: new Secrets({ directory: config.secretsDirectory, environment: env }),
      ...{ allowances: new Allowances(config.secretAllowances), redactor },
    });
    await run(config, home, replica, log, stop.signal);
  } finally {
    await Promise.all([database.close(), reserved.close()]);
    await embedded?.stop();
  }
}

async function run(
  config: ServerConfig,
  home: string,
  replica: Replica,
  log: Logger,
  stopped: Promise<void>,
): Promise<void> {
  const { host, ports } = config;
  const at = (port: number) => ({ host, port });
  const listeners = createListeners({
    ...{ controlPlane: replica.controlPlane, clock: systemClock(), log },
    ...{ api: at(ports.api), worker: at(ports.worker), ops: at(ports.ops) },
  });
  await replica.start();
  try {
    const bound = await listeners.start();
    const handBack = await announce(config, home, replica, bound);
    await stopped;
    log.info("server.stopping");
    listeners.drain();
    await handBack().catch((error: unknown) => log.warn("home.not_handed_back", { error: messageOf(error) }));
  } finally {
    await replica.stop();
    await listeners.stop();
  }
}

// Tells where the server is; returns what gives the home's file back to an earlier server at the end.
async function announce(
  config: ServerConfig,
  home: string,
  replica: Replica,
  bound: ListenerPorts,
): Promise<() => Promise<void>> {
  const kept = readHomeConfig(home);
  const method = { dev: "development-token", join: "join-token" };
  const token = await replica.tokens.ensure(kept.token, {
    ...{ id: "dev", kind: "user", groups: config.developmentGroups, method: method.dev, roles: ["admin"] },
  });
  const joinToken = await replica.tokens.ensure(kept.joinToken, {
    ...{ id: "local-worker", kind: "worker", groups: [], method: method.join, roles: ["worker"] },
  });
  const endpoint = `http://${config.host}:${bound.api}`;
  const workerEndpoint = `${config.host}:${bound.worker}`;
  const own = { endpoint, token, workerEndpoint, joinToken };
  writeHomeConfig(home, own);
  const ready = `orloj server ready api=${endpoint} worker=${workerEndpoint} ops=http://${config.host}:${bound.ops}`;
  process.stdout.write(
    `${ready}\ndevelopment token (for this machine only): ${token}\nsettings for the CLI and workers: ${home}/config.json\n`,
  );
  return () => handBackHomeConfig(home, own, kept);
}

function learnPassword(redactor: Redactor, databaseUrl: string | undefined): void {
  if (databaseUrl === undefined || !URL.canParse(databaseUrl)) return;
  const { password } = new URL(databaseUrl);
  redactor.learn(password);
  redactor.learn(databaseUrl);
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
