// The agent of this example: a small HTTP service, as you may run one already, in any language and framework.
// POST / with the input as JSON; answers the output as JSON. It opens a ticket, which is an effect, and so it keeps what it did
// under the idempotency key: asked again with the same key, it answers the same ticket instead of opening another one.
// Reads TRIAGE_TOKEN (the token that callers must bring) and TRIAGE_PORT (7410 by default; 0 takes a free one).

import { createServer } from "node:http";

const token = process.env.TRIAGE_TOKEN ?? "";
const port = Number(process.env.TRIAGE_PORT ?? 7410);
/** Tickets by idempotency key. A real service keeps this where it keeps the tickets, in the same transaction. */
const tickets = new Map();

const ROUTES = [
  ["billing", /invoice|refund|charge|payment/i],
  ["access", /password|login|locked/i],
];

/** Status and JSON of an answer. A status of 4xx says "not this input"; 429 and 5xx are tried again. */
function triage(headers, body) {
  if (headers.authorization !== `Bearer ${token}`) return [401, { error: "the token is missing or wrong" }];
  const key = headers["idempotency-key"];
  let input;
  try {
    input = JSON.parse(body);
  } catch {
    return [400, { error: "the body is not JSON" }];
  }
  if (typeof input?.text !== "string" || input.text.trim() === "") return [422, { error: "there is no text to route" }];
  const known = tickets.get(key);
  if (known !== undefined) return [200, known];
  const route = ROUTES.find(([, words]) => words.test(input.text))?.[0] ?? "general";
  const output = { ticket: tickets.size + 1, route };
  if (key !== undefined) tickets.set(key, output);
  return [200, output];
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const [status, answer] = triage(request.headers, Buffer.concat(chunks).toString("utf8"));
  const { "orloj-task-id": task = "-", "orloj-attempt": attempt = "-" } = request.headers;
  console.log(`task ${task}, attempt ${attempt}: ${status} ${JSON.stringify(answer)}`);
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answer));
});

if (token === "") {
  console.error("set TRIAGE_TOKEN to the token that callers must bring");
  process.exit(1);
}
server.listen(port, "127.0.0.1", () => console.log(`triage agent ready url=http://127.0.0.1:${server.address().port}`));
