// Which secrets a namespace may name, that a value which was handed out is known for good, and what an operator is told.

import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { REDACTED, Redactor } from "../../kit/redactor.ts";
import { type AllowanceList, Allowances, parseAllowances, readAllowanceFile } from "../../server/secrets/allowances.ts";
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

  test("is read from YAML; a mistake is told with its place", async () => {
    const folder = await temporaryFolder("allow");
    const file = join(folder, "allow.yaml");
    await writeFile(file, '# who may name what\npayments: [pay/token, "mail/*"]\n"*":\n  - sink/url\nidle: []\n');
    expect({ ...readAllowanceFile(file) }).toEqual({ payments: ["pay/token", "mail/*"], "*": ["sink/url"], idle: [] });
    expect(() => readAllowanceFile(join(folder, "none"))).toThrow(/--secrets-allow: .*none cannot be read \(ENOENT\)/);
  });

  test.each([
    ["", /a.yaml:1:1: write namespaces with their secrets/],
    ["- pay/token", /a.yaml:1:1: write namespaces/],
    ["payments: pay/token", /a.yaml:1:11: the secrets of payments are a list/],
    ["payments:", /a.yaml:1:\d+: the secrets of payments are a list/],
    ["payments:\n  - pay", /a.yaml:2:5: a secret is written as NAME\/KEY/],
    ["payments: [pay/tok*]", /a.yaml:1:12: a secret is written as/],
    ["payments: [../etc/passwd]", /a.yaml:1:12: a secret is written as/],
    ["payments: [5]", /a.yaml:1:12: a secret is written as/],
    ["Pay_ments: []", /a.yaml:1:1: a namespace is a name/],
    ["a: []\na: []", /a.yaml:2:1: it is not YAML \(DUPLICATE_KEY\)/],
    ["a: [", /a.yaml:1:\d+: it is not YAML/],
    ["a: &x [pay/token]\nb: [*x]", /a.yaml:2:4: a secret is written as/],
  ])("refuses %j", (text, message) => {
    expect(() => parseAllowances("a.yaml", text)).toThrow(message);
    expect(() => parseAllowances("a.yaml", text)).toThrow(expect.objectContaining({ reason: "CONFIG_INVALID" }));
  });
});

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
