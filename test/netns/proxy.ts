// The CONNECT proxy of the lab, as a program: `node proxy.ts ADDRESS PORT USER:PASSWORD`. Says ready; SIGUSR2 resets all that it carries.
// Started by world.ts in the namespace prx.

import { ConnectProxy } from "../harness/connect_proxy.ts";

const [host = "", port = "", credentials = ""] = process.argv.slice(2);
const proxy = await ConnectProxy.start({ host, port: Number(port), credentials });
process.on("SIGUSR2", () => {
  proxy.cut();
  console.log(`cut after ${proxy.asked.length}`);
});
process.on("SIGTERM", () => void proxy.close().then(() => process.exit(0)));
console.log("ready");
