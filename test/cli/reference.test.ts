// docs/reference/cli.md is what the command says, and every command's help has examples that the command itself understands.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { expect, test, vi } from "vitest";
import { EXAMPLES } from "../../cli/examples.ts";
import { allVerbs } from "../../cli/main.ts";
import { systemClock } from "../../kit/clock.ts";
import { cliReference } from "../../scripts/reference_cli.ts";
import { runOrloj, runVerb } from "./run_orloj.ts";

// Each test starts processes; a loaded machine may take seconds for one.
vi.setConfig({ testTimeout: 60_000 });

const HOST = {
  env: {},
  directory: "/",
  clock: systemClock(),
  out: () => undefined,
  written: () => Promise.resolve(),
  err: () => undefined,
  readInput: () => Promise.resolve(""),
  terminal: () => undefined,
  onInterrupt: () => () => undefined,
};
/** What every command takes. */
const GLOBAL = ["--context", "--server", "--token", "--ca", "--cert", "--key", "--output", "-o", "--no-color"];
const VERBS = await allVerbs(HOST);

/** Commands that do something themselves, by their words. */
function leaves(command: Command, words: readonly string[]): [string, Command][] {
  const inner = command.commands.filter((one) => one.name() !== "help");
  return inner.length === 0
    ? [[words.join(" "), command]]
    : inner.flatMap((one) => leaves(one, [...words, one.name()]));
}

const LEAVES = [...VERBS].flatMap(([name, { command }]) => (command === undefined ? [] : leaves(command, [name])));

test("docs/reference/cli.md is current; `npm run reference` writes it", async () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/reference/cli.md"), "utf8");
  expect(page).toBe(await cliReference());
});

test("every command has examples, and no example is of a command that is not there", () => {
  expect(Object.keys(EXAMPLES).sort()).toEqual(LEAVES.map(([words]) => words).sort());
});

test.each(LEAVES)(
  "orloj %s: its examples name options that it has, and its help ends with them",
  async (words, command) => {
    const lines = EXAMPLES[words] ?? [];
    const known = new Set([...GLOBAL, ...command.options.flatMap(({ short, long }) => [short, long])]);
    for (const line of lines) {
      const own = line
        .replace(/"[^"]*"/g, '""')
        .replace(/^\w+="" /, "")
        .split(/ [|>&] ?/)[0] as string;
      expect(own).toMatch(new RegExp(`^orloj ${words}(?: |$)`));
      const flags = [...own.matchAll(/(?<= )(--?[a-z][a-z-]*)/g)].map((match) => match[1] as string);
      expect([line, flags.filter((flag) => !known.has(flag))]).toEqual([line, []]);
    }
    const help = await runVerb([...words.split(" "), "--help"]);
    expect(help.code).toBe(0);
    expect(help.out).toContain(`\nExamples:\n  ${lines[0]}`);
  },
);

test.each([...VERBS].filter(([, { command }]) => command === undefined).map(([name]) => name))(
  "orloj %s --help ends with examples",
  async (name) => {
    const { code, out } = await runOrloj([name, "--help"]);
    expect({ code, out }).toEqual({ code: 0, out: expect.stringMatching(/\nExamples:\n {2}orloj /) });
    expect(out).toContain(`orloj ${name}`);
  },
);
