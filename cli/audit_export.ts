// The verbs `orloj audit export` and `orloj audit key`: the trail with its proofs, and the public key that they are checked with.
// Called by audit.ts. Prints NDJSON as it comes, whatever -o says, and waits for a slow reader.
// Never keeps a half export apart: one that broke off lacks its last line, and verify says so.

import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import type { Context } from "./context.ts";
import { parseMoment } from "./options.ts";

interface Options {
  readonly run?: string;
  readonly since?: string;
  readonly until?: string;
}

/** Adds the verbs to `audit`. */
export function registerExport(audit: Command, context: Context): void {
  audit
    .command("export")
    .description("Print the trail as NDJSON that `orloj audit verify` can check without a server.")
    .option("--run <run>", "only records of this run, with the hashes of all others between")
    .option("--since <time>", "from the segment of this time on: a duration back such as 15m, or RFC 3339")
    .option("--until <time>", "up to the signed head after this time")
    .action((options: Options) => exportTrail(context, options));
  audit
    .command("key")
    .description("Print the public key that the server signs heads of the trail with.")
    .action(() => printKey(context));
}

async function exportTrail(context: Context, options: Options): Promise<void> {
  const nowMs = context.host.clock.now();
  const { run, since, until } = options;
  const request = {
    ...(run === undefined ? {} : { runId: run }),
    ...(since === undefined ? {} : { startTime: timestampFromMs(parseMoment("--since", since, nowMs)) }),
    ...(until === undefined ? {} : { endTime: timestampFromMs(parseMoment("--until", until, nowMs)) }),
  };
  await context.interruptible(async (signal) => {
    for await (const { lines } of context.client.audit.exportAuditRecords(request, { signal })) {
      context.host.out(lines);
      await context.host.written();
    }
  });
  if (run !== undefined) {
    context.note("One run: verify shows that its records are unchanged, not that none was left out.");
  }
  context.next("orloj audit verify FILE --public-key KEY --heads FILE");
}

async function printKey(context: Context): Promise<void> {
  const { name, publicPem } = await context.client.audit.getAuditKey({});
  if (context.json) context.printJson({ name, publicPem });
  else context.print(publicPem.trimEnd());
}
