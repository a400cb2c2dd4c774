// How a Dockerfile and a .dockerignore are read, what is refused in them, and what ours must say.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseDockerfile } from "../../scripts/dockerfile.ts";
import { ignoring } from "../../scripts/image_replay.ts";

const ROOT = join(import.meta.dirname, "../..");
const read = (name: string) => readFileSync(join(ROOT, name), "utf8");
const json = (name: string) => JSON.parse(read(name)) as Record<string, unknown>;
const stages = parseDockerfile(read("Dockerfile"));
const last = stages.at(-1);

describe("reading", () => {
  test("continued lines, comments, quotes, flags", () => {
    const text = `# a
FROM node:1 AS build
RUN one && \\
  # between
  two
FROM node:1
ENV A=b C="d e"
COPY --from=build --chown=1:2 /x /y /z/
HEALTHCHECK --interval=1s CMD ["node", "-e", "0"]`;
    expect(parseDockerfile(text)).toEqual([
      { line: 2, base: "node:1", name: "build", steps: [{ kind: "RUN", line: 3, text: "one && two" }] },
      {
        ...{ line: 6, base: "node:1" },
        steps: [
          { kind: "ENV", line: 7, pairs: { A: "b", C: "d e" } },
          { kind: "COPY", line: 8, from: "build", owner: { uid: 1, gid: 2 }, sources: ["/x", "/y"], target: "/z/" },
          { kind: "HEALTHCHECK", line: 9, words: ["node", "-e", "0"] },
        ],
      },
    ]);
  });

  test.each([
    ["", /there is no FROM/],
    ["RUN x", /Dockerfile:1: RUN before the first FROM/],
    ["FROM a\nADD x y", /Dockerfile:2: ADD is not an instruction/],
    ["FROM a\nCOPY --link x y", /only --from=STAGE and --chown/],
    ["FROM a\nCOPY --from=none x y", /no earlier stage/],
    ["FROM a\nCOPY x y z", /with \/ at its end/],
    ["FROM a\nCOPY x", /a source and a target/],
    ["FROM a\nCMD orloj server", /write the words as JSON/],
    ["FROM a\nENV A b", /write NAME=value/],
    ["FROM a\nRUN x \\", /has no end/],
  ])("%s is refused", (text, message) => {
    expect(() => parseDockerfile(text)).toThrow(message);
  });

  test("a .dockerignore leaves out names at the root, and names and endings anywhere", () => {
    const ignored = ignoring("# c\ndocs\n**/dist\n**/*.tgz\n");
    expect(["docs", "docs/a.md", "dist", "sdk/dist/x", "a/b.tgz"].filter((path) => !ignored(path))).toEqual([]);
    expect(["", "a/docs", "docs.md", "distant", "a.tgz/b"].filter(ignored)).toEqual([]);
    expect(() => ignoring("!keep")).toThrow(/not known/);
    expect(() => ignoring("a/*.b")).toThrow(/not known/);
  });
});

describe("ours", () => {
  test("every stage begins with the Node that this clone pins", () => {
    const pinned = Object.values(json("bin/package.json")["optionalDependencies"] as Record<string, string>);
    expect(new Set(stages.map(({ base }) => base))).toEqual(
      new Set(pinned.map((version) => `node:${version}-bookworm-slim`)),
    );
  });

  test("it says its version, runs as a user without rights, and stops on SIGTERM", () => {
    const steps = last?.steps ?? [];
    const labels = steps.flatMap((step) => (step.kind === "LABEL" ? [step.pairs] : []));
    expect(labels.map((pairs) => pairs["org.opencontainers.image.version"])).toEqual([json("package.json")["version"]]);
    expect(steps.flatMap((step) => (step.kind === "USER" ? [step.text] : []))).toEqual(["1000:1000"]);
    expect(steps.flatMap((step) => (step.kind === "EXPOSE" ? [step.ports] : []))).toEqual([[7601, 7602, 7603]]);
    expect(steps.filter((step) => step.kind === "RUN")).toEqual([]);
    expect(steps.some((step) => step.kind === "HEALTHCHECK")).toBe(true);
  });

  test("the build copies every folder that the product is built from, and no secret could come along", () => {
    const copied = (stages[0]?.steps ?? []).flatMap((step) => (step.kind === "COPY" ? step.sources : []));
    const { files } = json("tsconfig.build.json") as { files: string[] };
    const rooms = new Set(files.map((file) => file.split("/")[0] as string));
    expect([...rooms].filter((room) => !copied.includes(room))).toEqual([]);
    expect(copied.filter((path) => /^\.$|^\.orloj|certs/.test(path))).toEqual([]);
    const ignored = ignoring(read(".dockerignore"));
    const all = [
      ...copied,
      ...(last?.steps ?? []).flatMap((step) => (step.kind === "COPY" && step.from === undefined ? step.sources : [])),
    ];
    expect(all.filter(ignored)).toEqual([]);
    const examples = readdirSync(join(ROOT, "examples"), { recursive: true }) as string[];
    expect(examples.map((path) => `examples/${path}`).filter(ignored)).toEqual([]);
  });
});
