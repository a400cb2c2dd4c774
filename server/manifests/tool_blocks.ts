// Reads and writes the http and command blocks of a tool, with the rules that make insertions safe: no shell, no executable
// chosen by arguments, no credential written out. What may stand in an address says tool_address.ts.
// Called by tool.ts. What depends on the value of an insertion is refused when it is rendered (server/grant), not here.

import type { JsonObject } from "../../kit/json.ts";
import { KIB, MIB } from "../../kit/units.ts";
import type { Findings } from "./diagnostics.ts";
import { checkTemplate } from "./expressions.ts";
import { compact, Fields, readStringList } from "./fields.ts";
import { checkSecrets } from "./secret_rule.ts";
import type { ToolSpec } from "./specs.ts";
import { readAddress, readHeaders, TOOL_VARIABLES } from "./tool_address.ts";
import type { ScalarTree, Tree } from "./tree.ts";

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;
const SHELLS = new Set([
  "sh",
  "bash",
  "zsh",
  "dash",
  "ash",
  "ksh",
  "csh",
  "tcsh",
  "fish",
  "cmd",
  "cmd.exe",
  "powershell",
  "powershell.exe",
  "pwsh",
]);
const SHELL_FLAG = /^(?:-[a-z]*c|\/[ck]|-command|-encodedcommand)$/i;
/** Output of a command that declares no limit, in bytes. */
export const COMMAND_OUTPUT_BYTES = 64 * KIB;

type Http = NonNullable<ToolSpec["http"]>;
type Command = NonNullable<ToolSpec["command"]>;

/** Reads an http block. */
export function readHttp(findings: Findings, tree: Tree, path: string): Http | undefined {
  const fields = Fields.of(findings, tree, path, ["method", "url", "headers", "body", "allowPrivateNetwork"]);
  if (fields === undefined) return undefined;
  const method = fields.oneOf("method", METHODS, "POST");
  if (!fields.has("method")) fields.missing("method");
  const url = readAddress(fields, "url");
  const headersTree = fields.get("headers");
  const headers = headersTree === undefined ? {} : readHeaders(findings, headersTree, fields.at("headers"));
  const bodyTree = fields.get("body");
  if (bodyTree !== undefined) {
    checkTemplate(findings, bodyTree, fields.at("body"), TOOL_VARIABLES);
    checkSecrets(findings, bodyTree, fields.at("body"));
    if (method === "GET" || method === "HEAD") {
      findings.error(
        "E-VALUE",
        fields.positionOf("body"),
        fields.at("body"),
        `a ${method} request has no body`,
        "remove it or use POST",
      );
    }
  }
  const body = fields.json("body");
  const allowPrivateNetwork = fields.boolean("allowPrivateNetwork", false);
  if (url === undefined) return undefined;
  return { method, url, headers, ...(body !== undefined && { body }), allowPrivateNetwork };
}

/** Reads a command block. */
export function readCommand(findings: Findings, tree: Tree, path: string): Command | undefined {
  const fields = Fields.of(findings, tree, path, ["argv", "stdin", "workDir", "env", "maxOutputBytes"]);
  if (fields === undefined) return undefined;
  const argvTree = fields.required("argv");
  const argv = argvTree && readArgv(findings, argvTree, fields.at("argv"));
  const stdinTree = fields.get("stdin");
  if (stdinTree !== undefined) {
    checkTemplate(findings, stdinTree, fields.at("stdin"), TOOL_VARIABLES);
    checkSecrets(findings, stdinTree, fields.at("stdin"));
  }
  const workDir = readWorkDir(fields);
  const env = readEnvironment(fields);
  const maxOutputBytes = fields.integer("maxOutputBytes", { min: 1, max: 1 * MIB }, COMMAND_OUTPUT_BYTES);
  const stdin = fields.json("stdin");
  if (argv === undefined) return undefined;
  return {
    argv,
    ...(stdin !== undefined && { stdin }),
    ...(workDir !== undefined && { workDir }),
    env,
    maxOutputBytes,
  };
}

/** Reads a work directory, which is fixed. */
export function readWorkDir(fields: Fields): string | undefined {
  const workDir = fields.string("workDir");
  if (workDir !== undefined && (workDir.includes("${{") || workDir.split("/").includes(".."))) {
    const message = "the work directory is fixed: no insertion and no ..";
    fields.findings.error("E-VALUE", fields.positionOf("workDir"), fields.at("workDir"), message, "write it out");
  }
  return workDir;
}

/** Reads the environment of a process, whose values are templates. */
export function readEnvironment(fields: Fields, variables = TOOL_VARIABLES): Record<string, string> {
  const { findings } = fields;
  const tree = fields.get("env");
  if (tree !== undefined) {
    checkTemplate(findings, tree, fields.at("env"), variables);
    checkSecrets(findings, tree, fields.at("env"));
  }
  const env = fields.strings("env");
  for (const name of Object.keys(env)) {
    if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) continue;
    const path = `${fields.at("env")}.${name}`;
    findings.error("E-NAME", fields.positionOf("env"), path, `"${name}" is not a variable name`);
  }
  return env;
}

/** Reads the words of a command: a program that is written out, and its arguments; never a line for a shell. */
export function readArgv(findings: Findings, tree: Tree, path: string): string[] | undefined {
  if (tree.kind === "scalar" && typeof tree.value === "string") {
    const words = JSON.stringify(tree.value.trim().split(/\s+/).slice(0, 6)).replaceAll(",", ", ");
    findings.error(
      "E-SHELL",
      tree.at,
      path,
      "a command is a list of arguments, never a line for a shell",
      `write ${words}`,
    );
    return undefined;
  }
  const before = findings.errors;
  const argv = readStringList(findings, tree, path);
  if (findings.errors > before || tree.kind !== "list") return undefined;
  const [program] = tree.items as readonly ScalarTree[];
  if (program === undefined || argv[0] === "") {
    findings.error("E-VALUE", tree.at, path, "a command needs a program", 'for example [jq, ".items"]');
    return undefined;
  }
  checkTemplate(findings, tree, path, TOOL_VARIABLES);
  checkSecrets(findings, tree, path);
  if ((argv[0] as string).includes("${{")) {
    findings.error("E-SHELL", program.at, `${path}[0]`, "the program takes no insertion", "write its name out");
  }
  for (const [index, word] of argv.entries()) {
    const name = word.split(/[\\/]/).at(-1) as string;
    if (!SHELLS.has(name.toLowerCase()) || !argv.slice(index + 1).some((other) => SHELL_FLAG.test(other))) continue;
    const at = (tree.items[index] as Tree).at;
    findings.error(
      "E-SHELL",
      at,
      `${path}[${index}]`,
      `"${name}" would run a line as a shell`,
      "name the program itself and its arguments",
    );
    break;
  }
  return argv;
}

/** Reports an insertion in a command whose words are fixed. @param what names the command */
export function refuseInsertions(
  findings: Findings,
  tree: Tree,
  argv: readonly string[],
  path: string,
  what: string,
): void {
  const inserting = argv.findIndex((word) => word.includes("${{"));
  // One in the program itself was reported as what it is.
  if (inserting < 1 || tree.kind !== "list") return;
  const at = (tree.items[inserting] as Tree).at;
  findings.error("E-VALUE", at, `${path}[${inserting}]`, `${what} takes no insertion`, "hand secrets over in env");
}

/** The http block as a manifest would say it. */
export function httpJson(http: Http): JsonObject {
  const { method, url, headers, body, allowPrivateNetwork } = http;
  return compact({ method, url, headers: { ...headers }, body, allowPrivateNetwork });
}

/** The command block as a manifest would say it. */
export function commandJson(command: Command): JsonObject {
  const { argv, stdin, workDir, env, maxOutputBytes } = command;
  return compact({ argv: [...argv], stdin, workDir, env: { ...env }, maxOutputBytes });
}
