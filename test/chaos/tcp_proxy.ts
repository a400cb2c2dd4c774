// A TCP proxy that breaks connections on purpose: the links between workers, replicas and Postgres run through it.
// Used by fleet.ts. Each direction of a link may be delayed, sliced, throttled, held without a word (half-open), cut or reset.
// A filter sees what clients send, so that one protocol can be broken at one message (commit_trap.ts).

import { connect, createServer, type NetConnectOpts, type Server, type Socket } from "node:net";

/** What happens to what passes. Times in ms. */
export interface Toxics {
  /** Added to every chunk, plus up to jitterMs. */
  readonly latencyMs?: number;
  readonly jitterMs?: number;
  /** Chunks are sent in slices of so many bytes. */
  readonly sliceBytes?: number;
  readonly bytesPerSecond?: number;
  /** Nothing passes in that direction, and nobody is told. */
  readonly holdUp?: boolean;
  readonly holdDown?: boolean;
  /** New connections are reset at once. */
  readonly refuse?: boolean;
}

/** One connection through the proxy. */
export interface Link {
  readonly client: Socket;
  readonly upstream: Socket;
  /** Answers are swallowed from now on. */
  dropAnswers: boolean;
}

/** Ends a socket without a word: with a reset where there is one (a Unix socket has none). */
export function reset(socket: Socket): void {
  if (socket.remoteAddress === undefined) socket.destroy();
  else socket.resetAndDestroy();
}

/** What a filter may do with a chunk of a client before it is passed on. */
export type UpFilter = (link: Link, chunk: Buffer) => void;

/** See the file header. */
export class TcpProxy {
  toxics: Toxics = {};
  /** Called with what clients send. */
  onUp: UpFilter = () => undefined;
  /** Called with each answer; false swallows it. */
  onDown: (link: Link, chunk: Buffer) => boolean = () => true;
  readonly #server: Server;
  readonly #links = new Set<Link>();
  readonly #targets: () => readonly NetConnectOpts[];
  readonly #random: () => number;

  /** @param targets where a connection may go, best first; the next is tried when one refuses */
  constructor(targets: () => readonly NetConnectOpts[], random: () => number) {
    this.#targets = targets;
    this.#random = random;
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return (this.#server.address() as { port: number }).port;
  }

  get size(): number {
    return this.#links.size;
  }

  /** Ends every connection with a reset. */
  cut(): void {
    for (const { client, upstream } of this.#links) for (const socket of [client, upstream]) reset(socket);
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket): void {
    client.on("error", () => client.destroy());
    if (this.toxics.refuse === true) {
      reset(client);
      return;
    }
    this.#dial(client, [...this.#targets()]);
  }

  #dial(client: Socket, targets: NetConnectOpts[]): void {
    const target = targets.shift();
    if (target === undefined) {
      reset(client);
      return;
    }
    const upstream = connect({ ...target, allowHalfOpen: true } as NetConnectOpts);
    const next = () => {
      upstream.destroy();
      this.#dial(client, targets);
    };
    upstream.once("error", next);
    upstream.once("connect", () => {
      upstream.off("error", next);
      this.#join({ client, upstream, dropAnswers: false });
    });
  }

  #join(link: Link): void {
    const { client, upstream } = link;
    this.#links.add(link);
    const over = () => {
      this.#links.delete(link);
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      socket.on("error", over);
      socket.on("close", over);
    }
    client.on("data", (chunk: Buffer) => {
      this.onUp(link, chunk);
      this.#pass(client, upstream, chunk, () => this.toxics.holdUp === true);
    });
    upstream.on("data", (chunk: Buffer) => {
      if (this.onDown(link, chunk)) this.#pass(upstream, client, chunk, () => this.toxics.holdDown === true);
    });
    client.on("end", () => upstream.end());
    upstream.on("end", () => client.end());
  }

  #pass(from: Socket, to: Socket, chunk: Buffer, held: () => boolean): void {
    const { latencyMs = 0, jitterMs = 0, sliceBytes, bytesPerSecond } = this.toxics;
    const quiet = latencyMs === 0 && jitterMs === 0 && sliceBytes === undefined && bytesPerSecond === undefined;
    if (quiet && !held()) {
      if (!to.write(chunk)) {
        from.pause();
        to.once("drain", () => from.resume());
      }
      return;
    }
    // In order: the socket is read on only once this chunk has left.
    from.pause();
    const throttleMs = bytesPerSecond === undefined ? 0 : (chunk.length / bytesPerSecond) * 1_000;
    const send = () => {
      if (to.destroyed) return;
      if (held()) {
        setTimeout(send, 50);
        return;
      }
      const size = sliceBytes ?? chunk.length;
      for (let at = 0; at < chunk.length; at += size) to.write(chunk.subarray(at, at + size));
      from.resume();
    };
    setTimeout(send, latencyMs + this.#random() * jitterMs + throttleMs);
  }
}
