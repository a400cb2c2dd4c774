// An HTTP proxy that lets CONNECT through, as stands between a closed network and the rest: with user and password if wanted, refusing or
// silent if told to, and cutting what it carries. Names are resolved by a table, so that a test may have endpoints on no real host.
// Used by tests of the worker's connections, and as a program by test/netns.

import { createServer, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";

/** How a proxy is made. */
export interface ConnectProxyOptions {
  /** Address to listen on; 127.0.0.1 by default. */
  readonly host?: string;
  /** Any free one by default. */
  readonly port?: number;
  /** `user:password` that it asks for. */
  readonly credentials?: string;
  /** What endpoints (host:port) stand for; others are connected to as they are. */
  readonly table?: Readonly<Record<string, string>>;
}

/** See the file header. */
export class ConnectProxy {
  /** Endpoints that were asked for, in order, allowed or not. */
  readonly asked: string[] = [];
  /** What it answers instead of connecting: a status, nothing at all, or something that is no HTTP. */
  instead: number | "silence" | "garbage" | undefined;
  readonly #options: ConnectProxyOptions;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((_request, response) => {
    response.writeHead(405).end();
  });

  private constructor(options: ConnectProxyOptions) {
    this.#options = options;
  }

  static async start(options: ConnectProxyOptions = {}): Promise<ConnectProxy> {
    const proxy = new ConnectProxy(options);
    proxy.#server.on("connection", (socket) => proxy.#track(socket));
    proxy.#server.on("connect", (request: IncomingMessage, client: Socket) => proxy.#connect(request, client));
    await new Promise<void>((resolve) =>
      proxy.#server.listen(options.port ?? 0, options.host ?? "127.0.0.1", () => resolve()),
    );
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** Connections that it has, of either side. */
  get size(): number {
    return this.#sockets.size;
  }

  /** Ends everything that it carries with a reset. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#sockets.delete(socket));
  }

  #connect({ url: endpoint = "", headers }: IncomingMessage, client: Socket): void {
    this.asked.push(endpoint);
    if (this.instead === "silence") return void client.resume().once("end", () => client.destroy());
    const { credentials, table = {} } = this.#options;
    const wanted = credentials === undefined ? undefined : `Basic ${Buffer.from(credentials).toString("base64")}`;
    if (this.instead === "garbage") client.end("SSH-2.0-none of your business\r\n\r\n");
    else if (wanted !== undefined && headers["proxy-authorization"] !== wanted) answer(client, 407);
    else if (this.instead !== undefined) answer(client, this.instead);
    else this.#join(client, table[endpoint] ?? endpoint);
  }

  #join(client: Socket, target: string): void {
    const [, host = "", port = ""] = /^\[?(.*?)\]?:(\d+)$/.exec(target) ?? [];
    const upstream = connect(Number(port), host);
    this.#track(upstream);
    const failed = () => answer(client, 502);
    upstream.once("error", failed);
    upstream.once("connect", () => {
      upstream.off("error", failed);
      client.write("HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n");
      client.pipe(upstream).pipe(client);
      client.once("close", () => upstream.destroy());
      upstream.once("close", () => client.destroy());
    });
  }
}

function answer(client: Socket, status: number): void {
  client.end(`HTTP/1.1 ${status} So it is\r\ncontent-length: 0\r\n\r\n`);
}
