// docs/reference/manifests.md is what the shapes say: a new field shows in a review, with its meaning.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { manifestReference } from "../../scripts/reference_manifests.ts";

test("docs/reference/manifests.md is current; `npm run reference` writes it", () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/reference/manifests.md"), "utf8");
  expect(page).toBe(manifestReference());
});
