// One connection of an attacker: a raw socket, with TLS or without, that knows when it offended and when the server was through with it.
// Made by attack.ts within its budget. Reads and forgets what the server says, but for what an attack looks at.

import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { ACK, frame } from "./frames.ts";

const TYPE = { settings: 4, ping: 6, window: 8 } as const;
/** What both windows begin with, where the server's settings do not say otherwise. */
const WINDOW = 65_535;

/** A listener under attack. */
export interface Target {
  readonly listener: "api" | "worker" | "ops";
  readonly host: string;
  readonly port: number;
  /** With TLS. */
  readonly tls: boolean;
  /** HTTP/1.1 is served too. */
  readonly http1: boolean;
  /** Where the attacker calls from: an address of its own, so that limits of a peer tell it from others. */
  readonly from: string;
  /** Credentials of an attacker who has some: of the API, or of a worker. */
  readonly token: string;
}

/** See the file header. */
export class Wire {
  readonly socket: Socket;
  readonly opened: Promise<boolean>;
  readonly closed: Promise<void>;
  isOpen = false;
  isClosed = false;
  bytesRead = 0;
  /** Ms from the first offence to the end; undefined while open, or without an offence. */
  goneMs: number | undefined;
  #offendedMs: number | undefined;
  #blocked: Promise<void> | undefined;

  /** @param protocol by ALPN, where there is TLS. raw: TCP alone, whatever the listener speaks */
  constructor(target: Target, protocol: "h2" | "http/1.1" | "raw" = "h2") {
    const where = { host: target.host, port: target.port, localAddress: target.from };
    const secure = target.tls && protocol !== "raw";
    // The certificate is of no interest to who attacks.
    const tls = { ALPNProtocols: [protocol], rejectUnauthorized: false, servername: "localhost" };
    this.socket = secure ? connectTls({ ...where, ...tls }) : connectTcp(where);
    this.socket.setNoDelay(true);
    this.socket.on("error", () => undefined);
    this.socket.on("data", (chunk: Buffer) => this.#read(chunk));
    this.closed = new Promise((resolve) => {
      const end = () => {
        if (this.isClosed) return;
        this.isClosed = true;
        if (this.#offendedMs !== undefined) this.goneMs = performance.now() - this.#offendedMs;
        resolve();
        this.socket.destroy();
      };
      this.socket.once("end", end);
      this.socket.once("close", end);
    });
    this.opened = new Promise((resolve) => {
      this.socket.once(secure ? "secureConnect" : "connect", () => {
        this.isOpen = true;
        resolve(true);
      });
      void this.closed.then(() => resolve(false));
    });
  }

  /** From here on the server may know it for an attacker. */
  offends(): void {
    this.#offendedMs ??= performance.now();
  }

  get hasOffended(): boolean {
    return this.#offendedMs !== undefined;
  }

  /** Writes; resolves when there is room for more. False: it is closed. */
  async write(bytes: Uint8Array | string): Promise<boolean> {
    if (this.isClosed) return false;
    if (this.socket.write(bytes)) return true;
    this.#blocked ??= new Promise<void>((resolve) => {
      this.socket.once("drain", resolve);
      void this.closed.then(resolve);
    }).finally(() => {
      this.#blocked = undefined;
    });
    await this.#blocked;
    return !this.isClosed;
  }

  /** Answers the server's pings and settings from now on, as a client that wants to stay does. */
  answer(): void {
    this.#frames((type, flags, _stream, payload) => {
      if ((flags & ACK) !== 0) return;
      if (type === TYPE.ping) this.socket.write(frame("ping", ACK, 0, payload));
      if (type === TYPE.settings) this.socket.write(frame("settings", ACK, 0));
    });
  }

  /** Keeps to the windows of stream 1 and of its connection: take resolves when so many bytes may be sent, and false when it is closed. */
  windows(): { take(bytes: number): Promise<boolean> } {
    const left = { connection: WINDOW, stream: WINDOW };
    let wake: () => void = () => undefined;
    this.answer();
    this.#frames((type, _flags, stream, payload) => {
      if (type !== TYPE.window) return;
      left[stream === 0 ? "connection" : "stream"] += payload.readUInt32BE(0);
      wake();
    });
    void this.closed.then(() => wake());
    return {
      take: async (bytes) => {
        while (!this.isClosed && (left.connection < bytes || left.stream < bytes)) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        left.connection -= bytes;
        left.stream -= bytes;
        return !this.isClosed;
      },
    };
  }

  destroy(): void {
    this.socket.destroy();
  }

  #frames(each: (type: number, flags: number, stream: number, payload: Buffer) => void): void {
    let rest = Buffer.alloc(0);
    this.socket.on("data", (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
        const end = 9 + rest.readUIntBE(0, 3);
        each(rest.readUInt8(3), rest.readUInt8(4), rest.readUInt32BE(5), rest.subarray(9, end));
        rest = rest.subarray(end);
      }
    });
  }

  #read(chunk: Buffer): void {
    this.bytesRead += chunk.length;
  }
}
