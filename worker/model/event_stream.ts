// Reads server-sent events, as model providers stream their answers.
// Called by the adapters of openai and anthropic. Source: WHATWG HTML, "Server-sent events", without reconnecting: a stream that
// breaks off is a failed turn. Yields the data of each event, parsed; a provider's events carry their type inside it.

import { isJsonObject, type JsonObject } from "../../kit/json.ts";
import { ModelError } from "./adapter.ts";
import { readChunks } from "./endpoint.ts";

/** What ends a chat completions stream. */
const DONE = "[DONE]";

/** The data of each event, in order. @throws ModelError when the stream breaks, is too large or carries no JSON object */
export async function* readEvents(response: Response, signal: AbortSignal): AsyncGenerator<JsonObject> {
  let data: string[] = [];
  for await (const line of readLines(response, signal)) {
    if (line !== "") {
      // Other fields (event, id, retry) and comments say nothing that the data does not.
      if (line.startsWith("data:")) data.push(line.slice(line.startsWith("data: ") ? 6 : 5));
      continue;
    }
    const text = data.join("\n");
    data = [];
    if (text === "" || text === DONE) continue;
    yield parseEvent(text);
  }
}

async function* readLines(response: Response, signal: AbortSignal): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of readChunks(response, signal)) {
    const text = decoder.decode(chunk, { stream: true });
    rest += text;
    // A line of megabytes is not searched again for each of its chunks.
    if (!/[\r\n]/.test(text)) continue;
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() as string;
    yield* lines;
  }
  if (rest !== "") yield rest.replace(/\r$/, "");
}

function parseEvent(text: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text);
    if (isJsonObject(value)) return value;
  } catch {
    // Falls through to the error below.
  }
  throw new ModelError("ModelProtocol", "an event of the model's stream is not a JSON object");
}
