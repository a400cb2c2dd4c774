// Fifty secrets, each known by its number, and the search for them in text: as they are and in the encodings that programs use.
// Written without the product's own list of forms, so that a form missing there is found here.

import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Makes canaries, and keeps them by their place. */
export class Canaries {
  readonly directory: string;
  readonly #values = new Map<string, string>();

  constructor(directory: string) {
    this.directory = directory;
  }

  /** A new one, as the file NAME/KEY; odd: with what has to be escaped in JSON, URLs and forms. */
  file(name: string, key: string, odd = false): string {
    const value = this.make(`${name}/${key}`, odd);
    this.put(name, key, value);
    return value;
  }

  /** A new one that is nowhere yet. */
  make(place: string, odd = false): string {
    const number = this.#values.size + 1;
    const noise = createHash("sha256")
      .update(`canary ${number}`)
      .digest("base64url")
      .slice(0, 16 + (number % 3));
    const value = `canary${number}-${noise}${odd ? 'q"\\ /+%&=é~!' : ""}`;
    return this.add(place, value);
  }

  /** Takes a value as one. */
  add(place: string, value: string): string {
    this.#values.set(place, value);
    return value;
  }

  /** Writes the file of a secret, as a rotation does. */
  put(name: string, key: string, value: string): void {
    mkdirSync(join(this.directory, name), { recursive: true });
    writeFileSync(join(this.directory, name, key), `${value}\n`);
  }

  all(): ReadonlyMap<string, string> {
    return this.#values;
  }

  /** Where a text has which of them, as "place: form". */
  found(text: string): string[] {
    return [...this.#values].flatMap(([place, value]) =>
      Object.entries(formsOf(value)).flatMap(([form, shapes]) =>
        shapes.some((shape) => text.includes(shape)) ? [`${place}: ${form}`] : [],
      ),
    );
  }
}

/** Every form that is looked for. */
export function formsOf(value: string): Readonly<Record<string, readonly string[]>> {
  const bytes = Buffer.from(value);
  const json = JSON.stringify(value).slice(1, -1);
  const inside = [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), bytes, Buffer.alloc(3)]).toString("base64");
    return text.slice(offset === 0 ? 0 : offset + 1, Math.floor(((bytes.length + offset) * 8) / 6));
  });
  const hex = bytes.toString("hex");
  return {
    raw: [value],
    json: [json, JSON.stringify(json).slice(1, -1)],
    base64: inside,
    base64url: inside.map((text) => text.replaceAll("+", "-").replaceAll("/", "_")),
    hex: [hex, hex.toUpperCase()],
    url: [encodeURIComponent(value), encodeURIComponent(value).replace(/%../g, (octet) => octet.toLowerCase())],
    form: [new URLSearchParams({ v: value }).toString().slice(2)],
  };
}

/** A value in all of these forms, as a tool might echo it. */
export function echoes(value: string): object {
  return {
    raw: value,
    [`member ${value}`]: 1,
    text: `before ${value} after`,
    nested: JSON.stringify({ value: JSON.stringify({ value }) }),
    basic: `Basic ${Buffer.from(`user:${value}`).toString("base64")}`,
    shifted: [..."abc"].map((_, offset) => Buffer.from(`${"u".repeat(offset)}${value}`).toString("base64url")),
    hex: [Buffer.from(value).toString("hex"), Buffer.from(value).toString("hex").toUpperCase()],
    url: `https://x.example/?v=${encodeURIComponent(value)}&${new URLSearchParams({ value })}`,
  };
}
