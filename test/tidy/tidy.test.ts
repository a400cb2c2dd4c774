// The house rules that a machine can check: arrows between rooms, cycles, SQL and wire types in their places, size, headers, doc
// comments, banned calls, unfinished work, names. Each rule lists every offender with its line.

import { basename } from "node:path";
import { describe, expect, test } from "vitest";
import { ARROWS, MAIN_IMPORTERS, mayImport, PACKAGE_ROOMS, PURE_PACKAGES, roomOf } from "./rooms.ts";
import { lineAt, readSources, type Source } from "./sources.ts";

const LINES_MAX = 400;
const HEADER_LINES = { min: 2, max: 12 };

const sources = readSources();
const product = sources.filter((source) => roomOf(source.path) !== undefined);

function matches(
  files: readonly Source[],
  pattern: RegExp,
  text: (source: Source) => string = (source) => source.code,
) {
  return files.flatMap((source) =>
    [...text(source).matchAll(pattern)].map(
      (match) => `${source.path}:${lineAt(source.text, match.index)} ${match[0].trim()}`,
    ),
  );
}

test("the scan sees the repository", () => {
  expect(product.length).toBeGreaterThan(20);
  expect(sources.find((source) => source.path === "test/tidy/tidy.test.ts")?.imports).toContainEqual({
    target: "test/tidy/rooms.ts",
    relative: true,
    typeOnly: false,
  });
});

describe("arrows", () => {
  test("rooms import only what their arrows allow", () => {
    const wrong = product.flatMap((source) => {
      const from = roomOf(source.path) as string;
      return source.imports
        .filter((entry) => entry.relative && !(entry.target in MAIN_IMPORTERS))
        .filter((entry) => !mayImport(from, roomOf(entry.target) ?? "outside the product", entry.typeOnly))
        .map((entry) => `${source.path} imports ${entry.target}`);
    });
    expect(wrong).toEqual([]);
  });

  test("only the command that starts a program imports its main", () => {
    const wrong = sources.flatMap((source) =>
      source.imports
        .filter(
          (entry) => MAIN_IMPORTERS[entry.target]?.includes(source.path) === false && !source.path.startsWith("test/"),
        )
        .map((entry) => `${source.path} imports ${entry.target}`),
    );
    expect(wrong).toEqual([]);
  });

  test("pure rooms import only the packages they are allowed", () => {
    const wrong = product.flatMap((source) => {
      const allowed = PURE_PACKAGES[roomOf(source.path) as string];
      if (allowed === undefined) return [];
      return source.imports
        .filter(
          (entry) =>
            !entry.relative && !allowed.some((name) => entry.target === name || entry.target.startsWith(`${name}/`)),
        )
        .map((entry) => `${source.path} imports ${entry.target}`);
    });
    expect(wrong).toEqual([]);
  });

  test("packages that belong to some rooms stay there", () => {
    const wrong = product.flatMap((source) =>
      source.imports
        .filter((entry) => !entry.typeOnly)
        .flatMap((entry) =>
          PACKAGE_ROOMS.filter(
            (rule) => rule.packages.test(entry.target) && !rule.rooms.includes(roomOf(source.path) as string),
          ).map((rule) => `${source.path} imports ${entry.target}: ${rule.why}`),
        ),
    );
    expect(wrong).toEqual([]);
  });

  test("every room on disk has its arrows", () => {
    const unknown = sources.filter((source) => /^(server|worker)\/[^/]+\//.test(source.path));
    expect(unknown.filter((source) => !/\//.test(roomOf(source.path) ?? "")).map((source) => source.path)).toEqual([]);
    expect(Object.keys(PURE_PACKAGES).filter((room) => !(room in ARROWS))).toEqual([]);
  });

  test("no file imports itself through others", () => {
    const graph = new Map(
      sources.map((source) => [
        source.path,
        source.imports.filter((entry) => entry.relative && !entry.typeOnly).map((entry) => entry.target),
      ]),
    );
    expect(findCycle(graph)).toEqual([]);
  });
});

// The first cycle found, as a path; empty if there is none.
function findCycle(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (node: string): string[] => {
    const start = path.indexOf(node);
    if (start >= 0) return [...path.slice(start), node];
    if (done.has(node)) return [];
    path.push(node);
    for (const next of graph.get(node) ?? []) {
      const cycle = visit(next);
      if (cycle.length > 0) return cycle;
    }
    path.pop();
    done.add(node);
    return [];
  };
  for (const node of graph.keys()) {
    const cycle = visit(node);
    if (cycle.length > 0) return cycle;
  }
  return [];
}

test("SQL is written under server/storage only", () => {
  const others = product.filter((source) => roomOf(source.path) !== "server/storage");
  const sql =
    /["'`]\s*(SELECT\s[\s\S]{1,200}?\sFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+TABLE|ALTER\s+TABLE)\s/g;
  expect(matches(others, sql, (source) => source.text)).toEqual([]);
});

describe("files", () => {
  test(`no file is longer than ${LINES_MAX} lines`, () => {
    const long = sources.map((source) => ({ path: source.path, lines: source.text.trimEnd().split("\n").length }));
    expect(long.filter((file) => file.lines > LINES_MAX)).toEqual([]);
  });

  test("every file begins with a header", () => {
    const wrong = sources.flatMap((source) => {
      const lines = source.text.split("\n").slice(source.text.startsWith("#!") ? 1 : 0);
      const end = lines.findIndex((line) => !line.startsWith("//"));
      const min = source.path.startsWith("test/") ? 1 : HEADER_LINES.min;
      return end < min || end > HEADER_LINES.max ? [`${source.path}: ${end} lines`] : [];
    });
    expect(wrong).toEqual([]);
  });

  test("names are snake_case and say what is inside", () => {
    const shape = /^[a-z0-9]+(_[a-z0-9]+)*(\.test|\.config)?\.ts$/;
    const vague = /^(utils?|helpers?|common|lib|misc|manager|shared)\b/;
    const wrong = sources.filter(
      ({ path }) => !shape.test(basename(path)) || path.split("/").some((part) => vague.test(part)),
    );
    expect(wrong.map((source) => source.path)).toEqual([]);
  });

  test("every export has a doc comment", () => {
    const wrong = sources
      .filter(({ path }) => !path.startsWith("test/") || /^test\/(harness|tidy)\//.test(path))
      .filter(({ path }) => !path.endsWith(".test.ts"))
      .flatMap((source) => {
        const lines = source.text.split("\n");
        return lines.flatMap((line, index) => {
          const name =
            /^export (?:default )?(?:abstract |async |declare )*(?:function\*?|class|const|let|interface|type)\s+(\w+)/.exec(
              line,
            );
          if (name === null) return [];
          const above = lines[index - 1] ?? "";
          const overload = lines.slice(0, index).some((other) => other.startsWith(`export function ${name[1]}`));
          return above.trimEnd().endsWith("*/") || overload ? [] : [`${source.path}:${index + 1} ${name[1]}`];
        });
      });
    expect(wrong).toEqual([]);
  });
});

describe("code", () => {
  // The SDK stands alone and has its clock and randomness in one file; main files make the real ones for the rest.
  const clockless = product.filter(
    ({ path }) => !path.startsWith("kit/") && !/(^|\/)main\.ts$/.test(path) && path !== "sdk/host.ts",
  );

  test("clocks, timers and randomness come in by constructor", () => {
    const calls =
      /\b(Date\.now|Math\.random|performance\.now|process\.hrtime|setTimeout|setInterval)\b|\bnew Date\(\)/g;
    expect(matches(clockless, calls)).toEqual([]);
  });

  test("only command-line programs print", () => {
    const quiet = product.filter(({ path }) => !/^(cli|bin)\//.test(path));
    expect(matches(quiet, /\bconsole\.\w+/g)).toEqual([]);
  });

  test("nothing is left unfinished", () => {
    const marks = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"].join("|")})\\b`, "g");
    expect(matches(sources, marks, (source) => source.text)).toEqual([]);
    expect(
      matches(sources, /not (yet )?implemented/gi, (source) => source.text).filter(
        (line) => !line.startsWith("test/tidy/"),
      ),
    ).toEqual([]);
  });

  test("no test is skipped or run alone", () => {
    expect(matches(sources, /\b(test|it|describe|suite)\.(skip|todo|only|skipIf|runIf|fails)\b/g)).toEqual([]);
  });
});
