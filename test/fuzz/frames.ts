// Hostile frames of the worker stream as bytes with their gRPC prefix. Used by hostile_sessions.ts.
// Most are well-formed messages with hostile values; the rest are broken encodings, prefixes and compressions, which end a session.

import { create, type DescOneof, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { Random } from "../../kit/random.ts";
import { SessionRequestSchema } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { type HostileValues, pick } from "./hostile_values.ts";

const FRAME = SessionRequestSchema.oneofs[0] as DescOneof;
/** Frames that no open session refuses as such; the others end it. */
const TAKEN = FRAME.fields.filter(({ localName }) => !["hello", "goodbye"].includes(localName));

/** A payload with its prefix; length and flags may lie. */
export function envelope(payload: Uint8Array, length = payload.length, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, payload]);
}

/** A frame of known content. */
export function soundFrame(frame: MessageInitShape<typeof SessionRequestSchema>["frame"]): Buffer {
  return envelope(toBinary(SessionRequestSchema, create(SessionRequestSchema, { frame } as never)));
}

/** A hello that is taken. */
export function soundHello(name: string, slots: number): Buffer {
  const value = {
    protocolVersion: 1,
    instanceId: `${name}-instance-of-fuzz`,
    workerName: name,
    slots,
    runtimes: ["model"],
  };
  return soundFrame({ case: "hello", value });
}

/** A well-formed frame with hostile values. */
export function hostileFrame(random: Random, values: HostileValues): Buffer {
  const field = pick(random, TAKEN);
  if (field.localName === "credit" && random.next() < 0.9) {
    return soundFrame({ case: "credit", value: { freeSlots: pick(random, [0, 1, 5]), lastAssignSequence: 0n } });
  }
  const message = create(SessionRequestSchema, {
    frame: { case: field.localName, value: values.message(field.message as never) },
  } as never);
  const bytes = toBinary(SessionRequestSchema, message);
  // An unknown field (number 999, varint) is passed over, as protobuf wants it.
  return envelope(random.next() < 0.1 ? Buffer.concat([bytes, Buffer.from([0xb8, 0x3e, 0x01])]) : bytes);
}

/** A frame that may end its session: broken on the wire, or out of phase. */
export function brokenFrame(random: Random, values: HostileValues): Buffer {
  const sound = hostileFrame(random, values);
  const payload = sound.subarray(5);
  switch (Math.floor(random.next() * 8)) {
    case 0:
      return envelope(payload.subarray(0, Math.floor(random.next() * payload.length)));
    case 1: {
      const flipped = Buffer.from(payload);
      for (let left = 4; left > 0 && flipped.length > 0; left -= 1) {
        flipped[Math.floor(random.next() * flipped.length)] = Math.floor(random.next() * 256);
      }
      return envelope(flipped);
    }
    case 2:
      return envelope(
        payload,
        pick(random, [0, payload.length + 1, 4_194_305, 0xffffffff, Math.max(0, payload.length - 1)]),
      );
    case 3:
      return envelope(random.bytes(64), 64, 1);
    case 4:
      return envelope(payload, payload.length, pick(random, [2, 0x80, 0xff]));
    case 5:
      return soundFrame({ case: "hello", value: values.message(FRAME.fields[0]?.message as never) as never });
    case 6:
      return soundFrame({ case: "goodbye", value: { reason: values.text("reason") } });
    default:
      return envelope(random.bytes(Math.floor(random.next() * 200)));
  }
}
