// Everything under deploy/ sets variables, flags and verbs that the programs know, tells no secret, and names the image of this release.

import { expect, test } from "vitest";
import { CONFIG_NAMES } from "../../kit/config_names.ts";
import { SERVER_HELP } from "../../server/config.ts";
import { WORKER_HELP } from "../../worker/config.ts";
import { filesBelow, read } from "./manifests.ts";

const FILES = ["compose", "helm", "kubernetes", "systemd"].flatMap((folder) =>
  filesBelow(folder, "").filter((path) => /\.(yaml|service|cfg|sh|tpl|txt|json)$/.test(path)),
);
const all = FILES.map((path) => ({ path, text: read(path) }));
const found = (pattern: RegExp) =>
  all.flatMap(({ path, text }) => [...text.matchAll(pattern)].map((match) => ({ path, word: match[1] as string })));

test("variables are known to server or worker", () => {
  const names = found(/\b(ORLOJ_[A-Z][A-Z_]*[A-Z])\b/g);
  expect(new Set(names.map(({ word }) => word)).size).toBeGreaterThan(15);
  expect(names.filter(({ word }) => !CONFIG_NAMES.includes(word))).toEqual([]);
});

test("flags of server, worker and migrate are known", () => {
  const help = `${SERVER_HELP}${WORKER_HELP} --server-role --maintenance-role `;
  // Lines that run programs of others begin them with CMD, or with their name.
  const lines = all.flatMap(({ text }) => text.split("\n")).filter((line) => !/CMD|psql|curl|#/.test(line));
  const flags = lines.flatMap((line) =>
    [...line.matchAll(/(?<=[[\s])(--[a-z-]+)=/g)].map((match) => match[1] as string),
  );
  expect(new Set(flags).size).toBeGreaterThanOrEqual(5);
  expect(flags.filter((flag) => !help.includes(`${flag} `))).toEqual([]);
});

test("the image is that of this release", () => {
  const { version } = JSON.parse(read("../package.json")) as { version: string };
  const images = found(/image: (orloj:\S+)/g);
  expect(images.length).toBeGreaterThan(3);
  expect(images.filter(({ word }) => word !== `orloj:${version}`)).toEqual([]);
});

test("no password and no key is written down", () => {
  const secrets = found(/(postgres(?:ql)?:\/\/[^"\s]*:[^"\s$@]+@|-----BEGIN|(?:password|token): *["']?\w{8,})/gi);
  expect(secrets).toEqual([]);
});
