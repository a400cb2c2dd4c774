// The sandbox as a process, for the blueprints that work on it: what it says a server needs, and what was done to it.
// Started by blueprints.test.ts, before the server.

import { type RunningProcess, startOrloj } from "../../harness/processes.ts";

/** A running sandbox. */
export interface SandboxProcess {
  /** What a server has to be started with, as `orloj sandbox --env` prints it. */
  readonly env: Readonly<Record<string, string>>;
  /** What was done to it so far, by its own count. */
  effects(): Promise<Readonly<Record<string, number>>>;
  /** The events of the webhooks that it believed, oldest first. */
  notices(): Promise<readonly unknown[]>;
}

/** Starts a sandbox on a free port and waits until it is ready. */
export async function startSandbox(): Promise<SandboxProcess> {
  const running = startOrloj(["sandbox", "--port", "0"]);
  const [, url = ""] = await running.waitFor(/sandbox ready (\S+)/);
  const env = await exportedBy(startOrloj(["sandbox", "--env", "--port", new URL(url).port]));
  const token = env["ORLOJ_SECRET_OPERATIONS_TOKEN"] ?? "";
  const read = async (path: string) => {
    const response = await fetch(url + path, { headers: { authorization: `Bearer ${token}` } });
    return (await response.json()) as unknown;
  };
  return {
    env,
    effects: async () => (await read("/effects")) as Readonly<Record<string, number>>,
    async notices() {
      const { notices } = (await read("/notices")) as { notices: { event: unknown }[] };
      return notices.map(({ event }) => event);
    },
  };
}

async function exportedBy(printing: RunningProcess): Promise<Record<string, string>> {
  await printing.ended;
  return Object.fromEntries(
    [...printing.output.stdout.matchAll(/^export (\w+)='(.*)'$/gm)].map(([, name = "", value = ""]) => [name, value]),
  );
}
