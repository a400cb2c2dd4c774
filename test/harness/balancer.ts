// A plain TCP balancer, as stands before replicas: round robin over targets, passing over those that do not answer. It knows no
// protocol, and closes a connection when either end does.

import { connect, createServer, type Socket } from "node:net";
import { atEndOfFile } from "./cleanup.ts";

/** A running balancer. */
export interface Balancer {
  readonly port: number;
  /** Ports of 127.0.0.1 that connections go to, in turn. */
  targets: number[];
}

/** Starts one on a free port; closed at the end of the test file. */
export async function startBalancer(targets: number[]): Promise<Balancer> {
  const sockets = new Set<Socket>();
  let turn = 0;
  const server = createServer((client) => {
    turn += 1;
    const inTurn = balancer.targets.map(
      (_, index) => balancer.targets[(index + turn) % balancer.targets.length] as number,
    );
    dial(client, inTurn);
  });
  const dial = (client: Socket, ports: number[]) => {
    const port = ports.shift();
    if (port === undefined) return void client.destroy();
    const upstream = connect(port, "127.0.0.1");
    const next = () => dial(client, ports);
    upstream.once("error", next);
    upstream.once("connect", () => {
      upstream.off("error", next);
      for (const socket of [client, upstream]) {
        sockets.add(socket);
        socket.on("error", () => undefined);
        socket.on("close", () => {
          sockets.delete(socket);
          client.destroy();
          upstream.destroy();
        });
      }
      client.pipe(upstream).pipe(client);
    });
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const balancer: Balancer = { port: (server.address() as { port: number }).port, targets: [...targets] };
  atEndOfFile(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return balancer;
}
