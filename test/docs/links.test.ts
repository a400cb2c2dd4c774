// The pages against the tree: every relative link and every file that is named exists; the lists of kinds, variables, flags and
// reasons are those of the code, each exactly once.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { CONFIG_NAMES } from "../../kit/config_names.ts";
import { AUDIT_KINDS } from "../../server/audit/events.ts";
import { SERVER_HELP } from "../../server/config.ts";
import { TASK_CLASSES, TOOL_CLASSES } from "../../server/manifests/retry.ts";
import { CODES } from "../../server/rpc/error_map.ts";
import { WORKER_HELP } from "../../worker/config.ts";

const ROOT = join(import.meta.dirname, "../..");
const PAGES = [...pagesIn(ROOT, false), ...pagesIn(join(ROOT, "docs"), true), ...pagesIn(join(ROOT, "examples"), true)];
/** What a path in backticks ends in. A bare name may stand for a file beside the page or beside another one that is named there. */
const FILE = /`([\w.@-]+(?:\/[\w.@-]+)*\.(?:ts|yaml|proto|md|json|sql))`/g;
/** Made by programs or told as an example, not part of the tree. */
const NOT_IN_TREE = new Set(["config.json", ".orloj/config.json", "orloj.schema.json", ".vscode/settings.json"]);

function pagesIn(folder: string, deep: boolean): string[] {
  return readdirSync(folder, { recursive: deep, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => relative(ROOT, join(folder, name)));
}

function read(page: string): string {
  return readFileSync(join(ROOT, page), "utf8");
}

function withoutCode(text: string): string {
  return text.replace(/^ *```[\s\S]*?^ *```/gm, "");
}

// As GitHub makes them: lower case, punctuation gone, spaces to hyphens.
function anchorsOf(page: string): string[] {
  return [...withoutCode(read(page)).matchAll(/^#+ (.+)$/gm)].map((match) =>
    (match[1] as string)
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}

/** First column of every table row under a heading, or of the whole page. */
function firstColumn(page: string, pattern: RegExp): string[] {
  const cells = [...read(page).matchAll(/^ *\| ([^|]+) \|/gm)].map((match) => match[1] as string);
  return cells.flatMap((cell) => [...cell.matchAll(pattern)].map((match) => match[1] as string));
}

function sorted(values: readonly string[]): string[] {
  return [...values].sort();
}

test("the pages are found", () => {
  expect(PAGES.length).toBeGreaterThan(15);
  expect(PAGES).toContain("README.md");
  expect(PAGES).toContain("docs/audit.md");
});

describe.each(PAGES)("%s", (page) => {
  test("links lead to files and headings that exist", () => {
    const links = [...withoutCode(read(page)).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] as string);
    const broken = links.filter((link) => {
      if (/^[a-z]+:/.test(link)) return false;
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? page : relative(ROOT, join(ROOT, dirname(page), path));
      if (!existsSync(join(ROOT, target))) return true;
      return anchor !== undefined && !anchorsOf(target).includes(anchor);
    });
    expect(broken).toEqual([]);
  });

  test("files that are named exist", () => {
    const named = [...withoutCode(read(page)).matchAll(FILE)].map((match) => match[1] as string);
    const folders = new Set(["", dirname(page), ...named.map((name) => dirname(name))]);
    const missing = named.filter(
      (name) => !NOT_IN_TREE.has(name) && ![...folders].some((folder) => existsSync(join(ROOT, folder, name))),
    );
    expect(missing).toEqual([]);
  });
});

test("docs/audit.md lists every audit kind once, and no other", () => {
  const kinds = firstColumn("docs/audit.md", /`((?:[a-z_]+\.[a-z_]+)|decision)`/g);
  expect(sorted(kinds)).toEqual(sorted(AUDIT_KINDS));
});

test("docs/configuration.md lists every variable once, and no other", () => {
  const table = read("docs/configuration.md").split("\n## Flags\n")[0] as string;
  const cells = [...table.matchAll(/^\| ([^|]+) \|/gm)].map((match) => match[1] as string);
  const names = cells.flatMap((cell) => [...cell.matchAll(/`(ORLOJ_[A-Z_]+)`/g)].map((match) => match[1] as string));
  expect(sorted(names)).toEqual(sorted(CONFIG_NAMES));
});

test.each([
  ["server", SERVER_HELP],
  ["worker", WORKER_HELP],
])("docs/configuration.md lists every flag of orloj %s once, and no other", (program, help) => {
  const tables = read("docs/configuration.md").split("\n## Flags\n")[1] as string;
  const table = tables.split("\n\n").find((part) => part.trimStart().startsWith(`| \`orloj ${program}\``)) ?? "";
  const listed = [...table.matchAll(/^\| ([^|]+) \|/gm)].flatMap((row) =>
    [...(row[1] as string).matchAll(/`(--[a-z-]+)/g)].map((match) => match[1] as string),
  );
  const known = [...help.matchAll(/^ {2}(?:-h, )?(--[a-z-]+)/gm)].map((match) => match[1] as string);
  expect(sorted(listed)).toEqual(sorted(known.filter((flag) => flag !== "--help")));
});

test("docs/errors.md lists every reason once, and no other", () => {
  expect(sorted(firstColumn("docs/errors.md", /`([A-Z]+(?:_[A-Z]+)+)`/g))).toEqual(sorted(Object.keys(CODES)));
});

test("docs/errors.md lists every failure class that a retry policy may name", () => {
  const [, tasks = "", tools = ""] = read("docs/errors.md").split("\n## ");
  const unlisted = (classes: readonly string[], section: string) =>
    classes.filter((name) => !section.includes(`\`${name}\``));
  expect(unlisted(TOOL_CLASSES, tools)).toEqual([]);
  // A tool that fails its task does so as ToolFailed.
  const own = TASK_CLASSES.filter((name) => !(TOOL_CLASSES as readonly string[]).includes(name));
  expect(unlisted(own, tasks)).toEqual([]);
});
