// Builds what is published: JavaScript and types of the product into dist/, of the client SDK into sdk/dist/.
// Called by `npm run build` and before `npm pack`. The clone itself runs the TypeScript unbuilt; under node_modules Node refuses that.
// Each build follows the imports of its entry points only, so the SDK's holds its own closure and nothing of the server.

import { chmod, rm } from "node:fs/promises";
import { join } from "node:path";
import { mustRun, ROOT } from "./command.ts";

const builds = process.argv[2] === "sdk" ? ["sdk"] : process.argv[2] === "orloj" ? ["."] : [".", "sdk"];
for (const folder of builds) {
  await rm(join(ROOT, folder, "dist"), { recursive: true, force: true });
  await mustRun("tsc", ["--project", join(ROOT, folder, "tsconfig.build.json")]);
}
if (builds.includes(".")) await chmod(join(ROOT, "dist/bin/orloj.js"), 0o755);
