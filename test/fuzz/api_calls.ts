// Hostile calls of the API port, unary methods only: hostile messages in both encodings, and bodies that are none.
// Called by frame_run.ts. A call that gets no HTTP answer at all, or a server's error of its own making, is a violation.

import { type DescMethod, toBinary, toJsonString } from "@bufbuild/protobuf";
import type { Random } from "../../kit/random.ts";
import { AuditService } from "../../proto/gen/orloj/v1/audit_pb.ts";
import { DeadLetterService } from "../../proto/gen/orloj/v1/dead_letter_pb.ts";
import { FleetService } from "../../proto/gen/orloj/v1/fleet_pb.ts";
import { ManifestService } from "../../proto/gen/orloj/v1/manifest_pb.ts";
import { PolicyService } from "../../proto/gen/orloj/v1/policy_pb.ts";
import { WorkflowService } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { HostileValues, pick } from "./hostile_values.ts";

const METHODS: readonly DescMethod[] = [
  AuditService,
  DeadLetterService,
  FleetService,
  ManifestService,
  PolicyService,
  WorkflowService,
]
  .flatMap(({ methods }) => methods as readonly DescMethod[])
  .filter(({ methodKind }) => methodKind === "unary");
/** How Connect answers bytes that cannot be decoded; Internal is what gRPC prescribes for that. */
export const UNDECODABLE = /^parse binary: |^protocol error: |^received compressed envelope/;
const CALL_TIMEOUT_MS = 30_000;

/** Sends one call; the problem if there is one. */
export async function hostileCall(api: string, token: string, random: Random): Promise<string | undefined> {
  const method = pick(random, METHODS);
  const values = new HostileValues(random, () => ["default", "fuzz-quick"]);
  const path = `${method.parent.typeName}/${method.name}`;
  const { body, type } = bodyOf(random, method, values);
  try {
    const response = await fetch(`${api}/${path}`, {
      method: "POST",
      headers: { "content-type": type, "connect-protocol-version": "1", authorization: `Bearer ${token}` },
      body: Buffer.from(body),
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    });
    const text = await response.text();
    const expected = response.status !== 500 || UNDECODABLE.test((JSON.parse(text) as { message: string }).message);
    return !expected ? `${path} answered 500: ${text.slice(0, 300)}` : undefined;
  } catch (error) {
    return `${path} got no answer: ${String((error as Error).cause ?? error)}`;
  }
}

function bodyOf(random: Random, method: DescMethod, values: HostileValues): { body: Uint8Array; type: string } {
  const message = values.message(method.input);
  const proto = { body: toBinary(method.input, message), type: "application/proto" };
  const chance = random.next();
  if (chance < 0.5) return proto;
  if (chance < 0.8) return { body: jsonOf(method, message) ?? Buffer.from("{"), type: "application/json" };
  if (chance < 0.9) return { body: Buffer.from(values.text("body_json")), type: "application/json" };
  const bytes = Buffer.from(proto.body);
  if (bytes.length > 0) bytes[Math.floor(random.next() * bytes.length)] = Math.floor(random.next() * 256);
  return { body: bytes, type: pick(random, ["application/proto", "application/json"]) };
}

// Durations and times out of range have no JSON form.
function jsonOf(method: DescMethod, message: Parameters<typeof toBinary>[1]): Uint8Array | undefined {
  try {
    return Buffer.from(toJsonString(method.input, message as never));
  } catch {
    return undefined;
  }
}
