// Writes the plain manifests of deploy/kubernetes from the chart, with the real helm.
// Called by `npm run kubernetes:render` after a change of the chart; a test compares where helm is there.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ROOT } from "./command.ts";
import { hasHelm, renderedFiles } from "./helm.ts";

if (await hasHelm()) {
  for (const [path, text] of await renderedFiles()) {
    await writeFile(join(ROOT, "deploy/kubernetes", path), text);
    console.log(`deploy/kubernetes/${path}`);
  }
} else {
  console.log("kubernetes:render: not run, there is no helm on the path");
  process.exitCode = 1;
}
