// The verb `orloj audit verify`: checks an export with the public key and, if given, the heads that left the database. Asks no server.
// Called by audit.ts. Reads the file line by line, so a long trail needs no more memory than a short one.
// Exit codes: 0 nothing is wrong, 1 something is, 2 a file cannot be read or is no key.

import { createReadStream, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { StringDecoder } from "node:string_decoder";
import type { Command } from "commander";
import { DomainError } from "../kit/errors.ts";
import { MIB } from "../kit/units.ts";
import { type Checkpoint, keyName, type PublicKeys, publicKeyOf } from "../server/audit/checkpoint.ts";
import { readLine } from "../server/audit/export_lines.ts";
import type { Finding } from "../server/audit/findings.ts";
import { TrailVerifier, type Verification } from "../server/audit/trail_verifier.ts";
import type { Context } from "./context.ts";
import { EXIT, UsageError } from "./failure.ts";
import { collect } from "./options.ts";
import { safeLine } from "./sanitize.ts";

/** Longest line that is read, in characters; the longest that is written has less than a tenth of it. */
const LINE_CHARS_MAX = 8 * MIB;
const MORE_SHOWN = 10;

interface Options {
  readonly publicKey: string[];
  readonly heads?: string[];
}

/** Adds the verb to `audit`. */
export function registerVerify(audit: Command, context: Context): void {
  audit
    .command("verify <file>")
    .description("Check an export without a server; name the first record that is wrong, and how.")
    .requiredOption(
      "--public-key <file>",
      "PEM of a key that signed heads, from `orloj audit key`; repeatable",
      collect,
    )
    .option("--heads <file>", "heads that the server exported, in order; repeatable", collect)
    .action((file: string, options: Options) => verify(context, file, options));
}

async function verify(context: Context, file: string, options: Options): Promise<void> {
  const path = (name: string) => resolve(context.host.directory, name);
  const keys = readKeys(options.publicKey.map(path));
  const heads = (options.heads ?? []).flatMap((name) => readHeads(path(name)));
  const result = await verifyFile(path(file), new TrailVerifier({ keys, heads }));
  context.exitCode = result.first === undefined ? EXIT.ok : EXIT.failed;
  if (context.json) {
    context.printJson({
      ...{ verified: result.first === undefined, first: result.first ? { ...result.first } : null },
      findings: result.findings.map((finding) => ({ ...finding })),
      ...{ segments: result.segments, records: result.records, heads: result.heads },
      ...{ firstSequence: result.firstSequence, lastSequence: result.lastSequence },
      ...{ unsigned: result.unsigned, unsealed: result.unsealed, filter: { ...result.filter } },
      removal: result.removal ? { ...result.removal } : null,
    });
  } else show(context, result, options.heads !== undefined);
}

/** Feeds a file to a verifier. @throws UsageError for a file that cannot be read */
export async function verifyFile(path: string, verifier: TrailVerifier): Promise<Verification> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: MIB })) {
      const lines = (rest + decoder.write(chunk as Buffer)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) verifier.line(line);
      if (rest.length > LINE_CHARS_MAX)
        throw new UsageError(`${path}: a line is longer than ${LINE_CHARS_MAX} characters`);
    }
  } catch (error) {
    throw error instanceof UsageError ? error : unreadable(path, error);
  }
  rest += decoder.end();
  if (rest !== "") verifier.line(rest);
  return verifier.end();
}

function readKeys(paths: readonly string[]): PublicKeys {
  const keys = paths.map((path) => {
    try {
      return publicKeyOf(readText(path), path);
    } catch (error) {
      throw error instanceof DomainError ? new UsageError(error.message, "orloj audit key > KEY") : error;
    }
  });
  return new Map(keys.map((key) => [keyName(key), key]));
}

// A line that a crash of the server cut off is passed over, as the server passes over it.
function readHeads(path: string): Checkpoint[] {
  const lines = readText(path).split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines.flatMap((text, index) => {
    const line = readLine(text);
    if (typeof line !== "string" && line.type === "head") {
      const { type: _, ...head } = line;
      return [head];
    }
    if (line === "is no JSON") return [];
    const problem = typeof line === "string" ? line : "is no signed head";
    throw new UsageError(
      `${path}: line ${index + 1} ${problem}`,
      "give the file that the server writes with --audit-heads",
    );
  });
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): UsageError {
  return new UsageError(`${path} cannot be read: ${(error as Error).message}`, "name a file that exists");
}

function show(context: Context, result: Verification, withHeads: boolean): void {
  const { first, findings, filter } = result;
  const { records, segments, heads, unsigned, unsealed, removal } = result;
  if (first !== undefined) {
    const rest = findings.filter((finding) => finding !== first);
    context.print(findingLine(first), ...rest.slice(0, MORE_SHOWN).map((finding) => `  also ${findingLine(finding)}`));
    if (rest.length > MORE_SHOWN) context.print(`  and ${rest.length - MORE_SHOWN} more`);
  } else {
    const range = records === 0 ? "" : `, ${result.firstSequence} to ${result.lastSequence}`;
    context.print(`verified: ${records} records in ${segments} segments${range}; ${heads} signed heads`);
  }
  const notes = [
    unsigned > 0 && first === undefined && `The last ${unsigned} records have no signed head yet.`,
    unsealed > 0 && `${unsealed} records are not sealed yet: nothing proves them or their number.`,
    filter.runId !== "" && `Records of ${safeLine(filter.runId)} alone: nothing shows that none of them was left out.`,
    removal !== undefined &&
      `Records 1 to ${result.firstSequence - 1} were removed by retention: see record ${safeLine(removal.id)} of ${safeLine(removal.time)}.`,
    !withHeads && "Without --heads a trail whose end was cut off together with its heads looks whole.",
  ];
  context.note(...notes.filter((note) => note !== false));
}

function findingLine({ kind, id, sequence, segment, message }: Finding): string {
  const which = id === undefined ? `record number ${sequence}` : `record ${id}, number ${sequence}`;
  return safeLine(`${kind}: ${which}, segment ${segment}: ${message}`);
}
