// Looks at the commands of a block that is not run: a shell parses them, and what they call of this repository exists.
// Called by page_run.ts. Starts nothing but `bash -n` and `orloj --help`.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { command, ROOT } from "../../scripts/command.ts";

/** `orloj VERB` where a command stands: at the beginning, after variables and words of the shell, and not as a word of another command. */
const CALL =
  /(?:^|[;&|(]) *(?:(?:if|elif|then|else|while|until|do|!) +)*(?:\w+=\S* +|exec +|npx +|sudo +(?:-\w+ +\w+ +)*)*orloj +(?:--?[\w-]+ +)*([a-z][a-z-]*)/gm;

let verbs: Promise<ReadonlySet<string>> | undefined;

/** What is wrong with the commands, a line each. */
export async function uncheckedFaults(script: string): Promise<string[]> {
  const { code, output } = await command("bash", ["-n", "-c", script]);
  const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { scripts: object };
  verbs ??= readVerbs();
  const known = await verbs;
  const text = script.replaceAll("\\\n", " ").replace(/(^|\s)#.*$/gm, "$1");
  const called = [...text.matchAll(CALL)].map((match) => match[1] as string);
  const named = [...text.matchAll(/\bnpm run ([\w:-]+)/g)].map((match) => match[1] as string);
  return [
    ...(code === 0 ? [] : [`no shell reads this: ${output.trim()}`]),
    ...called.filter((verb) => !known.has(verb)).map((verb) => `there is no verb orloj ${verb}`),
    ...named.filter((name) => !(name in scripts)).map((name) => `there is no npm run ${name}`),
  ];
}

async function readVerbs(): Promise<ReadonlySet<string>> {
  const { stdout } = await command(process.execPath, [join(ROOT, "bin/orloj.ts"), "--help"]);
  const listed = stdout.slice(stdout.indexOf("Commands:"));
  return new Set([...listed.matchAll(/^ {2}([a-z][a-z-]*)/gm)].map((match) => match[1] as string));
}
