// A process that runs an embedded Postgres, for tests that kill it: prints how it started, stops it on SIGTERM.

import { systemClock } from "../../kit/clock.ts";
import { startEmbedded } from "../../server/storage/embedded/start.ts";

const home = process.argv[2] as string;
const embedded = await startEmbedded({ home, clock: systemClock(), log: () => undefined });
const staysAlive = setInterval(() => undefined, 60_000);
process.once("SIGTERM", () => {
  clearInterval(staysAlive);
  void embedded.stop();
});
console.log(`ready ${JSON.stringify({ how: embedded.how, pid: embedded.pid, url: embedded.url })}`);
