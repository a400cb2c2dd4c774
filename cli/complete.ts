// What may come next on a command line, one a line, with a tab and some words: for the shells (completion.ts).
// Called by main.ts for the hidden word __complete. Never fails and never says anything else: a prompt is no place for errors.
// Options and verbs come from the program itself; names from contexts, and from the server if it answers at once.

import type { Command, Option } from "commander";
import { type Given, namesFor } from "./complete_names.ts";
import { FILES } from "./completion.ts";
import type { CliHost } from "./context.ts";
import { safeLine } from "./sanitize.ts";

/** What may come next. */
export interface Candidate {
  readonly value: string;
  readonly about?: string;
}

/** Options whose values are names of files. */
const FILE_OPTIONS = new Set([
  ...["--ca", "--cert", "--key", "--filename", "--out", "--params-file", "--token-file", "--home", "--programs"],
  ...["--public-key", "--heads", "--dir"],
]);
const FILE_VERBS = new Set(["backup", "restore"]);

/**
 * The lines for a shell.
 *
 * @param words   after `orloj`; the last one is being typed, and may be empty.
 * @param load    the program with the verb of the line, and its options.
 */
export async function completionLines(
  words: readonly string[],
  host: CliHost,
  load: (verb: string | undefined) => Promise<Command>,
): Promise<string[]> {
  const typed = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const program = await load(verbOf(before));
  const place = placeOf(program, before);
  const found = await candidatesAt(program, place, typed, host);
  if (found === "files") return [FILES];
  return found
    .filter(({ value }) => value.startsWith(typed))
    .map(({ value, about = "" }) => `${safeLine(value)}\t${safeLine(about).replaceAll("\t", " ")}`);
}

// Where on the line the cursor is: in which command, after how many arguments, after which option that wants a value.
interface Place {
  readonly command: Command;
  readonly path: readonly string[];
  readonly given: readonly string[];
  readonly option: Option | undefined;
  readonly options: Given;
}

function placeOf(program: Command, before: readonly string[]): Place {
  let command = program;
  const path: string[] = [];
  const given: string[] = [];
  const options: Record<string, string> = {};
  let option: Option | undefined;
  for (const word of before) {
    if (option !== undefined) {
      options[option.attributeName()] = word;
      option = undefined;
    } else if (word.startsWith("-") && word !== "-") {
      const [flag = "", value] = word.split("=", 2);
      const known = [...command.options, ...program.options].find((one) => one.short === flag || one.long === flag);
      if (known?.required === true && value === undefined) option = known;
      else if (known !== undefined) options[known.attributeName()] = value ?? "";
    } else {
      const inner = given.length === 0 ? command.commands.find((one) => one.name() === word) : undefined;
      if (inner === undefined) given.push(word);
      else {
        command = inner;
        path.push(word);
      }
    }
  }
  return { command, path, given, option, options };
}

function verbOf(before: readonly string[]): string | undefined {
  return before.find((word, index) => !word.startsWith("-") && !isValue(before[index - 1]));
}

function isValue(earlier: string | undefined): boolean {
  return earlier !== undefined && /^(--(context|server|token|ca|cert|key|output)|-o)$/.test(earlier);
}

async function candidatesAt(
  program: Command,
  { command, path, given, option, options }: Place,
  typed: string,
  host: CliHost,
): Promise<readonly Candidate[] | "files"> {
  if (option !== undefined) {
    if (option.argChoices !== undefined) return option.argChoices.map((value) => ({ value }));
    if (FILE_OPTIONS.has(option.long ?? "")) return "files";
    return await namesFor({ option: option.long ?? "", path, given, typed, options }, host);
  }
  if (typed.startsWith("-")) {
    const known = [...command.options, ...(command === program ? [] : program.options)];
    return known.flatMap(({ long, description }) => (long === undefined ? [] : [{ value: long, about: description }]));
  }
  if (command.commands.length > 0 && given.length === 0) {
    return command.commands
      .filter((one) => !one.name().startsWith("_"))
      .map((one) => ({ value: one.name(), about: one.description() }));
  }
  const argument = command.registeredArguments[Math.min(given.length, command.registeredArguments.length - 1)];
  if (argument === undefined || (given.length >= command.registeredArguments.length && !argument.variadic)) return [];
  if (argument.argChoices !== undefined) return argument.argChoices.map((value) => ({ value }));
  if (FILE_VERBS.has(path[0] ?? "")) return "files";
  return await namesFor({ path, given, typed, options }, host);
}
