// Compiles TypeScript that a test wrote, as a strict project would: the compiler's own findings, with file, line and code.
// Called by the tests of generated types. One run of the compiler for all files; it takes a second or two.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "./folders.ts";
import { startProcess } from "./processes.ts";

const ROOT = join(import.meta.dirname, "../..");

/** Import path of the SDK's source, for files outside of the repository. */
export const SDK = join(ROOT, "sdk/index.ts");

const COMPILER_OPTIONS = {
  ...{ target: "es2024", module: "nodenext", types: ["node"], typeRoots: [join(ROOT, "node_modules/@types")] },
  ...{ noEmit: true, strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
  ...{ allowImportingTsExtensions: true, verbatimModuleSyntax: true, skipLibCheck: true },
};

/** A finding of the compiler. */
export interface TypeFinding {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** Such as TS2345. */
  readonly code: string;
  readonly message: string;
}

/** Files that were compiled. */
export interface TypeCheck {
  readonly folder: string;
  readonly findings: readonly TypeFinding[];
}

/** Writes the files into a folder of their own, and compiles them together. @throws if the compiler ends with anything but findings */
export async function typeCheck(files: Readonly<Record<string, string>>): Promise<TypeCheck> {
  const folder = await temporaryFolder("types");
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  await writeFile(join(folder, "package.json"), '{"type": "module"}');
  const project = { compilerOptions: COMPILER_OPTIONS, files: Object.keys(files) };
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify(project));
  const running = startProcess(join(ROOT, "node_modules/.bin/tsc"), ["--project", folder, "--pretty", "false"], {
    cwd: folder,
  });
  const { code } = await running.ended;
  const { stdout, stderr } = running.output;
  const found = [...stdout.matchAll(/^(.+?)\((\d+),\d+\): error (TS\d+): (.*)$/gm)];
  if ((code === 0) !== (found.length === 0) || stderr !== "") {
    throw new Error(`tsc ended with ${code}\n${stdout}\n${stderr}`);
  }
  const findings = found.map(([, file = "", line, id = "", message = ""]) => ({
    ...{ file, line: Number(line), code: id, message },
  }));
  return { folder, findings };
}
