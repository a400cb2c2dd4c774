// Watches over one HTTP/2 connection: settings in time, then a ping every 10 s that must be answered within 5 s.
// Called by connections.ts for every session; Node's HTTP/2 server does neither by itself, and a black-holed peer stays unseen for
// over 40 s even while writing.
// Never ends a connection whose peer answers.

import type { ServerHttp2Session } from "node:http2";
import type { Clock } from "../../kit/clock.ts";
import type { RpcLimits } from "./limits.ts";

/** Guards a session until it closes. onEnd tells why the guard ended it, for the log. */
export function guardSession(
  session: ServerHttp2Session,
  clock: Clock,
  limits: Pick<RpcLimits, "handshakeMs" | "pingIntervalMs" | "pingTimeoutMs">,
  onEnd: (why: string) => void,
): void {
  const end = (why: string) => {
    onEnd(why);
    session.destroy();
  };
  let cancel = clock.after(limits.handshakeMs, () => end("no HTTP/2 settings in time"));
  const pingLater = () => {
    cancel = clock.after(limits.pingIntervalMs, ping);
  };
  const ping = () => {
    if (session.destroyed) return;
    cancel = clock.after(limits.pingTimeoutMs, () => end("a ping was not answered"));
    session.ping((error) => {
      cancel();
      if (error === null && !session.destroyed) pingLater();
    });
  };
  session.once("remoteSettings", () => {
    cancel();
    pingLater();
  });
  session.once("close", () => cancel());
}
