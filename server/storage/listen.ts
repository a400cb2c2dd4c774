// Wake-up hints between replicas over LISTEN and NOTIFY on one channel.
// Called by dispatch: a hint only shortens the wait, the tick is the truth, so a lost or late hint costs nothing but time.
// A replica does not hear its own hints: it has acted on them already. Under load notifications are few, for each is a transaction.
// Never notifies inside a transaction: Postgres takes one lock for every commit that carries a notification, and those
// commits cannot share a flush (12,100 → 3,800 transactions a second, measured).

import pg from "pg";
import { type Backoff, backoffDelay } from "../../kit/backoff.ts";
import type { Clock } from "../../kit/clock.ts";
import type { Random } from "../../kit/random.ts";
import { SECOND } from "../../kit/units.ts";
import { TIMEOUTS } from "./database.ts";

const CHANNEL = "orloj_hint";
/** Begins the topic that says whose hints they are; replicas that do not know it take it for a topic that means nothing. */
const FROM = "from ";
/** Pause between two notifications of a replica, in ms: what is hinted in it waits as long, as other replicas have work to do then. */
const NOTIFY_PAUSE_MS = 20;
/** Begins the name that the connection has in pg_stat_activity; after a space comes whose it is. */
export const LISTENER_NAME = "orloj-listen";
const RECONNECT: Backoff = { initialMs: 200, maxMs: 10 * SECOND, factor: 2, jitter: "full" };

/** What a listener needs. */
export interface ListenOptions {
  readonly url: string;
  /** Id of the replica that listens, by which others see that it lives. */
  readonly replicaId: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Called for each notification with its topics, and with none after each (re)connection: hints may have been missed. */
  readonly onHint: (topics: readonly string[]) => void;
  /** Told why the connection was lost; it is opened again by itself. */
  readonly onError?: (error: Error) => void;
}

/** A background service. */
export interface HintListener {
  /** Starts connecting; never rejects. */
  start(): void;
  /** Closes the connection and waits for it. */
  stop(): Promise<void>;
}

/** Listens on a connection of its own and opens it again with backoff when it is lost. */
export function createHintListener(options: ListenOptions): HintListener {
  const stopping = new AbortController();
  let running: Promise<void> | undefined;
  const loop = async () => {
    let failures = 0;
    while (!stopping.signal.aborted) {
      const error = await listenOnce(options, stopping.signal, () => {
        failures = 0;
      });
      if (stopping.signal.aborted) return;
      if (error !== undefined) options.onError?.(error);
      failures += 1;
      await options.clock.sleep(backoffDelay(RECONNECT, failures, options.random), stopping.signal);
    }
  };
  return {
    start: () => {
      running ??= loop();
    },
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

// Resolves when the connection has ended, with the reason if there was one.
async function listenOnce(
  options: ListenOptions,
  signal: AbortSignal,
  connected: () => void,
): Promise<Error | undefined> {
  const client = new pg.Client({
    connectionString: options.url,
    application_name: `${LISTENER_NAME} ${options.replicaId}`,
    connectionTimeoutMillis: TIMEOUTS.connectMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: TIMEOUTS.keepAliveMs,
  });
  let reason: Error | undefined;
  const ended = new Promise<void>((resolve) => client.once("end", () => resolve()));
  client.on("error", (error) => {
    reason ??= error;
  });
  client.on("notification", ({ payload = "" }) => {
    const topics = payload.split(",").filter((topic) => topic !== "");
    if (topics.includes(FROM + options.replicaId)) return;
    options.onHint(topics.filter((topic) => !topic.startsWith(FROM)));
  });
  const end = () => void client.end().catch(() => undefined);
  signal.addEventListener("abort", end, { once: true });
  try {
    await client.connect();
    await client.query(`LISTEN ${CHANNEL}`);
    connected();
    options.onHint([]);
    await ended;
  } catch (error) {
    reason ??= error as Error;
    await client.end().catch(() => undefined);
  } finally {
    signal.removeEventListener("abort", end);
  }
  return reason;
}

/** Sends hints; what is hinted while one notification is on its way shares the next. */
export interface HintNotifier {
  /** Call after commit. Topics are short words without commas. */
  hint(topic: string): void;
  /** Resolves when nothing is on its way. */
  drained(): Promise<void>;
}

/**
 * Notifies through the pool: at once, then what was hinted since, one statement a NOTIFY_PAUSE_MS. A failure is dropped, for the tick
 * finds the work.
 */
export function createHintNotifier(
  pool: pg.Pool,
  { replicaId, clock }: { readonly replicaId: string; readonly clock: Clock },
): HintNotifier {
  const topics = new Set<string>();
  let sending: Promise<void> | undefined;
  const send = async () => {
    while (topics.size > 0) {
      // What is hinted in the same turn of the event loop shares the notification.
      await new Promise((resolve) => setImmediate(resolve));
      const payload = [...topics, FROM + replicaId].join(",");
      topics.clear();
      await pool.query("SELECT pg_notify($1, $2)", [CHANNEL, payload]).catch(() => undefined);
      await clock.sleep(NOTIFY_PAUSE_MS);
    }
    sending = undefined;
  };
  return {
    hint(topic) {
      topics.add(topic);
      sending ??= send();
    },
    drained: () => sending ?? Promise.resolve(),
  };
}
