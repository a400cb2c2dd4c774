// `npm run test:netns`: workers on hosts of their own, over mutual TLS, and their network broken: needs root, Linux, and `ip`.
// Makes the namespaces (lab.ts), starts driver.ts in the one of the server, and removes everything, also when it is interrupted.
// The last line of standard output is one JSON object, or says `netns: not run: …`; exit 1 for a violation.

import { spawn } from "node:child_process";
import { systemClock } from "../../kit/clock.ts";
import { messageOf } from "../../kit/errors.ts";
import { onStopSignals } from "../../kit/stop_signals.ts";
import { command } from "../../scripts/command.ts";
import { Lab } from "./lab.ts";
import { HELP, readOptions } from "./options.ts";

/** Longest run, in ms: three times what one takes. */
const RUN_MS_MAX = 15 * 60_000;

async function missing(): Promise<string | undefined> {
  if (process.platform !== "linux") return "network namespaces are a thing of Linux";
  if (process.getuid?.() !== 0) return "it needs root";
  if ((await command("ip", ["-V"])).code !== 0) return "the program ip (iproute2) is not there";
  const { code, output } = await command("ip", ["netns", "add", `${lab.id}-try`]);
  await command("ip", ["netns", "del", `${lab.id}-try`]);
  return code === 0 ? undefined : `a network namespace cannot be made here: ${output.trim()}`;
}

/** Runs the cases; resolves with the exit code. */
async function run(args: readonly string[]): Promise<number> {
  await lab.make();
  const inside = ["netns", "exec", lab.name("srv"), process.execPath, `${import.meta.dirname}/driver.ts`];
  const driver = spawn("ip", [...inside, lab.id, lab.nat, ...args], { stdio: ["ignore", "inherit", "inherit"] });
  const over = new AbortController();
  stop = () => void driver.kill("SIGTERM");
  const late = systemClock()
    .sleep(RUN_MS_MAX, over.signal)
    .then(() => !over.signal.aborted && driver.kill("SIGTERM"));
  const code = await new Promise<number>((resolve) => {
    driver.once("error", (error) => {
      console.error(`netns: ${messageOf(error)}`);
      resolve(1);
    });
    driver.once("close", (exit) => resolve(exit ?? 1));
  });
  over.abort();
  await late;
  return code;
}

const lab = new Lab();
let stop = () => {};
let stopped = false;
const onStop = () => {
  stopped = true;
  stop();
};

try {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) process.stdout.write(HELP);
  else {
    const why = await missing();
    if (why !== undefined) console.log(`netns: not run: ${why}`);
    else {
      const stopListening = onStopSignals(systemClock(), onStop, onStop);
      try {
        process.exitCode = await run(process.argv.slice(2));
        if (stopped) process.exitCode = 1;
      } finally {
        await lab.remove();
        stopListening();
      }
    }
  }
} catch (error) {
  console.error(`netns: ${messageOf(error)}`);
  process.exitCode = 1;
}
