// DER, as far as certificates and revocation lists need it: elements read and written.
// Called by revocation_list.ts, which reads, and by `orloj certs`, which makes certificates and lists. Pure.
// Strict: definite lengths in their shortest form, one-byte tags, nothing behind an element.

/** Tags. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One element. */
export interface Element {
  readonly tag: number;
  readonly content: Uint8Array;
  /** With tag and length, as it was signed. */
  readonly bytes: Uint8Array;
}

/** The one element that the bytes are. @throws Error */
export function readElement(bytes: Uint8Array): Element {
  const [element, second] = readElements(bytes);
  if (element === undefined || second !== undefined) throw new Error("DER: not exactly one element");
  return element;
}

/** Elements one after the other, such as those inside a sequence. @throws Error */
export function readElements(bytes: Uint8Array): Element[] {
  const elements: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const { header, length } = readHeader(bytes.subarray(at));
    const end = at + header + length;
    if (end > bytes.length) throw new Error("DER: an element is cut off");
    elements.push({
      tag: bytes[at] as number,
      content: bytes.subarray(at + header, end),
      bytes: bytes.subarray(at, end),
    });
    at = end;
  }
  return elements;
}

function readHeader(bytes: Uint8Array): { header: number; length: number } {
  const [tag = 0, first] = bytes;
  if ((tag & 0x1f) === 0x1f || first === undefined) throw new Error("DER: an element has no usable tag and length");
  if (first < 0x80) return { header: 2, length: first };
  const count = first & 0x7f;
  const digits = bytes.subarray(2, 2 + count);
  const length = digits.reduce((sum, digit) => sum * 256 + digit, 0);
  const isShortest = count >= 1 && count <= 4 && digits.length === count && digits[0] !== 0 && length >= 0x80;
  if (!isShortest) throw new Error("DER: a length is not in its shortest form");
  return { header: 2 + count, length };
}

/** An object identifier as its numbers: 2.5.29.20. */
export function oidText({ tag, content }: Element): string {
  if (tag !== TAG.oid || content.length === 0) throw new Error("DER: no object identifier");
  const numbers: number[] = [];
  let value = 0;
  for (const byte of content) {
    value = value * 128 + (byte & 0x7f);
    if (byte >= 0x80) continue;
    if (numbers.length === 0)
      numbers.push(Math.min(2, Math.floor(value / 40)), value - 40 * Math.min(2, Math.floor(value / 40)));
    else numbers.push(value);
    value = 0;
  }
  return numbers.join(".");
}

/** A time, in ms since the epoch. */
export function timeMs({ tag, content }: Element): number {
  const text = Buffer.from(content).toString("latin1");
  const year = tag === TAG.utcTime ? `${Number(text.slice(0, 2)) < 50 ? "20" : "19"}${text}` : text;
  const [, y, mo, d, h, mi, s] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(year) ?? [];
  const ms = Date.parse(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`);
  if ((tag !== TAG.utcTime && tag !== TAG.generalizedTime) || Number.isNaN(ms)) throw new Error("DER: no time");
  return ms;
}

/** An integer in upper-case hexadecimal digits, as Node prints serial numbers, without zeros before them. */
export function integerHex({ tag, content }: Element): string {
  if (tag !== TAG.integer || content.length === 0) throw new Error("DER: no integer");
  return plainHex(Buffer.from(content).toString("hex"));
}

/** Hexadecimal digits in one form: upper case, without zeros before them. */
export function plainHex(hex: string): string {
  return hex.toUpperCase().replace(/^0+(?=.)/, "");
}

/** An element made of its parts. */
export function element(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  if (content.length < 0x80) return Buffer.concat([Buffer.of(tag, content.length), content]);
  const digits = Buffer.from(content.length.toString(16).padStart(8, "0"), "hex");
  const length = digits.subarray(digits.findIndex((digit) => digit !== 0));
  return Buffer.concat([Buffer.of(tag, 0x80 | length.length), length, content]);
}

/** A sequence of its parts. */
export function sequence(...parts: readonly Uint8Array[]): Buffer {
  return element(TAG.sequence, ...parts);
}

/** A whole number from 0, given in hexadecimal digits. */
export function integer(hex: string): Buffer {
  const plain = plainHex(hex);
  const digits = Buffer.from(plain.length % 2 === 0 ? plain : `0${plain}`, "hex");
  return element(TAG.integer, (digits[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), digits]) : digits);
}

/** An object identifier of its numbers. */
export function oid(text: string): Buffer {
  const [first = 0, second = 0, ...others] = text.split(".").map(Number);
  const bytes = [first * 40 + second, ...others].flatMap((value) => {
    const septets = [value % 128];
    for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128))
      septets.unshift((rest % 128) | 0x80);
    return septets;
  });
  return element(TAG.oid, Buffer.from(bytes));
}

/** Whole bytes as a bit string; unused: bits at their end that do not count. */
export function bitString(bytes: Uint8Array, unused = 0): Buffer {
  return element(TAG.bitString, Buffer.of(unused), bytes);
}

/** A time in seconds, as RFC 5280 wants it: two digits of the year until 2049. */
export function time(ms: number): Buffer {
  const text = `${new Date(ms)
    .toISOString()
    .replace(/\.\d+Z$/, "Z")
    .replace(/[-:T]/g, "")}`;
  return Number(text.slice(0, 4)) < 2050
    ? element(TAG.utcTime, Buffer.from(text.slice(2)))
    : element(TAG.generalizedTime, Buffer.from(text));
}
