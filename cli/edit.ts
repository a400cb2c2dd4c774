// The verb `orloj edit`: opens a stored manifest in the person's editor and applies what comes back.
// Called by main.ts. The file is temporary and its owner's alone (0600); without a change nothing is sent. What others stored meanwhile is
// never written over (VERSION_CHANGED); what the server refuses stands as comments on top, and the editor opens again.
// When it ends with an error after a change, the file stays and is named: no work is lost.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { parseAllDocuments } from "yaml";
import { isJsonObject, type Json } from "../kit/json.ts";
import { type ApplyResult, Code, type Diagnostic, OrlojError, type Resource } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { diagnosticLine, UsageError } from "./failure.ts";
import { kindOf, splitKindName } from "./kinds.ts";
import { safeLine } from "./sanitize.ts";
import { manifestYaml } from "./yaml_output.ts";

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("edit")
    .description("Open a stored manifest in your editor ($VISUAL, $EDITOR, vi) and apply what you save.")
    .argument("<kind[/name]>", "kind, or kind and name")
    .argument("[name]", "name")
    .option("-n, --namespace <name>", "namespace (default: default)")
    .action(async (first: string, second: string | undefined, options: { readonly namespace?: string }) => {
      const { kind, name } = splitKindName(first, second);
      if (name === undefined) throw new UsageError("name the resource to edit", `orloj edit ${kind} NAME`);
      const wanted = { kind: kindOf(kind), namespace: options.namespace ?? "", name };
      const { resource } = await context.client.manifests.getResource(wanted);
      if (resource === undefined) return;
      await edit(context, resource);
    });
}

async function edit(context: Context, resource: Resource): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "orloj-edit-"));
  const file = join(folder, `${resource.kind.toLowerCase()}-${resource.name}.yaml`);
  const session: Session = { file, resource, text: manifestYaml(resource.manifestJson) };
  let changed = false;
  let done = false;
  try {
    let notes: readonly string[] = [];
    for (let last = session.text; !done; ) {
      const text = await opened(context, session, last, notes);
      if (withoutBlanks(text) === withoutBlanks(last)) {
        if (notes.length > 0) throw new UsageError("the manifest is as it was when it was refused; nothing was stored");
        done = true;
        context.print("no change; nothing was stored");
        return;
      }
      changed = true;
      last = text;
      const outcome = await tried(context, session, text);
      notes = "refused" in outcome ? outcome.refused : [];
      if ("result" in outcome) {
        done = true;
        tell(context, outcome.result);
      }
    }
  } catch (error) {
    if (changed) context.note(safeLine(`what you wrote is in ${file}`));
    else done = true;
    throw error;
  } finally {
    if (done) rmSync(folder, { recursive: true, force: true });
  }
}

interface Session {
  readonly file: string;
  readonly resource: Resource;
  readonly text: string;
}

/** Writes the file with comments on top, waits for the editor, and reads what is below them; of an empty file, what was. */
async function opened(
  context: Context,
  { file, resource }: Session,
  text: string,
  notes: readonly string[],
): Promise<string> {
  const lines = [
    `# ${resource.kind} ${resource.namespace}/${resource.name}, generation ${resource.generation}. Save and leave to apply it.`,
    "# Leave it as it is, or empty, and nothing happens. Comments are not stored.",
    ...(notes.length === 0 ? [] : ["#", ...notes.map((note) => `# ${note}`)]),
  ];
  writeFileSync(file, `${lines.join("\n")}\n${text}`, { mode: 0o600 });
  await runEditor(context, file);
  const written = readFileSync(file, "utf8");
  const rest = written.replace(/^(?:#.*\n)*/, "");
  return withoutBlanks(rest) === "" ? text : rest;
}

async function runEditor(context: Context, file: string): Promise<void> {
  const editor = context.host.env["VISUAL"] || context.host.env["EDITOR"] || "vi";
  // Through a shell, as every program does: the variable may hold arguments, as in "code --wait".
  const child = spawn("sh", ["-c", `${editor} "$1"`, "sh", file], { stdio: "inherit", env: context.host.env });
  const code = await new Promise<number | null>((ended) => {
    child.once("error", () => ended(127));
    child.once("exit", (status) => ended(status));
  });
  if (code === 0) return;
  const next = code === 127 ? "set EDITOR to an editor that is installed" : "leave it without an error to apply";
  throw new UsageError(`the editor "${editor}" ended with ${code ?? "a signal"}; nothing was stored`, next);
}

/** Applies what was written. @returns what was done, or lines that say why not */
async function tried(
  context: Context,
  { file, resource }: Session,
  text: string,
): Promise<{ readonly result: ApplyResult } | { readonly refused: readonly string[] }> {
  const other = anotherResource(text, resource);
  if (other !== undefined) return { refused: [other] };
  try {
    const response = await context.client.manifests.apply({
      files: [{ name: file, content: text }],
      defaultNamespace: resource.namespace,
      expectedGeneration: resource.generation,
    });
    context.note(...response.diagnostics.map(diagnosticLine));
    return { result: response.results[0] as ApplyResult };
  } catch (error) {
    const failure = OrlojError.from(error);
    if (failure.code !== Code.InvalidArgument) throw failure;
    const lines =
      failure.diagnostics.length === 0 ? [failure.message] : failure.diagnostics.map((one) => findingLine(one));
    context.note(...lines.map(safeLine), "the editor opens again");
    return { refused: lines.map(safeLine) };
  }
}

// Lines are counted from the first one of the manifest, below the comments on top.
function findingLine({ line, column, code, path, message, hint }: Diagnostic): string {
  const where = line > 0 ? `line ${line} of the manifest, column ${column}: ` : "";
  return `${where}[${code}] ${path === "" ? "" : `${path}: `}${message}${hint === "" ? "" : ` (${hint})`}`;
}

// Another name would make another resource and leave this one.
function anotherResource(text: string, resource: Resource): string | undefined {
  const documents = parseAllDocuments(text);
  const [only, second] = documents;
  if (only === undefined || second !== undefined)
    return `edit is for one manifest, and there are ${documents.length}: orloj apply`;
  if (only.errors.length > 0) return undefined;
  const value = only.toJS() as Json;
  if (!isJsonObject(value)) return undefined;
  const metadata = isJsonObject(value["metadata"]) ? value["metadata"] : {};
  const is = [value["kind"], metadata["namespace"] ?? resource.namespace, metadata["name"]].join("/");
  const was = [resource.kind, resource.namespace, resource.name].join("/");
  return is === was
    ? undefined
    : `kind, name and namespace stay: this is ${was}, not ${is} (orloj apply makes another resource)`;
}

function tell(context: Context, result: ApplyResult): void {
  const { kind, namespace, name, action, generation } = result;
  if (context.json) context.printJson({ kind, namespace, name, action, generation: String(generation) });
  else context.print(safeLine(`${action.padEnd(10)}  ${kind}/${namespace}/${name}  generation ${generation}`));
}

function withoutBlanks(text: string): string {
  return text.replace(/\s+$/gm, "").trim();
}
