// An agent in plain TypeScript, and the worker that brings it. Start it instead of, or beside, `orloj worker`; it reads the same variables.
// The two tool calls run side by side. Both are decided by policies and recorded, so a crash repeats neither.

import { createWorker, type Handler, workerOptions } from "orloj/worker";

interface Input {
  readonly last: number;
}

interface Output {
  readonly title: string;
  readonly subjects: readonly string[];
  readonly authors: number;
}

// What the tools of the manifest take and give, said once: ctx.tools is checked by the compiler.
interface Tools {
  "git-log"(args: Input): Promise<{ readonly stdout: string }>;
  "git-authors"(args: Input): Promise<{ readonly stdout: string }>;
}

const lines = ({ stdout }: { readonly stdout: string }) => stdout.split("\n").filter((line) => line !== "");

const changes: Handler<Input, Output, Tools> = async ({ last }, ctx) => {
  const [log, authors] = await Promise.all([ctx.tools["git-log"]({ last }), ctx.tools["git-authors"]({ last })]);
  // A day that is asked for twice may be another one: what is not a tool's, and must stay as it was, is recorded.
  const day = await ctx.record("day", () => new Date().toISOString().slice(0, 10));
  const subjects = lines(log);
  ctx.log("info", "read the history", { commits: subjects.length });
  return { title: `${subjects.length} changes up to ${day}`, subjects, authors: new Set(lines(authors)).size };
};

const worker = createWorker({
  ...workerOptions(process.env),
  handlers: { changes },
  onReady: (session) => process.stdout.write(`worker ready (session ${session})\n`),
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void worker.stop());
await worker.start();
await worker.ended;
