// The process of `orloj sandbox`: starts the service, says how the examples reach it, and ends at a signal.
// Called by cli/sandbox.ts. Makes the real clock. Listens on 127.0.0.1 alone: it is for laptops and tests.

import { parseArgs } from "node:util";
import { systemClock } from "../kit/clock.ts";
import { messageOf } from "../kit/errors.ts";
import { onStopSignals, outliveClosedOutput } from "../kit/stop_signals.ts";
import { type Sandbox, secretsOf, startSandbox } from "./service.ts";

const PORT = 7609;
/** Known to everybody, as a service is that only listens to its own machine and holds nothing. */
const TOKEN = "sandbox";
const SIGNING_SECRET = `whsec_${Buffer.from("a signing key for the sandbox").toString("base64")}`;

const HELP = `Usage: orloj sandbox [options]

Runs a small HTTP service for the examples to work on: services that fail, deployments, refunds, help pages, a receiver of
webhooks. Listens on 127.0.0.1 and keeps everything in memory. GET /effects says what was done to it.

Options:
  --env                    starts nothing; prints what a server has to be started with, for a shell:
                             eval "$(orloj sandbox --env)" && orloj server
  --port N                 port; 0 takes a free one (default ${PORT})
  --token TOKEN            bearer token of its callers (default ${TOKEN})
  --signing-secret SECRET  whsec_ and base64: what webhooks are signed with (default: one that is the same everywhere)
  --help                   this text

Examples:
  orloj sandbox
  eval "$(orloj sandbox --env)" && orloj server
`;

/** Runs the sandbox until a signal stops it. @returns the exit code: 0 stopped, 1 could not start, 2 bad flags */
export async function runSandbox(argv: readonly string[]): Promise<number> {
  outliveClosedOutput();
  const flags = readFlags(argv);
  if (typeof flags === "number") return flags;
  if (flags.env) {
    const secrets = secretsOf(`http://127.0.0.1:${flags.port}`, flags);
    for (const [name, value] of Object.entries(secrets)) process.stdout.write(`export ${name}=${shellWord(value)}\n`);
    return 0;
  }
  const clock = systemClock();
  let sandbox: Sandbox;
  try {
    sandbox = await startSandbox(flags, clock);
  } catch (error) {
    process.stderr.write(`error[E-SANDBOX-FAILED] ${messageOf(error)}. Next: --port 0 takes a free port\n`);
    return 1;
  }
  process.stdout.write(`sandbox ready ${sandbox.url} (Ctrl-C ends it)\n`);
  await new Promise<void>((stop) => onStopSignals(clock, stop, stop));
  await sandbox.close();
  return 0;
}

function readFlags(argv: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        port: { type: "string", default: String(PORT) },
        token: { type: "string", default: TOKEN },
        "signing-secret": { type: "string", default: SIGNING_SECRET },
        env: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      process.stdout.write(HELP);
      return 0;
    }
    const { env, port, token, "signing-secret": signingSecret } = values;
    if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535)
      throw new Error(`--port ${port}: use a number from 0 to 65535`);
    if (!/^[\x21-\x7e]+$/.test(token)) throw new Error("--token: use visible characters without a space");
    if (!/^whsec_[A-Za-z0-9+/]{32,86}={0,2}$/.test(signingSecret)) {
      throw new Error("--signing-secret: use whsec_ and the base64 of 24 to 64 bytes");
    }
    if (env && port === "0") throw new Error("--env: name the port that the sandbox is started with");
    return { env, port: Number(port), token, signingSecret };
  } catch (error) {
    process.stderr.write(`error[E-USAGE] ${messageOf(error)}. Next: orloj sandbox --help\n`);
    return 2;
  }
}

function shellWord(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
