// `npm run reference`: writes the pages under docs/reference from the code, after a change of manifests or of the command.
// test/cli/reference.test.ts and test/docs/reference.test.ts fail while a page is not what this writes.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./command.ts";
import { cliReference } from "./reference_cli.ts";
import { manifestReference } from "./reference_manifests.ts";

const folder = join(ROOT, "docs/reference");
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, "manifests.md"), manifestReference());
writeFileSync(join(folder, "cli.md"), await cliReference());
console.log("docs/reference is written");
