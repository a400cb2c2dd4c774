// Keeps an embedded Postgres running for as long as its server does: looks once a second, and starts it again when it is gone.
// Called by main.ts. The pool of the server reconnects by itself, for socket, port and password stay what they were.
// Never gives up: a start that fails is tried again at the next look, and said in the log.

import { messageOf } from "../../../kit/errors.ts";
import { SECOND } from "../../../kit/units.ts";
import { isAlive } from "./ownership.ts";
import { type EmbeddedOptions, type EmbeddedPostgres, startEmbedded } from "./start.ts";

const LOOK_MS = SECOND;

/** A Postgres that is kept running. */
export interface KeptPostgres {
  /** postgres:// URL with password; never log it. */
  readonly url: string;
  /** Process id of its postmaster; another one after it was started again. */
  readonly pid: number;
  /** Stops looking, then stops it unless another live server process uses it. Safe to call twice. */
  stop(): Promise<void>;
}

/** Starts or adopts the Postgres of a home and keeps it running. @throws as startEmbedded, for the first start */
export async function keepEmbedded(options: EmbeddedOptions): Promise<KeptPostgres> {
  const started: EmbeddedPostgres[] = [await startEmbedded(options)];
  const first = started[0] as EmbeddedPostgres;
  const stopping = new AbortController();
  const newest = () => started.at(-1) as EmbeddedPostgres;
  const restart = async () => {
    options.log(`the embedded Postgres (pid ${newest().pid}) ended; starting it again`);
    try {
      const again = await startEmbedded(options);
      started.push(again);
      if (again.url === first.url) options.log(`the embedded Postgres runs again (pid ${again.pid})`);
      else options.log("the embedded Postgres runs again at another port; stop the server and start it again");
    } catch (error) {
      options.log(`the embedded Postgres does not start, it is tried again: ${messageOf(error)}`);
    }
  };
  const look = async () => {
    while (!stopping.signal.aborted) {
      await options.clock.sleep(LOOK_MS, stopping.signal);
      if (!stopping.signal.aborted && !isAlive(newest().pid)) await restart();
    }
  };
  const looking = look();
  let stopped: Promise<void> | undefined;
  const stop = async () => {
    stopping.abort();
    await looking;
    // Each start left a mark of its own; the last one stopped is the one that stops the postmaster.
    for (const postgres of started) await postgres.stop();
  };
  return {
    url: first.url,
    get pid() {
      return newest().pid;
    },
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}
