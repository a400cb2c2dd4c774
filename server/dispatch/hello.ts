// Checks the first frame of a worker: says what is wrong with it, in the worker's words.
// Called by worker_session.ts. Pure.

import { DomainError } from "../../kit/errors.ts";
import { parseSpiffe, WORKER_NAME, workerNameOf } from "../../kit/spiffe.ts";
import type { Hello } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { Principal } from "../commands/views.ts";
import type { WorkerCapabilities } from "../queue/route.ts";

/** Version of the session protocol. */
export const PROTOCOL_VERSION = 1;

const RUNTIMES = new Set(["model", "http", "command", "handler", "tool"]);
const LABELS_MAX = 64;
const HANDLERS_MAX = 1_000;
const HANDLER = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** @throws PROTOCOL_VIOLATION naming the field. A worker with a certificate has the name that is in it, and no other. */
export function checkHello(
  hello: Hello,
  { id, method }: Pick<Principal, "id" | "method">,
): { name: string; capabilities: WorkerCapabilities } {
  if (hello.protocolVersion !== PROTOCOL_VERSION) {
    throw violation(
      `protocol_version ${hello.protocolVersion} is not spoken here; this server speaks ${PROTOCOL_VERSION}: use a worker of the same release`,
    );
  }
  if (hello.instanceId.length < 16 || hello.instanceId.length > 64)
    throw violation("instance_id must have 16 to 64 characters");
  if (!WORKER_NAME.test(hello.workerName))
    throw violation(
      "worker_name must be 1 to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit",
    );
  const certified = method === "certificate" ? parseSpiffe(id) : undefined;
  if (certified !== undefined && workerNameOf(certified) !== hello.workerName) {
    throw violation(`worker_name "${hello.workerName}" is not the one in the worker's certificate, ${id}`);
  }
  if (hello.slots < 1 || hello.slots > 1_000) throw violation("slots must be between 1 and 1000");
  const strange = hello.runtimes.find((runtime) => !RUNTIMES.has(runtime));
  if (strange !== undefined)
    throw violation(`runtimes: "${strange}" is unknown; known are ${[...RUNTIMES].join(", ")}`);
  if (hello.runtimes.length === 0) throw violation("runtimes must name at least one runtime");
  const labels = Object.entries(hello.labels);
  if (labels.length > LABELS_MAX || labels.some(([key, value]) => key.length > 128 || value.length > 256)) {
    throw violation(`labels: at most ${LABELS_MAX}, keys of 128 and values of 256 characters`);
  }
  checkHandlers(hello);
  return {
    name: hello.workerName,
    capabilities: { runtimes: hello.runtimes, handlers: hello.handlers, labels: hello.labels },
  };
}

function checkHandlers({ runtimes, handlers }: Hello): void {
  if (runtimes.includes("handler") !== handlers.length > 0) {
    throw violation('handlers go with the runtime "handler": both are given, or neither');
  }
  const strange = handlers.find((name) => !HANDLER.test(name));
  if (strange !== undefined || handlers.length > HANDLERS_MAX || new Set(handlers).size < handlers.length) {
    throw violation(
      `handlers: at most ${HANDLERS_MAX} names, each once, of 1 to 63 lower-case letters, digits and '-'`,
    );
  }
}

function violation(message: string): DomainError {
  return new DomainError("PROTOCOL_VIOLATION", `Hello: ${message}`);
}
