// The verbs `orloj certs init`, `issue`, `rotate`, `revoke` and `show`: a CA for development and small installations, in a folder.
// Called by main.ts. Asks no server; what it says at the end is what servers and workers have to be told.
// JSON: init {"folder", "trustDomain", "files"}; issue, rotate and revoke {"certificates": […]}; show adds authorities and lists.

import { readFileSync } from "node:fs";
import { isAbsolute, join, relative, resolve } from "node:path";
import type { Command } from "commander";
import { TRUST_DOMAIN, TRUST_DOMAIN_RULE, WORKER_NAME, workerUri } from "../kit/spiffe.ts";
import { DAY, HOUR, parseDuration } from "../kit/units.ts";
import { isAddress } from "./certs/addresses.ts";
import type { Validity, Wanted } from "./certs/certificate.ts";
import type { CertsFolder, Entry } from "./certs/folder.ts";
import type { Context } from "./context.ts";
import { fileErrorWords, UsageError } from "./failure.ts";
import { duration, table } from "./format.ts";
import { collect } from "./options.ts";

const DIRECTORY = "certs";
const TRUST_DOMAIN_DEFAULT = "orloj.local";
const CA_VALID = "3650d";
const VALID = "90d";
const LISTS_VALID = "180d";
const HOST = /^(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9]([A-Za-z0-9-]{0,62}))*$/;
const FILE = /^(?!(ca|crl|index)$|worker-|client-)[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const KINDS = ["server", "worker", "client"] as const;

interface Shared {
  readonly dir: string;
  readonly listsValid: string;
}

interface IssueOptions extends Shared {
  readonly name?: string;
  readonly host?: string[];
  readonly valid: string;
}

interface RotateOptions extends Shared {
  readonly all?: boolean;
  readonly finish?: boolean;
  readonly valid?: string;
}

/** Adds the verbs to the program. */
export function register(program: Command, context: Context): void {
  const certs = program
    .command("certs")
    .description("Make, renew and revoke certificates of servers, workers and clients, from a CA in a folder.");
  shared(certs.command("init"))
    .description("Make a folder with a CA.")
    .option("--trust-domain <name>", "of the names in its certificates", TRUST_DOMAIN_DEFAULT)
    .option("--valid <duration>", "how long the CA is valid", CA_VALID)
    .action((options: Shared & { readonly trustDomain: string; readonly valid: string }) => init(context, options));
  shared(certs.command("issue"))
    .description("Issue a certificate with a new key, into new files.")
    .argument("<kind>", KINDS.join(", "))
    .option("--name <name>", "of the worker or client; of a server's files (default: server)")
    .option("--host <host>", "name or address that a server is reached at; repeatable", collect)
    .option("--valid <duration>", "how long it is valid", VALID)
    .action((kind: string, options: IssueOptions) => issue(context, kind, options));
  shared(certs.command("rotate"))
    .description("Renew certificates in their files; `ca` begins a new CA, `crl` signs the revocation lists anew.")
    .argument("[names...]", "files to renew, such as worker-w1; or ca; or crl")
    .option("--all", "every certificate that is not revoked")
    .option("--finish", "with ca: take the old CAs out, once no certificate of theirs is in use")
    .option("--valid <duration>", `how long they are valid (default: ${VALID}, a CA ${CA_VALID})`)
    .action((names: string[], options: RotateOptions) => rotate(context, names, options));
  shared(certs.command("revoke"))
    .description("Revoke a certificate: servers that have the lists take it no more.")
    .argument("<which>", "its file, such as worker-w1, or its serial number")
    .action((which: string, options: Shared) => revoke(context, which, options));
  shared(certs.command("show"))
    .description("Show the CA, what was issued, and what is revoked.")
    .action((options: Shared) => show(context, options));
}

function shared(command: Command): Command {
  return command
    .option("--dir <folder>", "folder of the CA", DIRECTORY)
    .option("--lists-valid <duration>", "how long revocation lists count before they must be signed anew", LISTS_VALID);
}

async function init(
  context: Context,
  options: Shared & { readonly trustDomain: string; readonly valid: string },
): Promise<void> {
  const { trustDomain } = options;
  if (!TRUST_DOMAIN.test(trustDomain)) {
    throw new UsageError(`--trust-domain ${trustDomain}: is no trust domain`, `use ${TRUST_DOMAIN_RULE}`);
  }
  const folder = await (await folders()).init(
    pathOf(context, options.dir),
    trustDomain,
    within(context, "--valid", options.valid),
    within(context, "--lists-valid", options.listsValid).untilMs,
  );
  const files = ["ca.crt", "ca.key", "ca.crl", "index.json"];
  if (context.json) {
    context.printJson({ folder: folder.path, trustDomain, files });
    return;
  }
  context.print(`a CA of the trust domain ${trustDomain} in ${shown(context, folder.path)}: ${files.join(", ")}`);
  context.note("Keep ca.key where only you can read it: whoever has it can be any worker and any client.");
  context.next(`orloj certs issue server --host NAME${dirFlag(options)}`);
}

async function issue(context: Context, kind: string, options: IssueOptions): Promise<void> {
  const known = KINDS.find((one) => one === kind);
  if (known === undefined) throw new UsageError(`"${kind}" is not issued`, `use one of ${KINDS.join(", ")}`);
  const folder = (await folders()).open(pathOf(context, options.dir));
  const { file, wanted } = wantedOf(known, options, folder.trustDomain);
  const entry = await folder.issue(file, known, wanted, within(context, "--valid", options.valid));
  await folder.writeLists(within(context, "--lists-valid", options.listsValid));
  tell(context, [entry]);
  if (!context.json) context.note(...nextSteps(context, folder, entry));
}

function wantedOf(kind: Entry["kind"], { name, host = [] }: IssueOptions, trustDomain: string) {
  if (kind === "server") {
    const file = name ?? "server";
    if (!FILE.test(file))
      throw new UsageError(`--name ${file}: is no name for a server's files`, "use letters, digits, dots and hyphens");
    if (host.length === 0) {
      throw new UsageError("a server's certificate needs --host", "give every name and address that it is reached at");
    }
    const wrong = host.find((one) => !HOST.test(one) && !isAddress(one));
    if (wrong !== undefined)
      throw new UsageError(`--host ${wrong}: is no name or address`, "leave out scheme and port");
    return { file, wanted: { commonName: file, use: "server", hosts: host } satisfies Wanted };
  }
  if (name === undefined || !WORKER_NAME.test(name)) {
    const why = name === undefined ? `a ${kind}'s certificate needs --name` : `--name ${name}: is no name of a ${kind}`;
    throw new UsageError(why, "use 1 to 63 letters, digits, dots and hyphens");
  }
  if (host.length > 0) throw new UsageError(`--host is for servers, and this is a ${kind}`, "leave it out");
  const uri = kind === "worker" ? workerUri(trustDomain, name) : `spiffe://${trustDomain}/client/${name}`;
  return { file: `${kind}-${name}`, wanted: { commonName: name, use: "client", uris: [uri] } satisfies Wanted };
}

async function rotate(context: Context, names: readonly string[], options: RotateOptions): Promise<void> {
  const folder = (await folders()).open(pathOf(context, options.dir));
  const lists = within(context, "--lists-valid", options.listsValid);
  const [only] = names;
  if (options.finish === true && only !== "ca")
    throw new UsageError("--finish belongs to the rotation of the CA", "orloj certs rotate ca --finish");
  if (names.length > 1 && (names.includes("ca") || names.includes("crl"))) {
    throw new UsageError("ca and crl stand alone", "one command each");
  }
  if (only === "ca") {
    await rotateAuthority(context, folder, options, lists);
    return;
  }
  if (only === "crl") {
    await folder.writeLists(lists);
    if (context.json) {
      context.printJson({ certificates: [] });
      return;
    }
    context.print(`${shown(context, join(folder.path, "ca.crl"))} signed anew`);
    return;
  }
  const current = [...new Set(folder.issued.map(({ file }) => file))].filter(
    (file) => folder.current(file)?.revokedMs === undefined,
  );
  const files = options.all === true ? current : names;
  if (files.length === 0) {
    throw new UsageError(
      "nothing to renew is named",
      "orloj certs rotate NAME…, or --all; orloj certs show lists them",
    );
  }
  const unknown = files.find((file) => folder.current(file) === undefined);
  if (unknown !== undefined)
    throw new UsageError(`${unknown} was not issued from this folder`, "orloj certs show lists what was");
  const validity = within(context, "--valid", options.valid ?? VALID);
  const entries: Entry[] = [];
  for (const file of files) entries.push(await folder.rotate(file, validity));
  await folder.writeLists(lists);
  tell(context, entries);
  if (!context.json)
    context.note("Servers and workers take the new files within 10 seconds; copy them to where they run.");
}

async function rotateAuthority(
  context: Context,
  folder: CertsFolder,
  options: RotateOptions,
  lists: Validity,
): Promise<void> {
  const isEnd = options.finish === true;
  const next = isEnd
    ? folder.finishRotation()
    : await folder.rotateAuthority(within(context, "--valid", options.valid ?? CA_VALID));
  await next.writeLists(lists);
  if (context.json) {
    context.printJson({ authorities: next.authorities.map(authorityJson) });
    return;
  }
  context.print(
    `${shown(context, join(next.path, "ca.crt"))} holds ${next.authorities.length === 1 ? "one CA" : `${next.authorities.length} CAs`}`,
  );
  if (isEnd) {
    context.next("copy ca.crt and ca.crl to servers and workers: the old CA counts no more");
    return;
  }
  context.note("Certificates of the old CA stay good. Copy ca.crt and ca.crl to every server and worker first; then:");
  context.next(
    `orloj certs rotate --all${dirFlag(options)}, copy the files, and orloj certs rotate ca --finish${dirFlag(options)}`,
  );
}

async function revoke(context: Context, which: string, options: Shared): Promise<void> {
  const folder = (await folders()).open(pathOf(context, options.dir));
  const entry = folder.revoke(which, context.host.clock.now());
  await folder.writeLists(within(context, "--lists-valid", options.listsValid));
  tell(context, [entry]);
  context.next(
    `copy ${shown(context, join(folder.path, "ca.crl"))} to every server: within half a minute it is taken no more, on open streams too`,
  );
}

async function show(context: Context, options: Shared): Promise<void> {
  const folder = (await folders()).open(pathOf(context, options.dir));
  const nowMs = context.host.clock.now();
  const lists = await listEnds(folder.path);
  if (context.json) {
    const certificates = folder.issued.map((entry) => entryJson(entry, stateOf(folder, entry, nowMs)));
    const authorities = folder.authorities.map(authorityJson);
    const ends = lists.map((ms) => ({ nextUpdateTime: new Date(ms).toISOString() }));
    context.printJson({ trustDomain: folder.trustDomain, authorities, certificates, revocationLists: ends });
    return;
  }
  const authorityRow = ({ subject, serialNumber, validTo }: CertsFolder["authorities"][number]) => {
    const untilMs = Date.parse(validTo);
    return ["ca", "ca", subject.replace(/^CN=/, ""), serialNumber, until(untilMs, nowMs), endState(untilMs, nowMs)];
  };
  const rows = [
    ...folder.authorities.map(authorityRow),
    ...lists.map((ms) => ["ca.crl", "list", "", "", until(ms, nowMs), endState(ms, nowMs)]),
    ...folder.issued.map((entry) => [
      ...[entry.file, entry.kind, namesOf(entry).join(","), entry.serial],
      ...[until(entry.untilMs, nowMs), stateOf(folder, entry, nowMs)],
    ]),
  ];
  context.print(...table(["FILE", "KIND", "NAMES", "SERIAL", "UNTIL", "STATE"], rows, context.paint));
  if (lists.some((ms) => ms <= nowMs)) context.next(`orloj certs rotate crl${dirFlag(options)}`);
}

function tell(context: Context, entries: readonly Entry[]): void {
  if (context.json) {
    context.printJson({
      certificates: entries.map((entry) => entryJson(entry, entry.revokedMs === undefined ? "valid" : "revoked")),
    });
    return;
  }
  for (const entry of entries) {
    const end = entry.revokedMs === undefined ? `until ${new Date(entry.untilMs).toISOString()}` : "revoked";
    context.print(`${entry.file}.crt: ${namesOf(entry).join(", ")}, serial ${entry.serial}, ${end}`);
  }
}

function nextSteps(context: Context, folder: CertsFolder, { file, kind, wanted }: Entry): string[] {
  const at = (name: string) => shown(context, join(folder.path, name));
  if (kind === "server") {
    const files = `--worker-tls-cert ${at(`${file}.crt`)} --worker-tls-key ${at(`${file}.key`)} --worker-tls-client-ca ${at("ca.crt")}`;
    const host = wanted.hosts?.every((one) => one === "localhost" || one.startsWith("127.")) ? "127.0.0.1" : "0.0.0.0";
    return [
      "Next:",
      `  orloj server --worker-host ${host} ${files} --worker-tls-crl ${at("ca.crl")} --worker-trust-domain ${folder.trustDomain}`,
      "  orloj certs issue worker --name NAME",
    ];
  }
  const tls = `--ca ${at("ca.crt")} --cert ${at(`${file}.crt`)} --key ${at(`${file}.key`)}`;
  if (kind === "worker")
    return ["Next, with these three files on the worker's machine:", `  orloj worker --server HOST:7602 ${tls}`];
  const client = `{uri: ${wanted.uris?.[0] ?? ""}, kind: service}`;
  return [
    `Next, with ${client} under identity.clients of the server's configuration, and a role for it:`,
    `  orloj runs --server https://HOST:7601 ${tls}`,
  ];
}

function namesOf({ wanted }: Entry): readonly string[] {
  return [...(wanted.uris ?? []), ...(wanted.hosts ?? [])];
}

function stateOf(folder: CertsFolder, entry: Entry, nowMs: number): string {
  if (entry.revokedMs !== undefined) return "revoked";
  if (entry.untilMs <= nowMs) return "expired";
  if (folder.current(entry.file) !== entry) return "replaced";
  return folder.isOfNewestCa(entry) ? "valid" : "valid, of an old CA";
}

function endState(untilMs: number, nowMs: number): string {
  return untilMs <= nowMs ? "expired" : "valid";
}

function until(untilMs: number, nowMs: number): string {
  const left = untilMs > nowMs ? ` (${duration(untilMs - nowMs)})` : "";
  return `${new Date(untilMs).toISOString().slice(0, 10)}${left}`;
}

async function listEnds(path: string): Promise<number[]> {
  const { readRevocationLists } = await import("../kit/revocation_list.ts");
  const file = join(path, "ca.crl");
  try {
    return readRevocationLists(readFileSync(file)).flatMap(({ nextUpdateMs }) => nextUpdateMs ?? []);
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${fileErrorWords(error)}`, "orloj certs rotate crl signs it anew");
  }
}

function entryJson(entry: Entry, state: string) {
  const { file, kind, serial, untilMs, revokedMs } = entry;
  const revokeTime = revokedMs === undefined ? {} : { revokeTime: new Date(revokedMs).toISOString() };
  return {
    file,
    kind,
    serial,
    names: [...namesOf(entry)],
    expireTime: new Date(untilMs).toISOString(),
    state,
    ...revokeTime,
  };
}

function authorityJson({ subject, serialNumber, validTo }: CertsFolder["authorities"][number]) {
  return { subject, serial: serialNumber, expireTime: new Date(Date.parse(validTo)).toISOString() };
}

function within(context: Context, flag: string, text: string): Validity {
  const ms = parseDuration(text);
  if (ms === undefined || ms < HOUR || ms > 7_300 * DAY) {
    throw new UsageError(`${flag} ${text}: use a duration from 1h to 7300d, such as ${VALID}`);
  }
  const fromMs = context.host.clock.now();
  return { fromMs, untilMs: fromMs + ms };
}

// Loaded by the verbs that have begun, and not for their help or completion: what makes certificates is large.
async function folders() {
  return (await import("./certs/folder.ts")).CertsFolder;
}

function pathOf(context: Context, dir: string): string {
  return resolve(context.host.directory, dir);
}

function shown(context: Context, path: string): string {
  const way = relative(context.host.directory, path);
  return way.startsWith("..") || isAbsolute(way) ? path : way || ".";
}

function dirFlag({ dir }: Shared): string {
  return dir === DIRECTORY ? "" : ` --dir ${dir}`;
}
