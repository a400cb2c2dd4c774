// A TCP address for the Postgres of the run, which may listen on a local socket only: what tools connect to as users do.
// Used by tests of the database tool. The bridge closes at the end of the test file.

import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { atEndOfFile } from "./cleanup.ts";

/** The URL of the same database over TCP, for that user or for the one of the URL. */
export async function overTcp(databaseUrl: string, user?: string, password = ""): Promise<string> {
  const url = new URL(databaseUrl);
  const folder = url.searchParams.get("host") ?? decodeURIComponent(url.hostname);
  if (folder.startsWith("/")) {
    const port = url.searchParams.get("port") ?? (url.port || "5432");
    url.host = `127.0.0.1:${await bridge(join(folder, `.s.PGSQL.${port}`))}`;
  }
  url.search = "";
  if (user !== undefined) {
    url.username = user;
    url.password = password;
  }
  return url.href;
}

async function bridge(path: string): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(path);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        near.destroySoon();
        far.destroySoon();
      });
    }
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEndOfFile(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return (server.address() as { port: number }).port;
}
