// The diagrams in the READMEs of the examples are what `orloj graph` draws of the manifests beside them: a picture that is
// drawn by hand goes wrong with the first change. Held to it is every Mermaid block that names its system as the command does.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { runOrloj } from "../cli/run_orloj.ts";

const EXAMPLES = join(import.meta.dirname, "../../examples");
// Each drawing is a process; a loaded machine may take seconds for one.
const TIMEOUT_MS = 60_000;

const DRAWN = (readdirSync(EXAMPLES, { recursive: true }) as string[])
  .filter((name) => name.endsWith("README.md"))
  .flatMap((readme) =>
    [
      ...readFileSync(join(EXAMPLES, readme), "utf8").matchAll(/^```mermaid\n(%% [\w-]+\/([\w-]+)\n[\s\S]*?)^```$/gm),
    ].map(([, drawing = "", system = ""]) => ({ readme, system, drawing })),
  );

test(
  "each is what orloj graph draws",
  async () => {
    const folders = DRAWN.map(({ readme }) => dirname(readme));
    expect(folders).toEqual(expect.arrayContaining(["governed-deployment", "incident-triage", "support-desk"]));
    const now = await Promise.all(
      DRAWN.map(async ({ readme, system }) => {
        const words = ["graph", "-f", dirname(readme), `system/${system}`, "-o", "mermaid"];
        return { readme, system, drawing: (await runOrloj(words, { directory: EXAMPLES })).out };
      }),
    );
    expect(now).toEqual(DRAWN);
  },
  TIMEOUT_MS,
);
