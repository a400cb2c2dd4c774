// What the chaos harness may be told: wrong options are refused with what is allowed, before anything starts.

import { expect, test } from "vitest";
import { command } from "../../scripts/command.ts";
import { readOptions } from "./options.ts";

test("options are read, the seed is drawn unless it is given", () => {
  expect(readOptions([], 7)).toMatchObject({ profile: { name: "ci" }, seed: 7, json: false, keep: false });
  const told = ["--profile", "full", "--seed", "12", "--json", "--keep"];
  expect(readOptions(told, 7)).toMatchObject({ profile: { name: "full" }, seed: 12, json: true, keep: true });
  expect(readOptions(["-h"], 7)).toBeUndefined();
});

test.each([
  [["--profile", "constructor"], '--profile: "constructor" is none of ci, full, try'],
  [["--seed", "-1"], "--seed"],
  [["--seed=1e3"], '--seed: "1e3" is not a whole number from 0 to 2147483647'],
  [["--seed", "2147483648"], "--seed"],
  [["--prfile", "ci"], "--profile P  how much is broken: ci, full, try"],
  [["ci"], "--json"],
])("%j is refused", (args, words) => {
  expect(() => readOptions(args, 7)).toThrow(words);
});

test("the program says so in a line and starts nothing", async () => {
  const { code, output } = await command("node", ["test/chaos/main.ts", "--profile", "big"]);
  expect({ code, output }).toEqual({ code: 2, output: 'chaos: --profile: "big" is none of ci, full, try\n' });
});
