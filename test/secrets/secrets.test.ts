// Where secrets are read from, that they are read live, and that they cannot be printed by accident.

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { format, inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Secret } from "../../server/secrets/secret.ts";
import { SECRET_BYTES_MAX, Secrets, secretVariable } from "../../server/secrets/secrets.ts";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "orloj-secrets-"));
  await mkdir(join(directory, "pay"));
});

afterEach(() => rm(directory, { recursive: true }));

describe("a secret", () => {
  test("comes from its file before the environment, without one trailing newline", async () => {
    const secrets = new Secrets({ directory, environment: { ORLOJ_SECRET_PAY_TOKEN: "from-env" } });
    expect(secrets.read("pay", "token")?.reveal()).toBe("from-env");
    await writeFile(join(directory, "pay", "token"), "from-file\n\n");
    expect(secrets.read("pay", "token")?.reveal()).toBe("from-file\n");
  });

  test("is read live: a rotated file is seen at once", async () => {
    const secrets = new Secrets({ directory, environment: {} });
    await writeFile(join(directory, "pay", "token"), "old");
    expect(secrets.read("pay", "token")?.reveal()).toBe("old");
    await writeFile(join(directory, "pay", "token"), "new");
    expect(secrets.read("pay", "token")?.reveal()).toBe("new");
  });

  test("maps its variable to upper case with underscores", async () => {
    expect(secretVariable("pay-api.v2", "apiKey")).toBe("ORLOJ_SECRET_PAY_API_V2_APIKEY");
    const secrets = new Secrets({ environment: { ORLOJ_SECRET_PAY_API_V2_APIKEY: "k" } });
    expect(secrets.read("pay-api.v2", "apiKey")?.reveal()).toBe("k");
  });

  test("that is nowhere, or whose name would leave the directory, is absent", async () => {
    await writeFile(join(directory, "outside"), "x");
    const secrets = new Secrets({ directory: join(directory, "pay"), environment: {} });
    for (const [name, key] of [
      ["pay", "none"],
      ["..", "outside"],
      ["a/../..", "outside"],
      ["pay", "../outside"],
      ["", "x"],
      ["pay", "a\0b"],
    ]) {
      expect(secrets.read(name as string, key as string)).toBe(undefined);
    }
  });

  test("that is too large or unreadable is an error without its value or path", async () => {
    await writeFile(join(directory, "pay", "big"), "s".repeat(SECRET_BYTES_MAX + 1));
    await mkdir(join(directory, "pay", "folder"));
    const secrets = new Secrets({ directory, environment: {} });
    expect(() => secrets.read("pay", "big")).toThrow(
      expect.objectContaining({
        reason: "CONFIG_INVALID",
        message: expect.not.stringContaining("sss"),
      }),
    );
    expect(() => secrets.read("pay", "folder")).toThrow(
      expect.objectContaining({
        reason: "CONFIG_INVALID",
        message: expect.not.stringContaining(directory),
      }),
    );
  });

  test("prints as [redacted] in every usual way", () => {
    const secret = new Secret("canary-4711");
    const printed = [
      `${secret}`,
      JSON.stringify({ secret }),
      inspect({ secret }),
      format("%s %o %j", secret, secret, secret),
      Object.values(secret).join(),
    ];
    for (const text of printed) expect(text).not.toContain("canary");
    expect(printed[0]).toBe("[redacted]");
  });
});
