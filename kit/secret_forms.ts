// The ways in which a secret value shows up in text: as it is, and in the encodings that programs put values through.
// Called by redactor.ts when it learns a value. Pure.
// What is cut, reversed, compressed or encrypted is not found: no list of forms can be complete.

/** Fewest characters (UTF-16 code units) of a value that is looked for: a shorter one would be found in everything. */
export const SECRET_CHARACTERS_MIN = 8;
/** Fewest characters of one line of a value of several lines; a shorter line is looked for only with the whole value. */
const LINE_CHARACTERS_MIN = 16;

/** Every form of a value, each once, of SECRET_CHARACTERS_MIN characters or more; none if the value is shorter than that. */
export function secretForms(value: string): string[] {
  const forms = new Set<string>();
  for (const part of partsOf(value.toWellFormed())) {
    if (part.length < SECRET_CHARACTERS_MIN) continue;
    for (const form of [part, ...escaped(part), ...percentEncoded(part), ...base64(part), ...hex(part)]) {
      if (form.length >= SECRET_CHARACTERS_MIN) forms.add(form);
    }
  }
  return [...forms];
}

// Programs trim what they print, and print keys of several lines line by line.
function partsOf(value: string): string[] {
  const lines = value.split(/\r?\n/).map((line) => line.trim());
  const long = lines.filter((line) => line.length >= LINE_CHARACTERS_MIN && !/^-----(?:BEGIN|END) /.test(line));
  return [value, value.trim(), ...(lines.length > 1 ? long : []), ...passwordOf(value)];
}

// Of an address with a password in it, as of a database: programs name it apart from the rest, decoded or not. One that is the user's
// name is no secret, and would be found in everything.
function passwordOf(value: string): string[] {
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/]*@/i.test(value) || !URL.canParse(value)) return [];
  const { username, password } = new URL(value);
  if (password === username) return [];
  try {
    return [password, decodeURIComponent(password)];
  } catch {
    return [password];
  }
}

// As a JSON string, and as one inside of another.
function escaped(text: string): string[] {
  const once = JSON.stringify(text).slice(1, -1);
  return [once, JSON.stringify(once).slice(1, -1)];
}

// Of a path or query (RFC 3986), and of a form, which writes a space as "+" (WHATWG URL Standard).
function percentEncoded(text: string): string[] {
  const component = encodeURIComponent(text);
  const strict = component.replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);
  const form = new URLSearchParams({ "": text }).toString().slice(1);
  const lower = (encoded: string) => encoded.replace(/%[0-9A-F]{2}/g, (octet) => octet.toLowerCase());
  return [component, strict, form, encodeURI(text)].flatMap((encoded) => [encoded, lower(encoded)]);
}

// Whole, and from inside of a longer text: three bytes are four characters, so a value begins at one of three places, and what it
// shares a character with on either side is left out.
function base64(text: string): string[] {
  const bytes = Buffer.from(text, "utf8");
  const found = [bytes.toString("base64"), bytes.toString("base64url")];
  for (const [offset, start] of [
    [0, 0],
    [1, 2],
    [2, 3],
  ] as const) {
    const shifted = Buffer.concat([Buffer.alloc(offset), bytes]);
    const end = Math.floor((shifted.length * 8) / 6);
    found.push(shifted.toString("base64").slice(start, end), shifted.toString("base64url").slice(start, end));
  }
  return found;
}

function hex(text: string): string[] {
  const lower = Buffer.from(text, "utf8").toString("hex");
  return [lower, lower.toUpperCase()];
}
