// Which secrets a namespace may name, that a value which was handed out is known for good, and what an operator is told.

import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { REDACTED, Redactor } from "../../kit/redactor.ts";
import { readConfigFile } from "../../server/config_file.ts";
import { type AllowanceList, Allowances } from "../../server/secrets/allowances.ts";
import { SecretAccess } from "../../server/secrets/secret_access.ts";
import { Secrets } from "../../server/secrets/secrets.ts";
import { temporaryFolder } from "../harness/folders.ts";

type Environment = Record<string, string>;

function access(sources: { directory?: string; environment?: Environment }, list?: AllowanceList) {
  const redactor = new Redactor();
  const troubles: string[] = [];
  const secrets = new SecretAccess({
    secrets: new Secrets({ environment: {}, ...sources }),
    allowances: new Allowances(list),
    redactor,
    onTrouble: (event, fields) => void troubles.push(`${event} ${JSON.stringify(fields)}`),
  });
  return { secrets, redactor, troubles };
}

describe("a list", () => {
  test("allows what it names, to the namespace that it names; without one everything is allowed", () => {
    const list = { payments: ["pay/token", "mail/*"], ops: ["*"], "*": ["sink/url"] };
    const { secrets } = access({}, list);
    const cases: [string, string, string, boolean][] = [
      ["payments", "pay", "token", true],
      ["payments", "pay", "other", false],
      ["payments", "mail", "anything", true],
      ["payments", "sink", "url", true],
      ["ops", "pay", "token", true],
      ["default", "sink", "url", true],
      ["default", "pay", "token", false],
      ["*", "sink", "url", true],
      ["constructor", "pay", "token", false],
      ["payments", "pay/token", "", false],
      ["payments", "pay", "*", false],
    ];
    for (const [namespace, name, key, allowed] of cases) {
      expect([namespace, name, key, secrets.allows(namespace, { name, key })]).toEqual([namespace, name, key, allowed]);
    }
    expect(access({}).secrets.allows("any", { name: "pay", key: "token" })).toBe(true);
    expect(access({}, {}).secrets.allows("any", { name: "pay", key: "token" })).toBe(false);
  });

  test("refuses alike what exists and what does not, and reads neither", () => {
    const { secrets, redactor } = access({ environment: { ORLOJ_SECRET_PAY_TOKEN: "canary-pay-token" } }, {});
    for (const key of ["token", "none"]) {
      expect(secrets.give("default", { name: "pay", key })).toEqual({ ok: false, why: "forbidden" });
    }
    expect(redactor.text("canary-pay-token")).toBe("canary-pay-token");
  });

  test("is read from the configuration file", async () => {
    const read = await fileReader();
    const text = 'secrets:\n  allow:\n    payments: [pay/token, "mail/*"]\n    "*": [sink/url]\n    idle: []\n';
    const list = { payments: ["pay/token", "mail/*"], "*": ["sink/url"], idle: [] };
    expect((await read(text)).secretAllowances).toEqual(list);
    expect((await read("tls: {cert: a, key: b}\n")).secretAllowances).toBeUndefined();
  });

  test.each([
    ["secrets: {}", /:1:\d+: error\[E-MISSING\] secrets.allow/],
    ["secrets: {deny: {}}", /E-UNKNOWN-KEY.*unknown key "deny"/],
    ["secrets: {allow: [pay/token]}", /:1:18: error\[E-TYPE\] secrets.allow: expected a map, found a list/],
    ["secrets: {allow: {payments: pay/token}}", /:1:29: error\[E-TYPE\] secrets.allow.payments: expected a list/],
    ["secrets: {allow: {payments: [pay]}}", /E-VALUE\] secrets.allow.payments: "pay" names no secrets/],
    ["secrets: {allow: {payments: [pay/tok*]}}", /"pay\/tok\*" names no secrets/],
    ["secrets: {allow: {payments: [../etc/passwd]}}", /names no secrets/],
    ["secrets: {allow: {payments: [5]}}", /E-TYPE\] secrets.allow.payments\[0\]/],
    ["secrets: {allow: {Pay_ments: []}}", /:1:19: error\[E-VALUE\] secrets.allow.Pay_ments: is no namespace/],
  ])("that is wrong is told with its place: %s", async (text, message) => {
    const read = await fileReader();
    await expect(read(text)).rejects.toThrow(message);
    await expect(read(text)).rejects.toMatchObject({ reason: "CONFIG_INVALID" });
  });
});

async function fileReader() {
  const file = join(await temporaryFolder("allow"), "orloj.yaml");
  return async (text: string) => {
    await writeFile(file, text);
    return readConfigFile(file);
  };
}

describe("a value that was handed out", () => {
  test("is redacted, before and after its file was rotated", async () => {
    const directory = await temporaryFolder("secrets");
    await mkdir(join(directory, "pay"));
    const { secrets, redactor } = access({ directory });
    const file = join(directory, "pay", "token");
    for (const value of ["canary-old-value", "canary-new-value"]) {
      await writeFile(file, `${value}\n`);
      const given = secrets.give("default", { name: "pay", key: "token" });
      expect(given.ok && given.secret.reveal()).toBe(value);
      expect(JSON.stringify(given)).not.toContain("canary");
    }
    expect(redactor.text("canary-old-value canary-new-value")).toBe(`${REDACTED} ${REDACTED}`);
    await rm(file);
    expect(secrets.give("default", { name: "pay", key: "token" })).toEqual({ ok: false, why: "missing" });
  });

  test("too short to be redacted is told to the operator once, without the value", () => {
    const { secrets, troubles } = access({ environment: { ORLOJ_SECRET_PAY_PIN: "4711" } });
    for (let times = 0; times < 2; times += 1) {
      expect(secrets.give("default", { name: "pay", key: "pin" })).toMatchObject({ ok: true });
    }
    expect(troubles).toHaveLength(1);
    expect(troubles[0]).toMatch(/^secret\.short \{"name":"pay","key":"pin","message":"too short to be redacted/);
    expect(troubles[0]).not.toContain("4711");
  });

  test("that cannot be read is missing to the caller and told to the operator", async () => {
    const directory = await temporaryFolder("secrets");
    await mkdir(join(directory, "pay", "token"), { recursive: true });
    const { secrets, troubles } = access({ directory });
    expect(secrets.give("default", { name: "pay", key: "token" })).toEqual({ ok: false, why: "missing" });
    expect(troubles[0]).toMatch(/^secret\.unreadable .*EISDIR/);
  });
});

test("all secrets are learnt at once, for what was handed out elsewhere; what is none is passed over", async () => {
  const directory = await temporaryFolder("secrets");
  await mkdir(join(directory, "pay", "folder"), { recursive: true });
  await mkdir(join(directory, "..data"));
  await writeFile(join(directory, "pay", "token"), "canary-in-a-file");
  await writeFile(join(directory, "README"), "no secret at all");
  const environment = { ORLOJ_SECRET_MAIL_KEY: "canary-in-a-variable", PATH: "/usr/local/sbin" };
  const { secrets, redactor, troubles } = access({ directory, environment });
  secrets.learnAll();
  expect(redactor.text("canary-in-a-file canary-in-a-variable /usr/local/sbin no secret at all")).toBe(
    `${REDACTED} ${REDACTED} /usr/local/sbin no secret at all`,
  );
  expect(troubles).toEqual([]);
  const gone = access({ directory: join(directory, "gone") });
  gone.secrets.learnAll();
  expect(gone.troubles[0]).toMatch(/^secret\.unreadable .*ENOENT/);
});
