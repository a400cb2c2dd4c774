// Asks an HTTP proxy for a tunnel to an endpoint (CONNECT, RFC 9110 section 9.3.6), on a connection to the proxy that is there already.
// Called by dial.ts. A refusal is an error that says who refused what, and what to change.
// Never says user or password; ends nothing itself: the caller ends a connection that failed.

import type { Socket } from "node:net";
import { KIB } from "../../kit/units.ts";
import type { HttpProxy } from "./proxy.ts";

/** Most bytes of a proxy's answer before the tunnel begins. */
const ANSWER_BYTES_MAX = 16 * KIB;
const END_OF_HEAD = "\r\n\r\n";

/**
 * Turns a connection to the proxy into one to the endpoint. What the endpoint said already stays to be read.
 *
 * @param endpoint host:port, IPv6 in brackets; a name is resolved by the proxy.
 * @throws Error that names the proxy and the endpoint.
 */
export function openTunnel(socket: Socket, endpoint: string, proxy: HttpProxy): Promise<void> {
  const authorization = proxy.authorization === undefined ? "" : `Proxy-Authorization: ${proxy.authorization}\r\n`;
  socket.write(`CONNECT ${endpoint} HTTP/1.1\r\nHost: ${endpoint}\r\n${authorization}\r\n`);
  return new Promise((resolve, reject) => {
    let seen: Buffer = Buffer.alloc(0);
    const settle = (error?: Error) => {
      socket.off("data", onData).off("end", onEnd).off("close", onEnd);
      socket.pause();
      if (error === undefined) resolve();
      else reject(error);
    };
    const onEnd = () => settle(new Error(`the proxy ${proxy.name} hung up on the request for ${endpoint}`));
    const onData = (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk]);
      const end = seen.indexOf(END_OF_HEAD);
      if (end < 0 && seen.length < ANSWER_BYTES_MAX) return;
      const status = statusOf(seen.toString("latin1", 0, Math.max(end, 0)));
      if (status === undefined) {
        settle(new Error(`what answers at ${proxy.name} is no HTTP proxy; check the address of the proxy`));
      } else if (status.code < 200 || status.code > 299) settle(new Error(refusal(status, endpoint, proxy)));
      else {
        settle();
        const rest = seen.subarray(end + END_OF_HEAD.length);
        if (rest.length > 0) socket.unshift(rest);
      }
    };
    socket.on("data", onData).on("end", onEnd).on("close", onEnd);
  });
}

interface Status {
  readonly code: number;
  /** Code and phrase, short and printable. */
  readonly text: string;
}

function statusOf(head: string): Status | undefined {
  const [, code, phrase = ""] = /^HTTP\/1\.[01] (\d{3})(?: ([^\r\n]*))?/.exec(head) ?? [];
  if (code === undefined) return undefined;
  return { code: Number(code), text: `${code} ${phrase.replace(/[^\x20-\x7e]/g, "?").slice(0, 80)}`.trim() };
}

function refusal({ code, text }: Status, endpoint: string, { name, authorization }: HttpProxy): string {
  if (code === 407 && authorization === undefined)
    return `the proxy ${name} asks for user and password (${text}); write them into its address: http://user:password@${name}`;
  if (code === 407) return `the proxy ${name} does not accept this user and password (${text}); correct its address`;
  if (code >= 500)
    return `the proxy ${name} cannot reach ${endpoint} (${text}); check the endpoint, and the way from there`;
  return `the proxy ${name} refuses to connect to ${endpoint} (${text}); allow CONNECT to that host and port there`;
}
