// The `-o json` form of wire messages: one stable document.
// Called by every verb. Pure.
// Every field is present; states lose their prefix ("SUCCEEDED"); a field that holds JSON text becomes the value it
// holds, without the suffix (outputJson → output, null when there is none); int64 stays a string.

import { type DescMessage, type MessageShape, toJson } from "@bufbuild/protobuf";
import type { Json } from "../kit/json.ts";
import { isJsonObject } from "../kit/json.ts";
import { safeJson } from "./sanitize.ts";

const STATE_PREFIX = /^(RUN|NODE|TASK)_STATE_/;

/** A message as a plain JSON value; see the file header. */
export function presentable<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): Json {
  return rewrite(toJson(schema, message, { alwaysEmitImplicit: true }) as Json);
}

/** JSON text for a terminal or a pipe; several lines unless compact. */
export function jsonText(value: Json, compact = false): string {
  return safeJson(JSON.stringify(value, undefined, compact ? undefined : 2));
}

function rewrite(value: Json): Json {
  if (Array.isArray(value)) return value.map(rewrite);
  if (!isJsonObject(value)) return value;
  const members: [string, Json][] = [];
  for (const [key, member] of Object.entries(value)) {
    if (key.endsWith("Json") && typeof member === "string") members.push([key.slice(0, -4), parsed(member)]);
    else if (key === "state" && typeof member === "string") members.push([key, member.replace(STATE_PREFIX, "")]);
    else members.push([key, rewrite(member)]);
  }
  return Object.fromEntries(members);
}

function parsed(text: string): Json {
  if (text === "") return null;
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}
