// The verb `orloj audit`, and `orloj audit list`: reads the audit trail, oldest first, and follows it.
// Called by main.ts.
// JSON: {"items": […], "more": …}; with --follow one record a line. A lost stream is taken up after the last record.

import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { type AuditRecord, AuditRecordSchema } from "../sdk/index.ts";
import { registerExport } from "./audit_export.ts";
import { describeRecord } from "./audit_text.ts";
import { registerVerify } from "./audit_verify.ts";
import type { Context } from "./context.ts";
import { following } from "./following.ts";
import { instant } from "./format.ts";
import { presentable } from "./json_output.ts";
import { type Listing, showListing } from "./listing.ts";
import { collect, parseLimit, parseMoment } from "./options.ts";
import { allPages, type Pages } from "./pages.ts";
import { safeLine } from "./sanitize.ts";

interface Options {
  readonly namespace?: string;
  readonly run?: string;
  readonly task?: string;
  readonly kind?: string[];
  readonly since?: string;
  readonly until?: string;
  readonly limit: number;
  readonly pageToken?: string;
  readonly follow?: boolean;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  const audit = program.command("audit").description("Read the audit trail, export it, and verify an export.");
  audit
    .command("list")
    .description("List audit records, oldest first.")
    .option("-n, --namespace <name>", "only this namespace")
    .option("--run <run>", "only records of this run")
    .option("--task <task>", "only records of this task")
    .option("--kind <kind>", "only this kind, or a prefix that ends in a dot, such as task.; repeatable", collect)
    .option("--since <time>", "from this time: a duration back such as 15m, or RFC 3339")
    .option("--until <time>", "before this time")
    .option("--limit <count>", "records at most", parseLimit, 1_000)
    .option("--page-token <token>", "go on where an earlier call ended")
    .option("--follow", "go on with new records until interrupted")
    .action((options: Options) => (options.follow ? follow(context, options) : list(context, options)));
  registerExport(audit, context);
  registerVerify(audit, context);
  for (const command of audit.commands) command.exitOverride();
}

/** All records that a filter lets through, up to a limit. */
export async function auditRecords(
  context: Context,
  filter: ReturnType<typeof filterOf>,
  limit: number,
  startToken = "",
): Promise<Pages<AuditRecord>> {
  return allPages(
    async (pageToken, pageSize) => {
      const page = await context.client.audit.listAuditRecords({ filter, pageToken, pageSize });
      return { items: page.records, nextPageToken: page.nextPageToken };
    },
    limit,
    1_000,
    startToken,
  );
}

function filterOf(options: Partial<Options>, nowMs: number) {
  const { since, until } = options;
  return {
    namespace: options.namespace ?? "",
    runId: options.run ?? "",
    taskId: options.task ?? "",
    kinds: options.kind ?? [],
    ...(since === undefined ? {} : { startTime: timestampFromMs(parseMoment("--since", since, nowMs)) }),
    ...(until === undefined ? {} : { endTime: timestampFromMs(parseMoment("--until", until, nowMs)) }),
  };
}

/** The filter for everything about a run. */
export function filterOfRun(runId: string): ReturnType<typeof filterOf> {
  return filterOf({ run: runId }, 0);
}

async function list(context: Context, options: Options): Promise<void> {
  const filter = filterOf(options, context.host.clock.now());
  await showListing(context, RECORDS, options, (limit, pageToken) => auditRecords(context, filter, limit, pageToken));
}

function detailOf(record: AuditRecord): string {
  const { detail, transitions } = describeRecord(record, new Map());
  return [detail, ...transitions].filter((part) => part !== "").join("; ");
}

const RECORDS: Listing<AuditRecord> = {
  what: "records",
  widest: 100,
  columns: [
    { header: "ID", cell: (record) => String(record.id) },
    { header: "TIME", cell: (record) => instant(record.time) },
    { header: "KIND", cell: (record) => describeRecord(record, new Map()).kind },
    { header: "RUN", cell: (record) => record.runId || record.namespace || "-" },
    { header: "SUBJECT", cell: (record) => describeRecord(record, new Map()).subject || "-" },
    { header: "ACTOR", cell: (record) => describeRecord(record, new Map()).actor },
    { header: "TRACE", wide: true, cell: (record) => record.traceId || "-" },
    { header: "DETAIL", cell: detailOf },
  ],
  name: (record) => String(record.id),
  json: (record) => presentable(AuditRecordSchema, record),
  none: "No audit records found.",
};

async function follow(context: Context, options: Options): Promise<void> {
  const filter = filterOf(options, context.host.clock.now());
  let afterId = 0n;
  const show = (records: readonly AuditRecord[]) => {
    for (const record of records) {
      if (record.id > afterId) afterId = record.id;
      if (context.json) context.printJsonLine(presentable(AuditRecordSchema, record));
      else context.print(recordLine(record));
    }
  };
  if (options.since !== undefined || options.run !== undefined || options.task !== undefined) {
    show((await auditRecords(context, filter, options.limit)).items);
  }
  const open = (signal: AbortSignal) => context.client.audit.watchAuditRecords({ filter, afterId }, { signal });
  await following(context, open, ({ records }) => show(records), "resume");
}

function recordLine(record: AuditRecord): string {
  const { kind, subject, actor, ...words } = describeRecord(record, new Map());
  const detail = [words.detail, ...words.transitions].filter((part) => part !== "").join("; ");
  return [instant(record.time), kind, safeLine(record.runId), subject, actor, detail]
    .filter((part) => part !== "")
    .join("  ");
}
