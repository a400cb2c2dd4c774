// Secret values in every form that programs give them, in text and JSON; what is left alone; that memory stays bounded.

import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { canonicalJson, type Json } from "../../kit/json.ts";
import { seededRandom } from "../../kit/random.ts";
import { REDACTED, Redactor, SECRETS_KNOWN_MAX } from "../../kit/redactor.ts";
import { SECRET_CHARACTERS_MIN } from "../../kit/secret_forms.ts";

const VALUES = [
  "canary-4711-x",
  'p"a\\ss w/ö+rd&=%!',
  "ключ-от-сейфа",
  "line one of a key\nline two of a key",
  "x'(y)*z~!{}",
];

function knowing(...values: string[]): Redactor {
  const redactor = new Redactor();
  for (const value of values) expect(redactor.learn(value)).toBe(true);
  return redactor;
}

describe("a known value is replaced", () => {
  const encodings: Record<string, (value: string) => string> = {
    raw: (value) => value,
    "JSON-escaped": (value) => JSON.stringify({ value }),
    "JSON inside of JSON": (value) => JSON.stringify({ text: JSON.stringify({ value }) }),
    "percent-encoded": encodeURIComponent,
    "percent-encoded in lower case": (value) => encodeURIComponent(value).replace(/%../g, (it) => it.toLowerCase()),
    "form-encoded": (value) => new URLSearchParams({ value }).toString(),
    hex: (value) => Buffer.from(value).toString("hex"),
    "HEX in upper case": (value) => Buffer.from(value).toString("hex").toUpperCase(),
    base64: (value) => Buffer.from(value).toString("base64"),
    base64url: (value) => Buffer.from(value).toString("base64url"),
  };
  for (const [name, encode] of Object.entries(encodings)) {
    test(`as ${name}`, () => {
      for (const value of VALUES) {
        const encoded = encode(value);
        const clean = knowing(value).text(`before ${encoded} after ${encoded}`);
        expect(clean.split(REDACTED)).toHaveLength(3);
        expect(clean).not.toContain(encode(value));
        expect(clean).not.toContain(value);
      }
    });
  }

  test("inside of longer base64, at each of the three places where it can begin", () => {
    for (const value of VALUES) {
      const redactor = knowing(value);
      for (let before = 0; before < 6; before += 1) {
        for (let after = 0; after < 6; after += 1) {
          for (const form of ["base64", "base64url"] as const) {
            const clean = redactor.text(
              Buffer.from(`${"u".repeat(before)}${value}${"v".repeat(after)}`).toString(form),
            );
            expect(clean).toContain(REDACTED);
            // What is left belongs to what stands around it, but for a shared character on either side.
            const left = clean.replace(REDACTED, "").replace(/=+$/, "").length;
            expect(left).toBeLessThanOrEqual(Math.ceil((before * 8) / 6) + Math.ceil((after * 8) / 6) + 2);
          }
        }
      }
    }
  });

  test("also when it was trimmed, and line by line when it has lines", () => {
    const key = `-----BEGIN KEY-----\n${"A1b2C3d4".repeat(8)}\n${"E5f6G7h8".repeat(8)}\nshort\n-----END KEY-----\n`;
    const redactor = knowing(key, "  padded-canary \n");
    expect(redactor.text("<padded-canary>")).toBe(`<${REDACTED}>`);
    expect(redactor.text(`1: ${"E5f6G7h8".repeat(8)}`)).toBe(`1: ${REDACTED}`);
    expect(redactor.text("a short word -----BEGIN KEY-----")).toBe("a short word -----BEGIN KEY-----");
  });

  test("also the password alone of an address that holds one", () => {
    const redactor = knowing("postgres://robot:s3cr%40t-word@db.example:5432/shop", "https://example.com/@a/path");
    expect(redactor.text('password "s3cr@t-word" of robot, s3cr%40t-word, db.example')).toBe(
      `password "${REDACTED}" of robot, ${REDACTED}, db.example`,
    );
    expect(knowing("postgres://postgres:postgres@localhost/x").text("postgres")).toBe("postgres");
  });

  test("the longer of two that begin alike", () => {
    const redactor = knowing("canary-1", "canary-1-longer");
    expect(redactor.text("canary-1-longer canary-1-long canary-10")).toBe(`${REDACTED} ${REDACTED}-long ${REDACTED}0`);
  });
});

describe("JSON", () => {
  test("stays JSON: strings, names of members and numbers are replaced as values", () => {
    const redactor = knowing("12345678", 'a":"b"},{');
    const value: Json = { n: 12345678, big: 912345678000, list: ['a":"b"},{', true, null], 'k a":"b"},{': 1 };
    const clean = redactor.jsonText(canonicalJson(value));
    expect(JSON.parse(clean)).toEqual({
      n: REDACTED,
      big: REDACTED,
      list: [REDACTED, true, null],
      [`k ${REDACTED}`]: 1,
    });
    expect(clean).toBe(canonicalJson(JSON.parse(clean) as Json));
  });

  test("with escapes that JSON does not need hides nothing", () => {
    const redactor = knowing("canary/4711");
    for (const text of ['{"a":"\\u0063anary/4711"}', '{"a":"canary\\/4711"}', '{"\\u0063anary/4711":1}']) {
      expect(redactor.jsonText(text)).toContain(REDACTED);
    }
    expect(redactor.jsonText("not JSON: canary/4711")).toBe(`not JSON: ${REDACTED}`);
  });

  test("without a secret is the same value and the same text", () => {
    const redactor = knowing("canary-4711");
    const value: Json = { a: [1, "canary-471", { b: null }], c: "x" };
    expect(redactor.json(value)).toBe(value);
    const text = '{ "a" : "\\u0061" }';
    expect(redactor.jsonText(text)).toBe(text);
  });

  test("of any shape holds no known value afterwards (seeded)", () => {
    const random = seededRandom(20_261_128);
    const pick = <T>(items: readonly T[]): T => items[Math.floor(random.next() * items.length)] as T;
    const redactor = knowing(...VALUES);
    const text = () =>
      `${pick(["", "a ", '"', "\\", "é"])}${pick([...VALUES, "plain", ""])}${pick(["", " z", '"}', "\n"])}`;
    const build = (depth: number): Json => {
      if (depth === 0 || random.next() < 0.3) return text();
      if (random.next() < 0.2) return JSON.stringify({ inner: text() });
      if (random.next() < 0.5) return Array.from({ length: 3 }, () => build(depth - 1));
      return Object.fromEntries(Array.from({ length: 3 }, (_, index) => [`${index}${text()}`, build(depth - 1)]));
    };
    for (let round = 0; round < 2_000; round += 1) {
      const value = build(3);
      const clean = redactor.jsonText(canonicalJson(value));
      expect(clean).toBe(canonicalJson(redactor.json(value)));
      const found = VALUES.filter((secret) => clean.includes(JSON.stringify(secret).slice(1, -1)));
      expect(found).toEqual([]);
    }
  });
});

describe("limits", () => {
  test(`a value of fewer than ${SECRET_CHARACTERS_MIN} characters is not looked for, and learn says so`, () => {
    const redactor = new Redactor();
    expect(redactor.learn("1234567")).toBe(false);
    expect(redactor.learn("")).toBe(false);
    expect(redactor.text("1234567")).toBe("1234567");
    expect(redactor.learn("12345678")).toBe(true);
  });

  test("the values used last are known, at most so many", () => {
    const redactor = knowing("canary-first");
    for (let index = 0; index < SECRETS_KNOWN_MAX * 2; index += 1) {
      redactor.learn(`canary-number-${index}-`);
      redactor.learn("canary-first");
    }
    expect(redactor.text("canary-first")).toBe(REDACTED);
    expect(redactor.text(`canary-number-${SECRETS_KNOWN_MAX * 2 - 1}-`)).toBe(REDACTED);
    expect(redactor.text("canary-number-0-")).toBe("canary-number-0-");
  });

  test("large values displace older ones, never themselves", () => {
    const redactor = knowing("canary-small");
    const large = (index: number) => `${index}${"s".repeat(1_000_000)}`;
    for (let index = 0; index < 6; index += 1) redactor.learn(large(index));
    expect(redactor.text(`<${large(5)}>`)).toBe(`<${REDACTED}>`);
    expect(redactor.text("canary-small")).toBe("canary-small");
  });

  test("a text of a MiB passes in little time, also with many values known", () => {
    const redactor = new Redactor();
    for (let index = 0; index < 1_000; index += 1) redactor.learn(`canary-${index}-${"q".repeat(30)}`);
    const text = "the quick brown canary jumps over the lazy dog; ".repeat(22_000);
    const start = process.cpuUsage();
    expect(redactor.text(text)).toBe(text);
    // Processor time: 30 ms measured; a search that tries each value takes seconds.
    expect(process.cpuUsage(start).user / 1_000).toBeLessThan(500);
  });

  test("a redactor shows nothing of what it knows", () => {
    const redactor = knowing("canary-4711");
    expect(inspect(redactor, { depth: 9, showHidden: true }) + JSON.stringify(redactor)).not.toContain("canary");
  });
});
