// The release that programs tell each other is the one that is packed.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { RELEASE } from "../../kit/release.ts";

test("RELEASE is the version of the package", () => {
  const text = readFileSync(join(import.meta.dirname, "../../package.json"), "utf8");
  expect(RELEASE).toBe((JSON.parse(text) as { version: string }).version);
});
