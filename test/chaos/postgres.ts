// The Postgres of a chaos run: real, with fsync on, killed and started again. The harness looks into it by a socket of its own,
// which runs through no proxy.
// Used by fleet.ts and by everything that asks what is true.

import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { systemClock } from "../../kit/clock.ts";
import { type EmbeddedPostgres, startEmbedded } from "../../server/storage/embedded/start.ts";
import { atEndOfFile } from "../harness/cleanup.ts";

/** See the file header. */
export class ChaosPostgres {
  readonly #home: string;
  readonly #started: EmbeddedPostgres[] = [];
  #pool: pg.Pool | undefined;
  #starting: Promise<EmbeddedPostgres> | undefined;
  #stopping: Promise<void> | undefined;
  /** When it last accepted connections again, in ms. */
  backAt = 0;

  private constructor(home: string) {
    this.#home = home;
  }

  static async start(folder: string): Promise<ChaosPostgres> {
    const home = join(folder, "pg");
    await mkdir(home);
    await chmod(home, 0o711);
    const postgres = new ChaosPostgres(home);
    atEndOfFile(() => postgres.stop());
    await postgres.restart();
    return postgres;
  }

  get #current(): EmbeddedPostgres {
    return this.#started.at(-1) as EmbeddedPostgres;
  }

  /** Process id of the postmaster. */
  get pid(): number {
    return this.#current.pid;
  }

  /** The URL that servers use, through a proxy on that port. */
  urlThrough(port: number): string {
    const url = new URL(this.#current.url);
    url.searchParams.delete("host");
    url.hostname = "127.0.0.1";
    url.port = String(port);
    return url.href;
  }

  /** Where it listens. */
  get target(): { path: string } | { host: string; port: number } {
    const url = new URL(this.#current.url);
    const folder = url.searchParams.get("host");
    return folder === null
      ? { host: url.hostname, port: Number(url.port) }
      : { path: join(folder, `.s.PGSQL.${url.port}`) };
  }

  /** Starts it, again if it was killed; resolves once it answers. */
  async restart(): Promise<void> {
    if (this.#stopping !== undefined) throw new Error("Postgres is stopped for good");
    const settings = { max_connections: "200", shared_buffers: "256MB" };
    this.#starting = startEmbedded({ home: this.#home, clock: systemClock(), log: () => undefined, settings });
    this.#started.push(await this.#starting);
    if (this.#pool === undefined) {
      this.#pool = new pg.Pool({ connectionString: this.#current.url, max: 6, connectionTimeoutMillis: 5_000 });
      this.#pool.on("error", () => undefined);
      this.#pool.on("connect", (client) => client.on("error", () => undefined));
    }
    await this.query("select 1");
    this.backAt = Date.now();
  }

  /** Ends the postmaster with SIGKILL: every connection breaks, and the log is replayed at the next start. */
  kill(): void {
    process.kill(this.pid, "SIGKILL");
  }

  /** Rows of a statement; tried again while the database is away. */
  async query<Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    for (let tries = 1; ; tries += 1) {
      try {
        return (await (this.#pool as pg.Pool).query(text, [...values])).rows as Row[];
      } catch (error) {
        if (tries >= 100) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  /** Stops it for good, also while it is being started. Safe to call twice. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    await this.#starting?.catch(() => undefined);
    await this.#pool?.end();
    for (const started of this.#started.reverse()) await started.stop();
  }
}
