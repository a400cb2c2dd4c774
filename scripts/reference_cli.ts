// Makes docs/reference/cli.md: every command with its arguments, options, defaults and examples, from the program itself.
// Called by reference.ts, and by test/cli/reference.test.ts, which holds the page to it. Programs that read their own options (server,
// worker, …) are asked for their --help, as a person would.

import { tmpdir } from "node:os";
import type { Argument, Command, Option } from "commander";
import type { CliHost } from "../cli/context.ts";
import { EXAMPLES } from "../cli/examples.ts";
import { allVerbs, type WholeVerb } from "../cli/main.ts";
import { systemClock } from "../kit/clock.ts";
import { mustRun } from "./command.ts";

const HEAD = `# Reference of the command

Made from the command itself by \`npm run reference\`; [cli.md](../cli.md) says what the verbs are for, and which options
every verb takes: \`--server\`, \`--token\`, \`--ca\`, \`--cert\`, \`--key\`, \`--output\`, \`--no-color\`.
`;

/** The page. */
export async function cliReference(): Promise<string> {
  const verbs = await allVerbs(HOST);
  const index = [...verbs].map(([name, { summary }]) => `| [\`orloj ${name}\`](#orloj-${name}) | ${cell(summary)} |`);
  const sections = await Promise.all([...verbs].map(([name, verb]) => sectionOf(name, verb)));
  return [HEAD, "| command | |", "|---|---|", ...index, "", ...sections].join("\n");
}

async function sectionOf(name: string, verb: WholeVerb): Promise<string> {
  if (verb.command === undefined) {
    const stdout = await mustRun(process.execPath, ["bin/orloj.ts", name, "--help"]);
    return [`## orloj ${name}`, "", "```text", stdout.trimEnd(), "```", ""].join("\n");
  }
  const formats = verb.formats.map((format) => `\`${format}\``).join(", ");
  return [...commandLines(verb.command, [name], "##"), `Formats (\`-o\`): ${formats}.`, ""].join("\n");
}

function commandLines(command: Command, words: readonly string[], heading: string): string[] {
  const title = ["orloj", ...words].join(" ");
  const inner = command.commands.filter((one) => one.name() !== "help");
  const usage = inner.length > 0 ? `${title} COMMAND` : `${title} ${command.usage()}`;
  return [
    ...[`${heading} ${title}`, "", `\`${usage.trim()}\``, "", command.description(), ""],
    ...table(["argument", "meaning", "default"], command.registeredArguments.map(argumentRow)),
    ...table(["option", "meaning", "default"], command.options.map(optionRow)),
    ...exampleLines(words),
    ...inner.flatMap((one) => commandLines(one, [...words, one.name()], `${heading}#`)),
  ];
}

function argumentRow(argument: Argument): string[] {
  return [
    `\`${argument.name()}\``,
    argument.description,
    argument.required ? "required" : shown(argument.defaultValue),
  ];
}

function optionRow(option: Option): string[] {
  const choices = option.argChoices === undefined ? "" : `: ${option.argChoices.join(", ")}`;
  return [
    `\`${option.flags}\``,
    `${option.description}${choices}`,
    option.mandatory ? "required" : shown(option.defaultValue),
  ];
}

function shown(value: unknown): string {
  return value === undefined || value === false
    ? ""
    : `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
}

function table(head: readonly string[], rows: readonly string[][]): string[] {
  if (rows.length === 0) return [];
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(" | ")} |`.replace(/ +\|/g, " |");
  return [line(head), `|${"---|".repeat(head.length)}`, ...rows.map(line), ""];
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

function exampleLines(words: readonly string[]): string[] {
  const lines = EXAMPLES[words.join(" ")] ?? [];
  return lines.length === 0 ? [] : [...lines.map((line) => `    ${line}`), ""];
}

// Verbs are registered and never run.
const HOST: CliHost = {
  env: {},
  directory: tmpdir(),
  clock: systemClock(),
  out: () => undefined,
  written: () => Promise.resolve(),
  err: () => undefined,
  readInput: () => Promise.resolve(""),
  terminal: () => undefined,
  onInterrupt: () => () => undefined,
};
