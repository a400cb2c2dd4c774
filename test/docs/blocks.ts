// Reads the fenced blocks of a page: commands with the output that is shown after them, and the other languages.
// Called by run_pages.ts and fences.ts. Pure: text in, blocks out. What an info string may say is told in docs/README.md.

/** What a block may need that a machine with git, npm and Node need not have. Such a block is counted, and not run. */
export const NEEDS = [
  ...["docker", "kubectl", "helm", "root", "network", "systemd", "postgres", "model", "python", "go", "grpcurl"],
] as const;

const COMMAND_LANGUAGES = ["sh", "bash", "console"];
const LIMIT_SECONDS = 60;

/** A fenced block of any language. */
export interface Fence {
  /** Line of its first fence, from 1. */
  readonly line: number;
  readonly language: string;
  /** What follows the language. */
  readonly info: string;
  readonly text: string;
}

/** A block of commands, or commands in a comment that prepare the next one: `<!-- docs-test: before` … `-->`, each on a line of its own. */
export interface CommandBlock {
  readonly line: number;
  /** It is in a comment: readers do not see it, and it is not counted. */
  readonly hidden: boolean;
  /** What a shell is given. */
  readonly script: string;
  /** The output that the page shows; undefined if it shows none. */
  readonly shown: string | undefined;
  /** Why it is not run; undefined if it is. */
  readonly notRun: string | undefined;
  /** It starts something that stays until the page ends. */
  readonly background: boolean;
  readonly limitSeconds: number;
}

/** Every fenced block of a page, in order. @throws Error naming the line of a fence that is not closed */
export function fencesOf(page: string): Fence[] {
  const fences: Fence[] = [];
  let open: { line: number; mark: string; indent: string; language: string; info: string; text: string[] } | undefined;
  for (const [index, line] of page.split("\n").entries()) {
    if (open === undefined) {
      const [, indent = "", mark, language = "", info = ""] = /^( *)(`{3,}) *([^\s`]*) *([^`]*)$/.exec(line) ?? [];
      if (mark !== undefined) open = { line: index + 1, mark, indent, language, info: info.trim(), text: [] };
    } else if (line.trim() === open.mark) {
      const { line: at, language, info, text } = open;
      fences.push({ line: at, language, info, text: text.map((each) => `${each}\n`).join("") });
      open = undefined;
    } else {
      open.text.push(line.startsWith(open.indent) ? line.slice(open.indent.length) : line);
    }
  }
  if (open !== undefined) throw new Error(`line ${open.line}: this fence is not closed`);
  return fences;
}

/** The blocks of commands of a page, in order. @throws Error naming the line of an info string that means nothing */
export function commandBlocks(page: string): CommandBlock[] {
  const lines = page.split("\n");
  const fences = fencesOf(page);
  const hidden = [...page.matchAll(/^<!-- docs-test: before\n([\s\S]*?)^-->$/gm)].map(({ index, 1: script = "" }) => ({
    ...{ line: page.slice(0, index).split("\n").length, hidden: true, script, shown: undefined, notRun: undefined },
    ...{ background: false, limitSeconds: LIMIT_SECONDS },
  }));
  const shown = fences.flatMap((fence, index) => {
    if (!COMMAND_LANGUAGES.includes(fence.language)) return [];
    const next = fences[index + 1];
    const end = fence.line + fence.text.split("\n").length;
    const adjoins = next?.language === "text" && lines.slice(end, next.line - 1).every((line) => line.trim() === "");
    const { script, output } =
      fence.language === "console" ? session(fence) : { script: fence.text, output: undefined };
    return [
      { line: fence.line, hidden: false, script, shown: output ?? (adjoins ? next.text : undefined), ...tagsOf(fence) },
    ];
  });
  return [...hidden, ...shown].sort((one, other) => one.line - other.line);
}

// `$ command` lines and what they print, as a terminal shows them.
function session({ line, text }: Fence): { script: string; output: string | undefined } {
  const lines = text.trimEnd().split("\n");
  if (!lines[0]?.startsWith("$ ")) throw new Error(`line ${line}: a console block begins with "$ " and a command`);
  const commands = lines.filter((each) => each.startsWith("$ ")).map((each) => `${each.slice(2)}\n`);
  const output = lines.filter((each) => !each.startsWith("$ ")).map((each) => `${each}\n`);
  return { script: commands.join(""), output: output.length === 0 ? undefined : output.join("") };
}

function tagsOf({ line, info }: Fence): Pick<CommandBlock, "notRun" | "background" | "limitSeconds"> {
  const wrong = (what: string) =>
    new Error(`line ${line}: ${what}; docs/README.md says what a block may be tagged with`);
  let notRun: string | undefined;
  let background = false;
  let limitSeconds = LIMIT_SECONDS;
  let reason: string | undefined;
  for (const [word] of info.matchAll(/[^\s"]+(?:"[^"]*")?/g)) {
    const [name = "", value] = word.split(/=(.*)/s);
    if (name === "needs") {
      const unknown = (value ?? "").split(",").filter((each) => !(NEEDS as readonly string[]).includes(each));
      if (unknown.length > 0) throw wrong(`needs "${unknown.join(", ")}" is none of ${NEEDS.join(", ")}`);
      notRun = `needs ${value}`;
    } else if (name === "run" && value === "no") notRun ??= "run=no";
    else if (name === "reason" && value !== undefined) reason = value.replaceAll('"', "");
    else if (word === "background") background = true;
    else if (name === "limit" && /^[1-9]\d{0,2}s$/.test(value ?? "")) limitSeconds = Number.parseInt(value ?? "", 10);
    else throw wrong(`"${word}" is no tag`);
  }
  if (notRun === "run=no" && !reason) throw wrong('run=no needs reason="…"');
  if (notRun === undefined && reason !== undefined) throw wrong("a reason without run=no");
  return { notRun: notRun === "run=no" ? reason : notRun, background, limitSeconds };
}
