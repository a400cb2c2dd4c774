// Mistyped environment variables are found; those that belong to others are left alone.

import { expect, test } from "vitest";
import { CONFIG_NAMES, unknownConfigNames } from "../../kit/config_names.ts";
import { readSources } from "../tidy/sources.ts";

test("every listed name is known, once, and begins with ORLOJ_", () => {
  expect(new Set(CONFIG_NAMES).size).toBe(CONFIG_NAMES.length);
  for (const name of CONFIG_NAMES) expect(name).toMatch(/^ORLOJ_[A-Z]+(_[A-Z]+)*$/);
  expect(unknownConfigNames(Object.fromEntries(CONFIG_NAMES.map((name) => [name, "x"])))).toEqual([]);
});

test("names that nobody reads are listed in order, even when empty", () => {
  const env = { ORLOJ_WORKER_PROT: "1", ORLOJ_HOME: "/h", ORLOJ_: "x", ORLOJ_HOMES: "", ORLOJ_home: "y" };
  expect(unknownConfigNames(env)).toEqual(["ORLOJ_", "ORLOJ_HOMES", "ORLOJ_WORKER_PROT", "ORLOJ_home"]);
});

test("secrets may have any name, but a misspelt folder of secrets is no secret", () => {
  expect(unknownConfigNames({ ORLOJ_SECRET_github: "x", ORLOJ_SECRET_A_B: "y" })).toEqual([]);
  expect(unknownConfigNames({ ORLOJ_SECRETS_DIRS: "x", ORLOJ_SECRET: "y" })).toEqual([
    "ORLOJ_SECRET",
    "ORLOJ_SECRETS_DIRS",
  ]);
});

test("variables of other programs are left alone", () => {
  expect(unknownConfigNames({ PATH: "/bin", ORLO: "x", orloj_home: "y", MY_ORLOJ_HOME: "z", ORLOJ: "w" })).toEqual([]);
});

test("every listed name is read somewhere beside the list", () => {
  const readers = readSources().filter(({ path }) => path !== "kit/config_names.ts" && !path.startsWith("test/kit/"));
  expect(
    CONFIG_NAMES.filter((name) => !readers.some((source) => new RegExp(`[."]${name}\\b`).test(source.text))),
  ).toEqual([]);
});
